"""Names and shapes of published checkpoint files, written down from the code that makes them, named at each."""

from itertools import chain

import torch
import torchvision

Keys = dict[str, tuple[int, ...]]


def below(prefix: str, *parts: Keys) -> Keys:
    return {prefix + name: shape for name, shape in chain.from_iterable(part.items() for part in parts)}


def linear(name: str, out: int, into: int, *, bias: bool = True) -> Keys:
    return {f"{name}.weight": (out, into)} | ({f"{name}.bias": (out,)} if bias else {})


def conv(name: str, out: int, into: int, kernel: int) -> Keys:
    return {f"{name}.weight": (out, into, kernel, kernel), f"{name}.bias": (out,)}


def norm(name: str, dim: int) -> Keys:
    return {f"{name}.weight": (dim,), f"{name}.bias": (dim,)}


def batch_norm(name: str, dim: int) -> Keys:
    running = {f"{name}.running_mean": (dim,), f"{name}.running_var": (dim,)}
    return norm(name, dim) | running | {f"{name}.num_batches_tracked": ()}


def from_torchvision(network: str, classes: int = 1000) -> Keys:
    """torchvision's own network: the three MoCo codes, FLAIR and RadImageNet take it as it is."""
    with torch.device("meta"):
        built = torchvision.models.get_model(network, weights=None, num_classes=classes)
    return {name: tuple(value.shape) for name, value in built.state_dict().items()}


def headless(network: str) -> Keys:
    return {n: s for n, s in from_torchvision(network).items() if not n.startswith(("fc.", "classifier."))}


def _moco(wrapper: str, encoder: Keys, queue: tuple[int, int]) -> Keys:
    both = below("encoder_q.", encoder) | below("encoder_k.", encoder)
    return below(wrapper, both, {"queue": queue, "queue_ptr": (1,)})


def moco(network: str = "resnet50", head: str = "fc", dim: int = 2048) -> Keys:
    """facebookresearch/moco@132aea9 moco/builder.py and main_moco.py: distributed, with the head of MoCo v2.

    stanfordmlgroup/MoCo-CXR@d433aca writes the same names, with `classifier` for DenseNet.
    """
    encoder = headless(network) | linear(f"{head}.0", dim, dim) | linear(f"{head}.2", 128, dim)
    return _moco("module.", encoder, (128, 65536))


def covid_prognosis() -> Keys:
    """facebookresearch/CovidPrognosis@9c753d1 covidprognosis/models/moco_model.py, cp_examples/moco_pretrain."""
    return _moco("model.", from_torchvision("densenet121", 128), (128, 65536))


def bert(layers: int = 12, dim: int = 768, words: int = 28996) -> Keys:
    """transformers 5.23.0: what `BertModel(add_pooling_layer=False)` saves, and the buffer it saved in 2022."""
    keys: Keys = {"embeddings.position_ids": (1, 512), "embeddings.word_embeddings.weight": (words, dim)}
    keys |= {"embeddings.position_embeddings.weight": (512, dim), "embeddings.token_type_embeddings.weight": (2, dim)}
    for block in (f"encoder.layer.{i}." for i in range(layers)):
        parts = [linear(f"{block}attention.self.{part}", dim, dim) for part in ("query", "key", "value")]
        parts += [linear(f"{block}attention.output.dense", dim, dim), norm(f"{block}attention.output.LayerNorm", dim)]
        parts += [linear(f"{block}intermediate.dense", 4 * dim, dim), linear(f"{block}output.dense", dim, 4 * dim)]
        keys |= below("", *parts, norm(f"{block}output.LayerNorm", dim))
    return keys | norm("embeddings.LayerNorm", dim)


def flair() -> Keys:
    """jusiro/FLAIR@d6652d5 flair/modeling/model.py, saved by `PyTorchModelHubMixin`."""
    vision = below("model.", headless("resnet50")) | linear("projection_head_vision.projection", 512, 2048, bias=False)
    text = below("model.", bert(), linear("pooler.dense", 768, 768))
    text |= linear("projection_head_text.projection", 512, 768, bias=False)
    return below("vision_model.", vision) | below("text_model.", text) | {"logit_scale": ()}


