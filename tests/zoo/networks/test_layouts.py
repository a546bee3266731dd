"""Layouts against the libraries that write the files, and against names written down from public code (layout_keys)."""

import json
import math
import re

import pytest
import timm.models
import torch
import torchvision
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from tests.zoo.networks import layout_keys
from zoo.networks import cutting, layouts

EVA = {"img_size": 224, "patch_size": 16, "ref_feat_shape": [14, 14]}
FILES = {
    "moco r50": ("moco", layout_keys.moco(), "resnet50", {}),
    "moco r18": ("moco", layout_keys.moco("resnet18", dim=512), "resnet18", {}),
    "moco d121": ("moco", layout_keys.moco("densenet121", "classifier", 1024), "densenet121", {}),
    "covid-prognosis": ("covid-prognosis", layout_keys.covid_prognosis(), "densenet121", {}),
    "flair": ("flair", layout_keys.flair(), "resnet50", {}),
    "spark, mmpretrain": ("spark", layout_keys.spark_mmpretrain(), "resnet50", {}),
    "spark, authors": ("spark", layout_keys.spark_authors(), "resnet50", {}),
    "radimagenet": ("sequential", layout_keys.radimagenet(), "resnet50", {}),
    "mae": ("mae", layout_keys.mae(), "vit_base_patch16_224", {}),
    "biomedclip": ("open-clip", layout_keys.biomedclip(), "vit_base_patch16_224", {}),
    "eva-x tiny": ("eva-x", layout_keys.eva_x(192), "eva02_tiny_patch14_224", EVA),
    "eva-x small": ("eva-x", layout_keys.eva_x(384), "eva02_small_patch14_224", EVA),
    "eva-x base": ("eva-x", layout_keys.eva_x(768, separate=True), "eva02_base_patch14_224", EVA),
    "meddinov3": ("meta-dinov3", layout_keys.meddinov3(), "vit_base_patch16_dinov3", {}),
    "rad-dino": ("transformers-dinov2", layout_keys.transformers("dinov2"), "vit_base_patch14_dinov2", {}),
    "phikon": ("transformers-vit", layout_keys.transformers("vit", patch=16, grid=14), "vit_base_patch16_224", {}),
    "vit-mae": ("transformers-mae", layout_keys.transformers("mae", patch=16, grid=14), "vit_base_patch16_224", {}),
}
CLASSIFIERS = ["resnet18", "densenet121", "vgg11_bn", "vit_tiny_patch16_224", "vit_small_patch14_reg4_dinov2"]
CLASSIFIERS += ["deit_tiny_distilled_patch16_224", "eva02_tiny_patch14_224", "swin_tiny_patch4_window7_224"]
CLASSIFIERS += ["convnext_atto", "convnextv2_atto"]
SMALL = {"embed_dim": 32, "depth": 4, "num_heads": 2, "img_size": 56, "patch_size": 14}


def expected(architecture, kwargs):
    return {k: tuple(v.shape) for k, v in cutting.build(architecture, kwargs).state_dict().items()}


def joined(shapes):
    first, *_ = shapes
    return (sum(shape[0] for shape in shapes), *first[1:]) if len(shapes) > 1 else first


@torch.no_grad()
def randomised(module):
    """Every tensor away from its initial value, at a scale that neither vanishes nor explodes."""
    torch.manual_seed(0)
    for name, value in module.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
        elif value.is_floating_point():
            scale = name.endswith(("weight", "lambda1", "gamma")) and value.ndim == 1
            value.normal_(float(scale), 0.2 if value.ndim < 2 else value[0].numel() ** -0.5)
    return module.eval()


def read(path, layout, network):
    """What the loader does: rename, concatenate, load strictly."""
    with safe_open(path, framework="pt") as stored:
        names = layouts.rename(layout, stored.keys())
        parts = {new: [stored.get_tensor(old) for old in olds] for new, olds in names.items()}
    network.load_state_dict({new: torch.cat(p) if len(p) > 1 else p[0] for new, p in parts.items()}, strict=True)
    return network.eval()


