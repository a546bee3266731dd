"""Encoders and a head as one network, and its modes."""

import pytest
import torch
from torch import nn

import zoo
from fusion.heads.modules import TRAINED
from fusion.tuning.network import Fused, neighbours, same_bytes, set_modes
from fusion.tuning.phases import movers
from fusion.tuning.strategies import plan
from tests.small_fits import own
from zoo.networks import cutting


def test_a_fused_network_drops_the_encoder_it_is_told_to(tmp_path):
    encoders = [own(tmp_path, "left"), own(tmp_path, "right", 0.5)]
    network = Fused(encoders, TRAINED["mean"]([16, 8], 3))
    images = [torch.randn(5, 1, 32, 32), torch.randn(5, 1, 32, 32)]
    torch.testing.assert_close(network(images, 1), network.head([encoders[0](images[0]), None]))
    torch.testing.assert_close(network(images), network.head([encoders[0](images[0]), encoders[1](images[1])]))
    with pytest.raises(ValueError, match="zip"):
        network(images[:1])


def test_of_several_depths_one_pass_gives_all_blocks_and_takes_all_gradients(tmp_path):
    encoders, x, passes = [own(tmp_path, "left"), own(tmp_path, "right", 0.5)], torch.randn(5, 1, 32, 32), []
    network = Fused(encoders, TRAINED["concat"]([8, 16, 8], 3), [[1, 7], [3]])
    blocks = [own(tmp_path, "left", 0.25)(x), encoders[0](x), encoders[1](x)]
    torch.testing.assert_close(network([x, x]), network.head(blocks))
    torch.testing.assert_close(network([x, x], 0), network.head([None, None, blocks[2]]))
    before = encoders[0].trunk.bn1.running_mean.clone()
    encoders[0].trunk.conv1.register_forward_hook(lambda *_: passes.append(1))
    network.train()([x, x]).square().sum().backward()
    assert len(passes) == 1
    assert not torch.equal(encoders[0].trunk.bn1.running_mean, before)  # as in any pass of training
    assert all(p.grad is not None and p.grad.any() for p in encoders[0].parameters())


def frozen_first():
    """A frozen part and one that moves, each with a norm and dropout; dropout and an activation between them."""
    frozen, moving = (nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1), nn.Dropout()) for _ in range(2))
    network = nn.Sequential(frozen, nn.Dropout(), moving, nn.ReLU())
    frozen.requires_grad_(False)
    return network


def test_what_is_frozen_is_settled_and_what_moves_trains():
    network = frozen_first().eval()
    set_modes(network, statistics=True)
    frozen, between, moving, _ = network
    assert not frozen.training
    assert not any(part.training for part in frozen)  # its dropout is off: no weights of its own, taken from its holder
    assert all(part.training for part in (moving, *moving))
    assert not between.training  # it drops what the frozen part before it gave


def test_norm_statistics_stand_still_where_they_shall_and_dropout_stays():
    network = frozen_first()
    set_modes(network, statistics=False)
    assert [part.training for part in network[2]] == [True, False, True]
    before = network[2][1].running_mean.clone()
    network(torch.randn(8, 1, 4, 4) + 3)
    assert torch.equal(network[2][1].running_mean, before)
    set_modes(network, statistics=True)
    network(torch.randn(8, 1, 4, 4) + 3)
    assert not torch.equal(network[2][1].running_mean, before)
    assert torch.equal(network[0][1].running_mean, torch.zeros(1))  # frozen: never


def test_a_norm_whose_own_weights_are_frozen_stands_still_among_weights_that_move():
    network = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))
    network[1].requires_grad_(False)
    set_modes(network, statistics=True)
    assert (network[0].training, network[1].training) == (True, False)


def test_a_norm_without_weights_follows_what_holds_it():
    for moves in (True, False):
        network = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, affine=False)).requires_grad_(moves)
        set_modes(network, statistics=True)
        assert network[1].training == moves
        set_modes(network, statistics=False)
        assert not network[1].training


@pytest.mark.parametrize(
    ("architecture", "kwargs"),
    [
        ("resnet18", {"in_chans": 1, "channels": [8, 8, 16, 16]}),
        ("densenet121", {"in_chans": 1, "growth_rate": 4, "block_config": [2, 3, 4, 2]}),
        ("vgg11_bn", {"in_chans": 1}),
    ],
)
@pytest.mark.parametrize("name", ["quarter-1", "quarter-3", "auto-rgn"])
def test_norms_of_blocks_that_move_go_along_though_frozen_and_no_others_do(tmp_path, architecture, kwargs, name):
    card = own(tmp_path).card.model_copy(update={"architecture": architecture, "name": "net"})
    encoder = zoo.Encoder(cutting.cut(cutting.build(architecture, kwargs), 0.75), card, 0.75)
    movers(plan(name, [encoder], 1)[0], [encoder], nn.Linear(2, 2))
    set_modes(encoder, statistics=True, along=neighbours(encoder))
    moved = {id(p) for q in encoder.quarters() if name in ("auto-rgn", q["name"]) for p in q["params"]}
    norms = [m for m in encoder.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) > 3
    assert [norm.training for norm in norms] == [id(norm.weight) in moved for norm in norms]
    set_modes(encoder, statistics=False, along=neighbours(encoder))
    assert not any(norm.training for norm in norms)


def test_the_same_is_the_same_bytes():
    zero = torch.zeros(2, 3)
    assert same_bytes(zero, zero.clone())
    assert same_bytes(torch.full((), torch.nan), torch.full((), torch.nan))
    assert not any(same_bytes(zero, other) for other in (-zero, zero.half(), zero[:1], zero.T))