def spark_mmpretrain() -> Keys:
    """open-mmlab/mmpretrain@ee7f2e8 models/selfsup/spark.py, backbones/sparse_resnet.py, necks/spark_neck.py.

    Its ResNet (backbones/resnet.py) has torchvision's names; its head and preprocessor hold no tensors.
    """
    keys = below("backbone.", headless("resnet50"))
    for i in range(4):
        into, out = 2048 >> i, 512 >> i
        keys |= batch_norm(f"enc_dec_norms.{i}", into) | {f"mask_tokens.{i}": (1, into, 1, 1)}
        keys |= conv(f"enc_dec_projectors.{i}", out, into, 1 if i == 0 else 3)
    for i in range(5):
        into, out, name = 512 >> i, 256 >> i, f"neck.decoder.{i}"
        keys |= conv(f"{name}.upsample", into, into, 4)
        block = batch_norm("norm1", into) | batch_norm("norm2", out)
        block |= {"conv1.weight": (into, into, 3, 3), "conv2.weight": (out, into, 3, 3)}
        keys |= below(f"{name}.conv_blocks.0.", block)
    return keys | conv("neck.proj", 3, 16, 1)


def spark_authors() -> Keys:
    """keyu-tian/SparK@a63e386 pretrain/spark.py, encoder.py and decoder.py: `…_withdecoder_…_spark_style.pth`."""
    keys = below("sparse_encoder.sp_cnn.", headless("resnet50"))
    for i in range(4):
        into, out = 2048 >> i, 768 >> i
        keys |= batch_norm(f"densify_norms.{i}", into) | {f"mask_tokens.{i}": (1, into, 1, 1)}
        keys |= conv(f"densify_projs.{i}", out, into, 1 if i == 0 else 3)
    for i in range(5):
        into, out, name = 768 >> i, 384 >> i, f"dense_decoder.dec.{i}"
        keys |= conv(f"{name}.up_sample", into, into, 4)
        keys |= {f"{name}.conv.0.weight": (into, into, 3, 3)} | batch_norm(f"{name}.conv.1", into)
        keys |= {f"{name}.conv.3.weight": (out, into, 3, 3)} | batch_norm(f"{name}.conv.4", out)
    buffers: Keys = {"imn_m": (1, 3, 1, 1), "imn_s": (1, 3, 1, 1), "norm_black": (1, 3, 224, 224)}
    return keys | conv("dense_decoder.proj", 3, 24, 1) | buffers


def radimagenet() -> Keys:
    """BMEII-AI/RadImageNet@0ce16f7 pytorch_example.ipynb: `nn.Sequential(*list(resnet50().children())[:9])`."""
    children = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
    parts = ((*name.partition("."), shape) for name, shape in headless("resnet50").items())
    return {f"backbone.{children[child]}.{rest}": shape for child, _, rest, shape in parts}


def _patches(dim: int, patch: int, grid: int | None) -> Keys:
    keys = conv("patch_embed.proj", dim, 3, patch) | {"cls_token": (1, 1, dim)}
    return keys | ({"pos_embed": (1, grid**2 + 1, dim)} if grid else {})


def _blocks(name: str, depth: int, dim: int, *, bias: bool = True) -> Keys:
    keys: Keys = {}
    for block in (f"{name}.{i}." for i in range(depth)):
        keys |= norm(f"{block}norm1", dim) | linear(f"{block}attn.qkv", 3 * dim, dim, bias=bias)
        keys |= linear(f"{block}attn.proj", dim, dim) | norm(f"{block}norm2", dim)
        keys |= linear(f"{block}mlp.fc1", 4 * dim, dim) | linear(f"{block}mlp.fc2", dim, 4 * dim)
    return keys


def mae(dim: int = 768, depth: int = 12, decoder: int = 512) -> Keys:
    """facebookresearch/mae@efb2a80 models_mae.py: `mae_vit_base_patch16`, with its decoder of 8 blocks."""
    encoder = _patches(dim, 16, 14) | _blocks("blocks", depth, dim) | norm("norm", dim)
    keys = encoder | linear("decoder_embed", decoder, dim) | {"mask_token": (1, 1, decoder)}
    keys |= {"decoder_pos_embed": (1, 197, decoder)} | _blocks("decoder_blocks", 8, decoder)
    return keys | norm("decoder_norm", decoder) | linear("decoder_pred", 768, decoder)


def biomedclip() -> Keys:
    """mlfoundations/open_clip v3.3.0 timm_model.py, hf_model.py and model.py (`CustomTextCLIP`)."""
    trunk = _patches(768, 16, 14) | _blocks("blocks", 12, 768) | norm("norm", 768)
    text = below("transformer.", bert(words=30522)) | linear("proj.0", 640, 768, bias=False)
    text |= linear("proj.2", 512, 640, bias=False)
    visual = below("trunk.", trunk) | linear("head.proj", 512, 768, bias=False)
    return below("visual.", visual) | below("text.", text) | {"logit_scale": ()}