@torch.no_grad()
def depths(network, images):
    """The tokens after blocks 2/4 and 3/4, and those after the final norm."""
    blocks = network.blocks
    taken = []
    for block in (blocks[len(blocks) // 2 - 1], blocks[3 * len(blocks) // 4 - 1]):
        block.register_forward_hook(lambda module, inputs, output: taken.append(output))
    final = network.forward_features(images)
    return [*taken, final]


def assert_same(found, reference):
    assert len(found) == len(reference)
    for one, other in zip(found, reference, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("layout", "keys", "architecture", "kwargs"), FILES.values(), ids=FILES)
def test_a_public_file_gives_exactly_timms_names_and_shapes(layout, keys, architecture, kwargs):
    names = layouts.rename(layout, keys)
    shapes = {new: joined([keys[old] for old in olds]) for new, olds in names.items()}
    assert shapes == expected(architecture, kwargs)
    used = [old for olds in names.values() for old in olds]
    assert len(used) == len(set(used))
    assert [(found.layout, found.sources) for found in layouts.readings(keys, shapes)] == [(layout, names)]


@pytest.mark.parametrize(("layout", "keys"), [row[:2] for row in FILES.values()], ids=FILES)
def test_an_unknown_name_survives(layout, keys):
    assert layouts.rename(layout, [*keys, "other.weight"]) == layouts.rename(layout, keys) | {
        "other.weight": ("other.weight",)
    }


@pytest.mark.parametrize("architecture", CLASSIFIERS)
def test_timm_loses_its_classifier_and_nothing_else(architecture):
    with torch.device("meta"):
        keys = timm.create_model(architecture, num_classes=10).state_dict()
    network = expected(architecture, {})
    assert keys.keys() > network.keys()
    assert layouts.rename("timm", keys) == {key: (key,) for key in network}
    assert [found.layout for found in layouts.readings(keys, network)] == ["timm"]


def hugging_face(kind, **changes):
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "image_size": 56, "patch_size": 14}
    config = getattr(transformers, f"{kind}Config")(**sizes, layer_norm_eps=1e-6, **changes)
    return transformers, config


def saved(model, folder):
    randomised(model).save_pretrained(folder)
    return folder / "model.safetensors"


DECODER = {"decoder_hidden_size": 16, "decoder_num_attention_heads": 2, "decoder_num_hidden_layers": 1}


@pytest.mark.parametrize(
    ("layout", "kind", "model", "changes", "kwargs"),
    [
        ("transformers-dinov2", "Dinov2", "Dinov2Model", {}, {"init_values": 1.0}),
        ("transformers-vit", "ViT", "ViTModel", {"intermediate_size": 128}, {}),
        ("transformers-mae", "ViTMAE", "ViTMAEModel", {"intermediate_size": 128, "mask_ratio": 0.0}, {}),
        ("transformers-mae", "ViTMAE", "ViTMAEForPreTraining", {"intermediate_size": 128, "mask_ratio": 0.0}, {}),
    ],
)
def test_transformers_features_are_reproduced(tmp_path, layout, kind, model, changes, kwargs):
    transformers, config = hugging_face(kind, **changes, **(DECODER if kind == "ViTMAE" else {}))
    reference = getattr(transformers, model)(config)
    path = saved(reference, tmp_path)
    network = read(path, layout, cutting.build("vit_base_patch16_224", SMALL | kwargs, device="cpu"))
    images = torch.randn(2, 3, 56, 56)
    # Rising noise keeps the patches in their order.
    order = {"noise": torch.arange(16.0).expand(2, 16)} if kind == "ViTMAE" else {}
    with torch.no_grad():
        out = getattr(reference, "vit", reference)(images, output_hidden_states=True, **order)
    assert_same(depths(network, images), [out.hidden_states[2], out.hidden_states[3], out.last_hidden_state])


def file_size(keys):
    """The size of a safetensors file of float32 tensors with the metadata that transformers writes."""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name in sorted(keys):
        end = offset + 4 * math.prod(keys[name])
        header[name] = {"dtype": "F32", "shape": list(keys[name]), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":"))
    return 8 + math.ceil(len(text) / 8) * 8 + offset


