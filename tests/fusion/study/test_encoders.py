"""What encoder names of a study stand for; random weights are encoders like any other."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fusion import FusionClassifier, brain_regions
from fusion.study import cell as cell_
from fusion.study import choice, encoders, folder, run
from fusion.study import config as config_
from fusion.study.grid import Cell
from tests.fusion.command import call

RANDOM = "untrained:mocov2-mini@0.25"

CONFIG = {
    "name": "random",
    "encoders": ["mocov2-mini@0.25", RANDOM],
    "strategies": ["full", "probe"],
    "only": {"mocov2-mini": ["probe"]},
    "training": {"epochs": 2, "batch": 6, "patience": None},
    "learning_rates": [1e-2],
    "labels": [12],
    "seeds": [0, 1],
    "raw_pixels": False,
    "contests": [{"name": "pretraining", "ours": {"encoders": ["mocov2-mini"]}, "theirs": {"fused": False}}],
}


def config(**values):
    return config_.parse({**CONFIG, **values}, "test")


@pytest.fixture(scope="module")
def done(data, tmp_path_factory):
    output = tmp_path_factory.mktemp("random") / "study"
    return run.run(config(), output, data), output


def test_names_and_what_they_stand_for():
    known = encoders.facts("mocov2-mini")
    assert encoders.facts("untrained:mocov2-mini") == known
    assert (known.depth, known.family) == (0.75, "contrastive")
    assert encoders.card("untrained:mocov2-mini@0.5") is None
    assert encoders.digest("untrained:mocov2-mini") is None
    assert encoders.digest("mocov2-mini") == encoders.card("mocov2-mini@0.5").weights.sha256 is not None
    assert encoders.size(RANDOM) == encoders.size("mocov2-mini@0.25") > 100_000
    assert encoders.is_random(RANDOM)
    assert not encoders.is_random("mocov2-mini")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("untrained:mae-mimi", r"\(got 'mae-mimi'\)\. Nearest: mae-mini"),
        ("untrained:mae-mini@2", r"depth must be a number in \(0, 1\] \(got '2'\)"),
        ("untrained:vgg16-brain-mr", r"got 'vgg16-brain-mr'"),
    ],
)
def test_random_weights_of_what_is_not_there(name, said):
    with pytest.raises(ValueError, match=said):
        run.check(config(encoders=[name], only={}, contests=[]))


def test_random_weights_depend_on_the_seed_alone():
    first, again, other = (encoders.load(RANDOM, seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["trunk.conv1.weight"], other["trunk.conv1.weight"])
    assert encoders.load(RANDOM, seed=0).depth == 0.25


def deviations(encoder, x):
    """The mean size of the features in training, as a head standardised by those in use sees them."""
    used = encoder(x)
    encoder.train()
    trained = encoder(x)
    encoder.eval()
    alive = used.std(0) > 0
    return ((trained - used.mean(0)) / used.std(0))[:, alive].abs().mean().item()


def test_settled_statistics_are_those_of_the_images():
    images = brain_regions("train", labels=66).images  # two batches of 33
    encoder, bare = encoders.load("untrained:mocov2-mini@1"), encoders.load("untrained:mocov2-mini@1")
    x = encoder.preprocess(images)
    encoders.warm_norms(encoder, images)
    assert not any(module.training for module in encoder.modules())
    assert encoder.trunk.bn1.momentum == bare.trunk.bn1.momentum == 0.1
    halves = torch.stack([encoder.trunk.conv1(half).mean((0, 2, 3)) for half in (x[:33], x[33:])])
    torch.testing.assert_close(encoder.trunk.bn1.running_mean, halves.mean(0).detach())
    assert torch.equal(encoder.trunk.conv1.weight, bare.trunk.conv1.weight)
    assert deviations(encoder, x) < 1
    assert deviations(bare, x) > 50  # why it is done


def test_without_batchnorm_nothing_is_settled():
    encoder = encoders.load("untrained:dino-histology@0.25")
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    encoders.warm_norms(encoder, None)
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())


def test_they_are_trained_and_kept_whole_and_answer_as_their_cells_did(done):
    found, output = done
    cells = [cell for cell in found.cells if cell.encoders == (RANDOM,)]
    assert [(cell.strategy, cell.seed, cell.untrained) for cell in cells] == [
        *[("full", 0, False), ("full", 1, False)],
        *[("probe", 0, False), ("probe", 1, False)],
    ]
    for cell in cells:
        task = run.task(found, output, cell)
        (start,) = cell_.encoders(task)
        (stored,) = (output / "models" / cell.key).glob("encoders*.safetensors")
        kept = load_file(stored)
        assert {f"0.{name}" for name in start.state_dict()} == kept.keys()
        moved = not torch.equal(kept["0.trunk.conv1.weight"], start.state_dict()["trunk.conv1.weight"])
        assert moved == (cell.strategy == "full")
        answers = folder.arrays(output / "cells" / f"{cell.key}.npz")["probabilities"]
        np.testing.assert_array_equal(cell_.answers(task, found.validation), answers)


def test_a_model_is_not_read_onto_other_random_weights(done):
    found, output = done
    probe = next(cell for cell in found.cells if cell.encoders == (RANDOM,) and cell.strategy == "probe")
    with pytest.raises(ValueError, match="encoders must be those before the fit"):
        FusionClassifier.load(output / "models" / probe.key, encoders=[encoders.load(RANDOM, seed=7)])


def test_they_are_no_weights_and_stand_in_contests_tables_and_final_answers(done, data):
    found, output = done
    assert folder.study(output)["weights"]["untrained:mocov2-mini"] is None
    assert run.kept(found)["mocov2-mini"] == 0
    assert run.kept(found)["untrained:mocov2-mini"] == 4 * encoders.size(RANDOM)  # of `probe` too
    run.run(config(), output, data, final=True)
    said = call("study", "report", output)
    assert "results-test.csv" in said
    assert RANDOM in (output / "results-test.csv").read_text()
    assert "random weights: plumbing" not in (output / "report.html").read_text()
    choices = json.loads((output / "final" / "choices.json").read_text())
    assert choices["contests"][0][0] == "pretraining"
    side = config_.Filter(encoders=["untrained:mocov2-mini"])
    assert choice.admits(side, Cell((RANDOM,), "concat", "full", None, None, 0))
    assert not choice.admits(side, Cell(("mocov2-mini@0.25",), "concat", "full", None, None, 0))


def test_the_command_says_that_nothing_is_fetched(data, tmp_path):
    (tmp_path / "x.yaml").write_text(
        json.dumps(
            {**CONFIG, "encoders": [RANDOM], "strategies": ["probe"], "only": {}}
            | {"reference": "probe", "contests": []}
        )
    )
    said = call("study", "run", tmp_path / "x.yaml", "--data", data, "--output", tmp_path / "out", "--jobs", 1)
    assert f"With random weights, nothing fetched: {RANDOM}." in said
    assert "in the package" not in said
    run.check_offline(config(encoders=["untrained:supervised-natural"], only={}, contests=[]))


def test_two_of_one_architecture_in_one_model_differ(data, tmp_path):
    pair = ["untrained:mocov2-mini@0.25", "untrained:mae-mini@0.25"]
    found = run.plan(config(encoders=[pair], strategies=["probe"], only={}, contests=[], reference="probe"), data)
    first, second = cell_.encoders(run.task(found, tmp_path, found.cells[0]))
    assert not torch.equal(first.state_dict()["trunk.conv1.weight"], second.state_dict()["trunk.conv1.weight"])


def test_the_size_of_mechanics_is_not_theirs(data, tmp_path):
    plan = {"encoders": ["mae-mini@0.25"], "strategies": ["probe"], "images": 12, "size": 32}
    found = run.plan(config(mechanics=plan), data)
    sizes = {c.untrained: cell_.encoders(run.task(found, tmp_path, c))[0].card.input.size for c in found.cells}
    assert sizes == {True: 32, False: 64}