def eva_x(dim: int, depth: int = 12, *, separate: bool = False) -> Keys:
    """hustvl/EVA-X@dc4f32a eva_x.py, pretrained by baaivision/EVA@5623d08 EVA-02/asuka/modeling_{pre,fine}*.py.

    Tiny and small have a fused `qkv` and the fused SwiGLU of xformers; base (`separate`) has neither, but sub-norms.
    """
    hidden, head = int(dim * 4 * 2 / 3), {"mask_token": (1, 1, dim)}
    rotations: Keys = {"rope.freqs_cos": (196, 64), "rope.freqs_sin": (196, 64)}
    keys = _patches(dim, 16, 14) | head | rotations | norm("norm", dim) | linear("lm_head", 768, dim)
    for block in (f"blocks.{i}." for i in range(depth)):
        keys |= norm(f"{block}norm1", dim) | norm(f"{block}norm2", dim) | below(f"{block}attn.", rotations)
        keys |= {f"{block}attn.q_bias": (dim,), f"{block}attn.v_bias": (dim,)} | linear(f"{block}attn.proj", dim, dim)
        if separate:
            keys |= below(block, *(linear(f"attn.{part}_proj", dim, dim, bias=False) for part in "qkv"))
            keys |= linear(f"{block}mlp.w1", hidden, dim) | linear(f"{block}mlp.w2", hidden, dim)
            keys |= norm(f"{block}mlp.ffn_ln", hidden)
        else:
            keys |= linear(f"{block}attn.qkv", 3 * dim, dim, bias=False) | linear(f"{block}mlp.w12", 2 * hidden, dim)
        keys |= linear(f"{block}mlp.w3", dim, hidden)
    return keys


def meddinov3(dim: int = 768, depth: int = 12) -> Keys:
    """ricklisz/MedDINOv3@a2460c2 inference/demo.ipynb; facebookresearch/dinov3@6876159 dinov3/models, train, layers."""
    backbone = _patches(dim, 16, None) | _blocks("blocks", depth, dim, bias=False) | norm("norm", dim)
    backbone |= {"storage_tokens": (1, 4, dim), "mask_token": (1, dim), "rope_embed.periods": (16,)}
    backbone |= {f"blocks.{i}.ls{n}.gamma": (dim,) for i in range(depth) for n in (1, 2)}
    head = linear("mlp.0", 2048, dim) | linear("mlp.2", 2048, 2048) | linear("mlp.4", 256, 2048)
    head |= linear("last_layer", 65536, 256, bias=False)
    return below("backbone.", backbone) | below("dino_head.", head) | below("ibot_head.", head)


def transformers(kind: str, dim: int = 768, depth: int = 12, *, patch: int = 14, grid: int = 37) -> Keys:
    """transformers 5.23.0: what Dinov2Model, ViTModel or the encoder of ViTMAEForPreTraining (`mae`) saves."""
    keys: Keys = {"embeddings.cls_token": (1, 1, dim), "embeddings.position_embeddings": (1, grid**2 + 1, dim)}
    keys |= conv("embeddings.patch_embeddings.projection", dim, 3, patch) | norm("layernorm", dim)
    keys |= {"embeddings.mask_token": (1, dim)} if kind == "dinov2" else {}
    keys |= linear("pooler.dense", dim, dim) if kind == "vit" else {}
    names = ("norm1", "norm2", "mlp.fc1", "mlp.fc2")
    if kind != "dinov2":
        names = ("layernorm_before", "layernorm_after", "intermediate.dense", "output.dense")
    for block in (f"encoder.layer.{i}." for i in range(depth)):
        keys |= below(f"{block}attention.attention.", *(linear(part, dim, dim) for part in ("query", "key", "value")))
        keys |= linear(f"{block}attention.output.dense", dim, dim) | below(block, *(norm(n, dim) for n in names[:2]))
        keys |= linear(block + names[2], 4 * dim, dim) | linear(block + names[3], dim, 4 * dim)
        keys |= {f"{block}layer_scale{n}.lambda1": (dim,) for n in (1, 2)} if kind == "dinov2" else {}
    return below("vit.", keys) if kind == "mae" else keys