@pytest.mark.parametrize(
    ("name", "kind", "model"), [("dinov2", "Dinov2", "Dinov2Model"), ("vit", "ViT", "ViTModel")], ids=["dinov2", "vit"]
)
def test_the_names_written_down_are_those_transformers_saves(tmp_path, name, kind, model):
    transformers, config = hugging_face(kind, **({} if kind == "Dinov2" else {"intermediate_size": 128}))
    path = saved(getattr(transformers, model)(config), tmp_path)
    keys = layout_keys.transformers(name, dim=32, depth=4, grid=4)
    with safe_open(path, framework="pt") as stored:
        assert {key: tuple(stored.get_slice(key).get_shape()) for key in stored.keys()} == keys  # noqa: SIM118
    assert path.stat().st_size == file_size(keys)


def test_the_names_of_rad_dino_add_up_to_its_published_size():
    assert file_size(layout_keys.transformers("dinov2")) == 346_345_912
    assert file_size(layout_keys.transformers("dinov2", grid=16)) == 342_926_760


TEXT = {"context_length": 8, "vocab_size": 50, "width": 16, "heads": 2, "layers": 1}


@pytest.mark.parametrize("wrapper", ["CLIP", "CustomTextCLIP"])
@pytest.mark.parametrize("projection", ["linear", ""])
def test_open_clip_features_are_reproduced(tmp_path, wrapper, projection):
    open_clip = pytest.importorskip("open_clip")
    vision = {"timm_model_name": "test_vit", "timm_pool": "token", "timm_proj": projection, "image_size": 160}
    text = TEXT | {"proj_bias": not projection}
    reference = randomised(getattr(open_clip, wrapper)(16, vision, text, init_logit_bias=-10.0))
    save_file(reference.state_dict(), tmp_path / "model.safetensors")
    sizes = {"img_size": 160, "embed_dim": 64, "depth": 6, "num_heads": 2, "mlp_ratio": 3}
    network = cutting.build("vit_base_patch16_224", sizes, device="cpu")
    network = read(tmp_path / "model.safetensors", "open-clip", network)
    images = torch.randn(2, 3, 160, 160)
    assert_same(depths(network, images), depths(reference.visual.trunk, images))


class Radimagenet(nn.Module):
    """As BMEII-AI/RadImageNet@0ce16f7 pytorch_example.ipynb has it."""

    def __init__(self, network):
        super().__init__()
        self.backbone = nn.Sequential(*list(network.children())[:-1])


def wrapped(**modules):
    return nn.ModuleDict(
        {name: nn.ModuleDict(value) if isinstance(value, dict) else value for name, value in modules.items()}
    )


@pytest.mark.parametrize(
    ("layout", "name", "wrap"),
    [
        ("moco", "resnet50", lambda q, k: wrapped(module={"encoder_q": q, "encoder_k": k})),
        ("moco", "densenet121", lambda q, k: wrapped(module={"encoder_q": q, "encoder_k": k})),
        ("covid-prognosis", "densenet121", lambda q, k: wrapped(model={"encoder_q": q, "encoder_k": k})),
        ("flair", "resnet50", lambda q, k: wrapped(vision_model={"model": q})),
        ("spark", "resnet50", lambda q, k: wrapped(backbone=q)),
        ("sequential", "resnet50", lambda q, k: Radimagenet(q)),
    ],
)
def test_torchvision_features_are_reproduced(tmp_path, layout, name, wrap):
    query, key = (torchvision.models.get_model(name, weights=None, num_classes=16) for _ in range(2))
    save_file(randomised(wrap(query, key)).state_dict(), tmp_path / "model.safetensors")
    network = read(tmp_path / "model.safetensors", layout, cutting.build(name, {}, device="cpu"))
    images = torch.randn(2, 3, 64, 64)
    setattr(query, "fc" if name == "resnet50" else "classifier", nn.Identity())
    with torch.no_grad():
        assert_same([network(images)], [query(images)])


