import copy
import itertools
import pickle

import pytest
import torch

import zoo
from zoo.networks import cutting
from zoo.registry import cards


@pytest.fixture
def encoder(tiny):
    return zoo.load("own", 0.75, card=tiny)


def test_the_contract(encoder):
    x = torch.randn(3, 1, 32, 32)
    assert encoder.name == "tiny-test@0.75"
    assert encoder(x).shape == (3, encoder.num_features) == (3, 16)
    assert [tuple(level.shape) for level in encoder.pyramid(x)] == [(3, 8, 8, 8), (3, 8, 4, 4), (3, 16, 2, 2)]
    assert (encoder.channels, encoder.strides) == ((8, 8, 16), (4, 8, 16))
    assert torch.equal(encoder.pyramid(x)[-1].mean((2, 3)), encoder(x))


def test_quarters_hold_every_parameter_once_in_order_of_depth(encoder):
    groups = encoder.quarters()
    names = {id(p): name for name, p in encoder.named_parameters()}
    assert [group["name"] for group in groups] == ["quarter-1", "quarter-2", "quarter-3"]
    held = [[names[id(p)] for p in group["params"]] for group in groups]
    assert sorted(itertools.chain(*held)) == sorted(names.values())
    assert "trunk.conv1.weight" in held[0]
    assert all(name.startswith("trunk.layer3") for name in held[2])


@pytest.mark.parametrize(
    ("architecture", "first", "last"),
    [
        ("vit_tiny_patch16_224", "pos_embed", "norm.weight"),
        ("swin_tiny_patch4_window7_224", "patch_embed.proj.weight", "layers.3.downsample.reduction.weight"),
        ("densenet121", "features.conv0.weight", "features.transition3.conv.weight"),
    ],
)
def test_stem_goes_with_the_first_quarter_and_downsampling_with_the_next(tiny, architecture, first, last):
    pixels = cards.Input(channels=3, size=224, mean=[0.0] * 3, std=[1.0] * 3)
    card = cards.read(tiny).model_copy(update={"architecture": architecture, "kwargs": {}, "input": pixels})
    cut = cutting.cut(cutting.build(architecture, {}), 1.0)
    encoder = zoo.Encoder(cut, card, 1.0)
    names = {id(p): name.removeprefix("trunk.") for name, p in encoder.named_parameters()}
    groups = [[names[id(p)] for p in group["params"]] for group in encoder.quarters()]
    assert first in groups[0]
    assert last in groups[3]
    assert sorted(itertools.chain(*groups)) == sorted(names.values())


def test_eval_mode_with_gradients_possible(encoder):
    assert not encoder.training
    encoder(torch.randn(2, 1, 32, 32)).sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())


def test_an_encoder_is_copied_and_pickled_whole(encoder):
    x = torch.randn(2, 1, 32, 32)
    for twin in (copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))):
        assert torch.equal(twin(x), encoder(x))
        assert twin.name == encoder.name


def test_features_at_some_depths_are_those_at_all(encoder):
    x = torch.randn(5, 1, 32, 32)
    whole = encoder.at_depths(x)
    assert len(whole) == len(encoder.depths) == 6
    for places in ([0, 3], [2], [1, 5], [5]):
        found = encoder.at_depths(x, places)
        assert all(torch.equal(a, whole[place]) for a, place in zip(found, places, strict=True))
        assert len(found) == len(places)


@pytest.mark.parametrize("places", [[2, 1], [1, 1], [-1], [], [0, 99]])
def test_places_that_do_not_rise_within_the_depths_are_refused(encoder, places):
    with pytest.raises(ValueError, match=r"places must rise from 0 to \d at most \(got \[.*Leave them out for all"):
        encoder.at_depths(torch.zeros(1, 1, 32, 32), places)


def test_features_do_not_depend_on_the_batch(encoder):
    x = torch.randn(5, 1, 32, 32)
    alone = torch.cat([encoder(image[None]) for image in x])
    torch.testing.assert_close(alone, encoder(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 32, 32), (2, 3, 32, 32)])
def test_wrong_input_is_refused(encoder, shape):
    with pytest.raises(ValueError, match=r"tiny-test@0.75: x must be \(N, 1, H, W\) \(got .*preprocess"):
        encoder(torch.zeros(shape))


@pytest.mark.parametrize("pool", ["cls", "cls+avg"])
def test_token_pools(tiny, pool):
    pixels = cards.Input(channels=3, size=224, mean=[0.0] * 3, std=[1.0] * 3)
    changes = {"architecture": "vit_tiny_patch16_224", "kwargs": {}, "input": pixels, "pool": pool}
    cut = cutting.cut(cutting.build("vit_tiny_patch16_224", {}, device="cpu"), 0.5)
    encoder = zoo.Encoder(cut, cards.read(tiny).model_copy(update=changes), 0.5).eval()
    x = torch.randn(2, 3, 224, 224)
    tokens = encoder.trunk.forward_features(x)
    expected = {"cls": tokens[:, 0], "cls+avg": torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], 1)}[pool]
    assert torch.equal(encoder(x), expected)


def test_a_network_without_tokens_has_no_cls(tiny):
    tiny.write_text(tiny.read_text().replace("pool: avg", "pool: cls"))
    with pytest.raises(ValueError, match=r"pool must be avg for resnet18 \(got 'cls'\)"):
        zoo.load("own", card=tiny)


def test_the_identity_is_what_is_held_and_nothing_else():
    encoder = zoo.load("mocov2-mini", 0.5)
    known = encoder.identity()
    assert zoo.load("mocov2-mini@0.5").identity() == known == copy.deepcopy(encoder).eval().identity()
    renamed = copy.deepcopy(encoder)
    renamed.name, renamed.card = "another", encoder.card.model_copy(update={"name": "another", "domain": "ct"})
    assert renamed.identity() == known
    assert {zoo.load("mocov2-mini", depth).identity() for depth in (0.25, 0.5, 1)} - {known}


@pytest.mark.parametrize("change", ["weight", "buffer", "mean", "resize", "pool", "dtype"])
def test_whatever_changes_features_changes_the_identity(change):
    encoder = zoo.load("mocov2-mini", 0.5)
    known, card = encoder.identity(), encoder.card
    with torch.no_grad():
        if change == "weight":
            next(encoder.parameters()).view(-1)[0] += 1e-6
        elif change == "buffer":
            encoder.trunk.bn1.running_mean[0] += 1e-6
        elif change == "dtype":
            encoder.half()
        elif change == "pool":
            encoder.card = card.model_copy(update={"pool": "cls"})
        else:
            other = {"mean": [0.1], "resize": "pad"}[change]
            encoder.card = card.model_copy(update={"input": card.input.model_copy(update={change: other})})
    assert encoder.identity() != known


def test_an_encoder_at_rest_is_in_eval_mode_and_leaves_the_modes_alone():
    encoder = zoo.load("mocov2-mini", 0.5).train()
    encoder.trunk.bn1.eval()
    modes = [module.training for module in encoder.modules()]
    x = torch.rand(2, 1, 64, 64)
    torch.testing.assert_close(encoder.at_rest()(x), zoo.load("mocov2-mini", 0.5)(x))
    assert [module.training for module in encoder.modules()] == modes
