"""The map of quarters: whole, in order, and of the counts that each family is known for."""

import pytest
import torch
from torch import nn

from zoo.networks import cutting, families

COUNTS = {
    "resnet18": (2, 2, 2, 2),
    "resnet50": (3, 4, 6, 3),
    "densenet121": (6, 12, 24, 16),
    "vgg19": (4, 4, 4, 4),  # the first quarter is two stages of two
    "vgg16_bn": (4, 3, 3, 3),
    "vit_tiny_patch16_224": (3, 3, 3, 3),
    "eva02_tiny_patch14_224": (3, 3, 3, 3),
    "swin_tiny_patch4_window7_224": (2, 2, 6, 2),
    "convnext_atto": (2, 2, 6, 2),
}


def quarters(architecture, kwargs=None):
    network = cutting.build(architecture, kwargs or {})
    return network, families.family(network).quarters(network)


@pytest.mark.parametrize("architecture", COUNTS)
def test_every_block_is_in_one_quarter(architecture):
    network, found = quarters(architecture)
    assert tuple(map(len, found)) == COUNTS[architecture]
    names = [name for quarter in found for name in quarter]
    assert len(set(names)) == len(names)
    order = [name for name, _ in network.named_modules() if name in set(names)]
    assert order == names, "in the network's own order"


def test_the_names_of_blocks():
    assert quarters("resnet18")[1][3] == ["layer4.0", "layer4.1"]
    assert quarters("densenet121")[1][0][-1] == "features.denseblock1.denselayer6"
    assert quarters("swin_tiny_patch4_window7_224")[1][1] == ["layers.1.blocks.0", "layers.1.blocks.1"]
    assert quarters("vit_tiny_patch16_224")[1][3] == ["blocks.9", "blocks.10", "blocks.11"]


@pytest.mark.parametrize("architecture", ["vgg16_bn", "vgg19"])
def test_a_block_of_vgg_ends_in_its_activation(architecture):
    network, found = quarters(architecture)
    assert all(isinstance(network.get_submodule(name), nn.ReLU) for quarter in found for name in quarter)


@pytest.mark.parametrize(("depth", "counts"), [(10, (3, 2, 3, 2)), (5, (2, 1, 1, 1)), (4, (1, 1, 1, 1))])
def test_blocks_that_four_does_not_divide_end_where_the_depth_says(depth, counts):
    _, found = quarters("vit_tiny_patch16_224", {"depth": depth})
    assert tuple(map(len, found)) == counts


@pytest.mark.parametrize(
    ("block", "norm"),
    [
        ("features.denseblock1.denselayer1", "features.denseblock1.denselayer2.norm1"),
        ("features.denseblock3.denselayer23", "features.denseblock3.denselayer24.norm1"),
        ("features.denseblock1.denselayer6", "features.transition1.norm"),
        ("features.denseblock3.denselayer24", "features.transition3.norm"),
        ("features.denseblock4.denselayer16", "features.norm5"),
    ],
)
def test_what_a_dense_block_s_output_is_normalised_by(block, norm):
    network = cutting.build("densenet121", {})
    assert families.family(network).consumer(network, block) == norm
    assert isinstance(network.get_submodule(norm), nn.BatchNorm2d)


@pytest.mark.parametrize("architecture", COUNTS)
def test_the_last_norms_of_the_map_are_the_network_s(architecture):
    network, _ = quarters(architecture)
    family = families.family(network)
    for name in filter(None, (family.norm, family.pooled_norm)):
        assert isinstance(network.get_submodule(name), nn.Module)


def test_a_network_of_no_family_is_refused():
    with pytest.raises(ValueError, match=r"^architecture must be one of \['ConvNeXt', .*\] \(got Linear\)\. Choose an"):
        families.family(torch.nn.Linear(2, 2))
