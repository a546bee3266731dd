"""A fitted model as a folder."""

import copy
import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import zoo
from fusion import FusionClassifier, Training, brain_regions
from fusion.estimators import saving
from fusion.heads.solved import SOLVED

TRAIN = brain_regions("train", labels=36)
OTHERS = brain_regions("validation", labels=12).images
PAIR = ["mocov2-mini@0.5", "mae-mini@0.25"]
SHORT = Training(epochs=1, batch=18, patience=None)
SEVERAL = np.stack([TRAIN.labels == "deep", np.isin(TRAIN.labels, ["frontal", "parietal"])], 1).astype(int)
SECOND = {"mocov2-mini": "quarter-2", "mae-mini": "quarter-1"}


def tuned(encoders=PAIR, strategy="full", y=TRAIN.labels, training=SHORT, **parameters):
    model = FusionClassifier(encoders, strategy=strategy, training=training, C=0.1, **parameters)
    return model.fit(TRAIN.images, y, TRAIN.groups)


def same(model, other, images=OTHERS):
    np.testing.assert_array_equal(model.predict_proba(images), other.predict_proba(images))
    np.testing.assert_array_equal(model.predict(images), other.predict(images))


def stored(folder):
    """The names in encoders.safetensors; none where there is no such file."""
    path = folder / "encoders.safetensors"
    if not path.exists():
        return set()
    with safe_open(path, "np") as file:
        return set(file.keys())


@pytest.mark.parametrize("encoders", [PAIR[:1], PAIR], ids=["one", "two"])
@pytest.mark.parametrize("strategy", ["full", "quarter-2", "lora", "lp-ft"])
def test_a_tuned_model_comes_back_bit_by_bit_and_only_what_moved_is_kept(strategy, encoders, tmp_path):
    several = len(encoders) > 1 and strategy == "quarter-2"
    model = tuned(encoders, SECOND if several else strategy)
    model.save(tmp_path)
    again = FusionClassifier.load(tmp_path)
    same(again, model)
    fresh = [zoo.load(name) for name in encoders]
    moved = {
        f"{e}.{name}"
        for e, (before, after) in enumerate(zip(fresh, model.encoders_, strict=True))
        for name, value in after.state_dict().items()
        if not torch.equal(value, before.state_dict()[name])
    }
    assert stored(tmp_path) == moved
    assert {name.partition(".")[0] for name in moved} == {str(e) for e in range(len(encoders))}
    if strategy == "quarter-2":
        assert all(name.startswith("0.trunk.layer2.") for name in moved if name.startswith("0."))
    if strategy == "lp-ft":
        assert not [name for name in moved if "running" in name]
    if strategy == "lora":
        assert not [name for name in moved if not name.endswith("weight") or "bn" in name or "lora" in name]
    assert again.history_ == model.history_
    assert (again.trained_, again.changed_) == (model.trained_, model.changed_)


def test_what_is_loaded_is_saved_again_the_same(tmp_path):
    tuned(PAIR[1:]).save(tmp_path / "first")
    FusionClassifier.load(tmp_path / "first").save(tmp_path / "second")
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes(), path.name


@pytest.mark.parametrize(("head", "several"), [("gated", True), ("attention", False), ("convex", True)])
def test_every_head_tuned_comes_back_for_classes_and_for_several_labels(head, several, tmp_path, monkeypatch):
    monkeypatch.setattr("fusion.heads.optimum._STEPS", 20)
    y = SEVERAL if several else TRAIN.labels
    encoders = ["mae-mini@0.25", "mae-mini@0.5"]
    model = tuned(encoders, ["lp-ft", "probe"], y, head=head)
    model.save(tmp_path)
    again = FusionClassifier.load(tmp_path)
    same(again, model)
    assert again.multilabel_ == several
    assert again.classes_.tolist() == model.classes_.tolist()
    np.testing.assert_array_equal(
        again.predict_proba(OTHERS, without=["mae-mini@0.5"]), model.predict_proba(OTHERS, without=["mae-mini@0.5"])
    )
    assert stored(tmp_path)
    assert all(name.startswith("0.") for name in stored(tmp_path))


@pytest.mark.parametrize(
    ("head", "several"), [("gated", False), ("attention", True), *((head, True) for head in SOLVED)]
)
def test_every_head_on_frozen_features_comes_back(head, several, tmp_path, monkeypatch):
    monkeypatch.setattr("fusion.heads.optimum._STEPS", 20)
    y = SEVERAL if several else TRAIN.labels
    model = tuned(["mae-mini@0.25", "mae-mini@0.5"], "probe", y, head=head)
    model.save(tmp_path)
    same(FusionClassifier.load(tmp_path), model)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ATTRIBUTION.md", "head.safetensors", "model.json"]


def test_parameters_come_back_as_they_were(tmp_path):
    strategy = [[{"rates": {"quarter-1": 0.5, "head": 2.0}}], [{"solve": True}]]
    training = Training(epochs=1, batch=18, patience=None, checkpoint=str(tmp_path / "state"), trackers=())
    model = tuned(strategy=strategy, training=training, folds=3, seed=4)
    model.save(tmp_path / "model")
    again = FusionClassifier.load(tmp_path / "model", device="cpu").get_params()
    assert again == {**model.get_params(), "device": "cpu"}