INNER = layout_keys.norm("blocks.0.attn.inner_attn_ln", 768) | layout_keys.norm("blocks.1.attn.inner_attn_ln", 768)
LOCAL = layout_keys.norm("backbone.local_cls_norm", 768)
FILTERED = {
    "tiny": ("eva-x", layout_keys.eva_x(192, 2), "eva02_tiny_patch14_224", EVA),
    "base": ("eva-x", layout_keys.eva_x(768, 2, separate=True), "eva02_base_patch14_224", EVA),
    "inner": (
        "eva-x",
        layout_keys.eva_x(768, 2, separate=True) | INNER,
        "eva02_base_patch14_224",
        EVA | {"scale_attn_inner": True},
    ),
    "dinov3": ("meta-dinov3", layout_keys.meddinov3(768, 2) | LOCAL, "vit_base_patch16_dinov3", {}),
}


@pytest.mark.parametrize(("layout", "keys", "architecture", "kwargs"), FILTERED.values(), ids=FILTERED)
def test_timms_own_filter_gives_the_same_tensors(layout, keys, architecture, kwargs):
    network = cutting.build(architecture, kwargs | {"depth": 2}, device="cpu")
    strip = "backbone." if layout == "meta-dinov3" else ""
    state = {key: torch.randn(shape) for key, shape in keys.items() if key.startswith(strip)}
    own = {new: state[old] for new, (old,) in layouts.rename(layout, state).items()}
    theirs = timm.models.eva.checkpoint_filter_fn({k.removeprefix(strip): v for k, v in state.items()}, network)
    assert own.keys() == theirs.keys() == network.state_dict().keys()
    assert all(torch.equal(own[key], theirs[key]) for key in own)


def test_query_key_and_value_are_gathered_in_this_order_whatever_the_files():
    at = "encoder.layer.3.attention.attention."
    keys = [f"{at}value.bias", f"{at}key.bias", f"{at}query.bias"]
    gathered = {"blocks.3.attn.qkv.bias": (f"{at}query.bias", f"{at}key.bias", f"{at}value.bias")}
    assert layouts.rename("transformers-vit", keys) == gathered
    # Without the key, the two others cannot make a qkv.
    assert layouts.rename("transformers-vit", keys[::2]) == {key: (key,) for key in keys[::2]}


def test_two_tensors_that_claim_one_name_both_stay():
    keys = ["module.encoder_q.conv1.weight", "conv1.weight"]
    assert layouts.rename("moco", keys) == {key: (key,) for key in keys}


def test_a_dinov3_bias_that_timm_would_split_is_not_lost():
    keys = [f"backbone.blocks.0.attn.qkv.{part}" for part in ("weight", "bias", "bias_mask")]
    assert set(layouts.rename("meta-dinov3", keys)) == {"blocks.0.attn.qkv.weight", "blocks.0.attn.qkv.bias"}


def test_an_unknown_layout_is_refused():
    with pytest.raises(
        ValueError, match=r"^layout must be one of timm, .*, sequential \(got 'keras'\)\. Choose one\.$"
    ):
        layouts.rename("keras", [])


def test_no_layout_fits():
    keys = [key for key in layout_keys.moco() if "layer1.0.bn" not in key]
    wanted = expected("resnet50", {})
    (nearest,) = layouts.readings(keys, wanted)
    assert re.search(
        r"under one layout \(got, under the nearest, 'moco', missing: layer1\.0\.bn1\.bias, .* and 7 more; "
        r"left over: none\)\. Check the architecture and its kwargs, then --layout and --prefix\.$",
        layouts.misfit(nearest, wanted),
    )
    own = [key for key in layout_keys.moco() if "encoder_q" in key]
    (nearest,) = layouts.readings([*own, "module.encoder_q.other"], wanted)
    assert "missing: none; left over: module.encoder_q.other)" in layouts.misfit(nearest, wanted)