def test_encoders_of_ones_own_are_left_alone_by_fit_and_by_load(tmp_path):
    own = [zoo.load(name) for name in PAIR]
    own[0].train()
    own[1].requires_grad_(False)
    for strategy in ("full", "lora", "probe"):
        before = [copy.deepcopy(encoder) for encoder in own]
        model = tuned(own, strategy)
        model.save(tmp_path / strategy)
        again = FusionClassifier.load(tmp_path / strategy, encoders=own)
        same(again, model)
        for encoder, kept in zip(own, before, strict=True):
            assert unchanged(encoder, kept)
        if strategy != "probe":
            assert not {id(encoder) for encoder in own} & {id(e) for e in (*model.encoders_, *again.encoders_)}


def unchanged(encoder, kept):
    modules = [(name, type(m), m.training) for name, m in encoder.named_modules()]
    assert modules == [(name, type(m), m.training) for name, m in kept.named_modules()]
    for (name, p), (other, q) in zip(encoder.named_parameters(), kept.named_parameters(), strict=True):
        assert (name, p.requires_grad, p.grad) == (other, q.requires_grad, None)
    state, other = encoder.state_dict(), kept.state_dict()
    return state.keys() == other.keys() and all(torch.equal(state[name], other[name]) for name in state)


def test_a_model_saved_over_another_leaves_nothing_of_it(tmp_path):
    tuned(PAIR[1:]).save(tmp_path)
    assert stored(tmp_path)
    frozen = tuned(PAIR[1:], "probe")
    frozen.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ATTRIBUTION.md", "head.safetensors", "model.json"]
    same(FusionClassifier.load(tmp_path), frozen)


def test_what_is_half_written_is_no_model(tmp_path):
    model = tuned(PAIR[1:], "probe")
    model.save(tmp_path)
    with pytest.raises(Exception, match="list"):
        saving.write(tmp_path, {}, {"weight": [1.0]}, model.encoders_, model.changed_)
    with pytest.raises(OSError, match="must hold a saved model"):
        FusionClassifier.load(tmp_path)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "model"
    tuned(PAIR[1:]).save(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of a tuned model's folder, to be spoilt."""
    for path in saved.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def format_2(folder):
    """As the versions wrote it that knew probes only."""
    record = json.loads((folder / "model.json").read_text())
    old = {"format": 2, "parameters": {"head": "concat", "strategy": "probe", "C": 0.1, "folds": 5, "seed": 0}}
    old |= {key: record[key] for key in ("encoders", "classes")}
    (folder / "model.json").write_text(json.dumps(old, indent=2))
    (folder / "encoders.safetensors").unlink()


def without_a_tensor(folder):
    tensors = load_file(folder / "encoders.safetensors")
    tensors.pop(next(iter(tensors)))
    save_file(tensors, folder / "encoders.safetensors")


def cut(name):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-7])


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (format_2, r"format 2, not 3"),
        (lambda folder: (folder / "model.json").write_text('{"format": 99}'), "format 99, not 3"),
        (lambda folder: (folder / "model.json").write_text("{}"), "KeyError"),
        (lambda folder: (folder / "model.json").write_text("[]"), "TypeError"),
        (cut("model.json"), "JSONDecodeError"),
        (lambda folder: (folder / "model.json").unlink(), "FileNotFoundError"),
        (lambda folder: (folder / "head.safetensors").unlink(), "FileNotFoundError|No such file"),
        (cut("head.safetensors"), "SafetensorError"),
        (lambda folder: (folder / "encoders.safetensors").unlink(), "FileNotFoundError|No such file"),
        (cut("encoders.safetensors"), "SafetensorError"),
        (without_a_tensor, "encoders.safetensors of another model"),
    ],
)
def test_a_folder_that_holds_no_whole_model_is_refused(spoil, what, folder):
    spoil(folder)
    message = rf"must hold a saved model \(got .*({what}).*\)\. Save one with model\.save\(path\)"
    with pytest.raises(OSError, match=message):
        FusionClassifier.load(folder)


def test_a_copy_of_a_folder_is_the_model(folder, saved):
    same(FusionClassifier.load(folder), FusionClassifier.load(saved))


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(OSError, match="must hold a saved model"):
        FusionClassifier.load(tmp_path / "nowhere")


@pytest.mark.parametrize("names", [["mae-mini@0.5"], PAIR, ["mocov2-mini@0.25"]])
def test_only_the_encoders_of_the_fit_are_taken(names, folder):
    with pytest.raises(
        ValueError, match=r"encoders must be those of the fit, \[.*mae-mini@0.25.*\] \(got .*\)\. Fit again"
    ):
        FusionClassifier.load(folder, encoders=[zoo.load(name) for name in names])


def test_a_head_on_tuned_encoders_is_not_put_on_those_of_the_zoo(saved, tmp_path):
    tuned_ones = FusionClassifier.load(saved).encoders_
    model = tuned(tuned_ones, "probe")
    model.save(tmp_path)
    with pytest.raises(ValueError, match="encoders must be those of the fit"):
        FusionClassifier.load(tmp_path)
    same(FusionClassifier.load(tmp_path, encoders=tuned_ones), model)


def test_tensors_go_to_the_encoder_of_their_number():
    encoders = [zoo.load("mae-mini", 0.25) for _ in range(11)]
    name = next(iter(encoders[0].state_dict()))
    value = encoders[0].state_dict()[name]
    moved = {f"{e}.{name}": torch.full_like(value, e) for e in (1, 10)}
    for e, encoder in enumerate(encoders):
        saving.move(encoder, e, moved)
    found = [encoder.state_dict()[name] for encoder in encoders]
    assert torch.equal(found[1], torch.full_like(value, 1))
    assert torch.equal(found[10], torch.full_like(value, 10))
    assert all(torch.equal(found[e], value) for e in (0, 2, 9))
