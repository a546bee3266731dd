"""A fitted model as a folder."""

import copy
import hashlib
import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from safetensors import safe_open
from sklearn.base import clone

import zoo
from fusion import FusionClassifier, Taps, Training, brain_regions
from fusion.data import writing
from fusion.estimators import record
from fusion.heads.solved import SOLVED
from tests.conftest import ROOT

TRAIN = brain_regions("train", labels=36)
OTHERS = brain_regions("validation", labels=12).images
PAIR = ["mocov2-mini@0.5", "mae-mini@0.25"]
SHORT = Training(epochs=1, batch=18, patience=None)
SEVERAL = np.stack([TRAIN.labels == "deep", np.isin(TRAIN.labels, ["frontal", "parietal"])], 1).astype(int)
SECOND = {"mocov2-mini": "quarter-2", "mae-mini": "quarter-1"}


def tuned(encoders=PAIR, strategy="full", y=TRAIN.labels, training=SHORT, **parameters):
    training = None if strategy == "probe" else training  # a probe has no use for it, and says so
    model = FusionClassifier(
        encoders, strategy=strategy, training=training, C=0.1, **parameters, compare_baselines=False
    )
    return model.fit(TRAIN.images, y, TRAIN.groups)


def same(model, other, images=OTHERS):
    np.testing.assert_array_equal(model.predict_proba(images), other.predict_proba(images))
    np.testing.assert_array_equal(model.predict(images), other.predict(images))


def stored(folder):
    """The names of the encoders' tensors in the folder; none where there is no such file."""
    names = set()
    for path in folder.glob("encoders-*.safetensors"):
        with safe_open(path, "np") as file:
            names |= set(file.keys())
    return names


def files(folder):
    """Names in the folder without the digests in them."""
    return sorted(re.sub("-[0-9a-f]{16}", "", path.name) for path in folder.iterdir() if path.name != ".lock")


@pytest.mark.parametrize("encoders", [pytest.param(PAIR[:1], marks=pytest.mark.slow), PAIR], ids=["one", "two"])
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


@pytest.mark.parametrize("strategy", ["probe", "full"])
def test_several_depths_come_back(strategy, tmp_path):
    names = ["mae-mini@0.25+0.5", "mocov2-mini@0.125"]
    model = tuned(names, strategy)
    model.save(tmp_path)
    again = FusionClassifier.load(tmp_path)
    same(again, model)
    assert again.encoders == names
    assert [taps.depths for taps in again.taps_] == [(0.25, 0.5), (0.125,)]
    assert [taps.name for taps in again.taps_] == names
    if strategy == "probe":
        assert files(tmp_path) == ["ATTRIBUTION.md", "head.safetensors", "model.json"]
    given = FusionClassifier.load(tmp_path, encoders=[zoo.load("mae-mini@0.5"), zoo.load(names[1])])
    same(given, model)
    same(clone(given).fit(TRAIN.images, TRAIN.labels, TRAIN.groups), model)
    whole, second = zoo.load("mae-mini@0.5"), zoo.load(names[1])
    same(FusionClassifier.load(tmp_path, encoders=[Taps(whole, (0.25, 0.5)), second]), model)
    with pytest.raises(ValueError, match=r"encoders must be at the depths of the fit, \(0.25, 0.5\) \(got \(0.5,\)\)"):
        FusionClassifier.load(tmp_path, encoders=[Taps(whole, (0.5,)), second])


def test_several_depths_of_an_encoder_of_ones_own_come_back(tiny, tmp_path):
    model = tuned([Taps(zoo.load("own", 0.75, card=tiny), (0.25, 0.75))], "probe")
    model.save(tmp_path / "model")
    tiny.unlink()
    same(FusionClassifier.load(tmp_path / "model"), model)
    tuned([Taps(zoo.load("mae-mini@0.5"), (0.25, 0.5))], "probe").save(tmp_path / "zoo")
    again = FusionClassifier.load(tmp_path / "zoo")
    assert (again.encoders, again.taps_[0].name) == (["mae-mini@0.25+0.5"], "mae-mini@0.25+0.5")
    inside = tuned([Taps(zoo.load("mae-mini@0.5"), (0.25,))], "probe")
    inside.save(tmp_path / "inside")
    again = FusionClassifier.load(tmp_path / "inside")
    same(again, inside)
    assert again.encoders == [again.taps_[0].name] == [again.encoders_[0].name] == ["mae-mini@0.25"]
    assert files(tmp_path / "inside") == ["ATTRIBUTION.md", "head.safetensors", "model.json"]
    path = tmp_path / "inside" / "model.json"
    told = json.loads(path.read_text())
    del told["sha256"]
    told["encoders"][0]["name"] = "mae-mini@0.5"  # as it was once
    path.write_text(json.dumps({**told, "sha256": record._digest(told)}))
    again = FusionClassifier.load(tmp_path / "inside")
    same(again, inside)
    assert again.encoders_[0].name == "mae-mini@0.25"


def test_a_zero_that_lost_its_sign_comes_back(tmp_path):
    model = tuned(["mae-mini@1"], "probe")
    weights = model.encoders_[0].state_dict()
    lost = {f"0.{name}" for name, value in weights.items() if ((value == 0) & value.signbit()).any()}
    assert lost
    for value in weights.values():
        value[value == 0] = 0  # as merging an adapter that learned nothing does
    model.save(tmp_path)
    assert stored(tmp_path) == lost
    same(FusionClassifier.load(tmp_path), model)


def test_a_record_from_before_there_were_several_depths_is_read(tmp_path):
    model = tuned(PAIR[1:], "probe")
    model.save(tmp_path)
    path = tmp_path / "model.json"
    told = json.loads(path.read_text())
    del told["sha256"], told["encoders"][0]["depths"]
    path.write_text(json.dumps({**told, "sha256": record._digest(told)}))
    same(FusionClassifier.load(tmp_path), model)


def test_what_is_loaded_is_saved_again_the_same(tmp_path):
    tuned(PAIR[1:]).save(tmp_path / "first")
    FusionClassifier.load(tmp_path / "first").save(tmp_path / "second")
    assert files(tmp_path / "first") == files(tmp_path / "second")
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
    assert files(tmp_path) == ["ATTRIBUTION.md", "head.safetensors", "model.json"]


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
    assert files(tmp_path) == ["ATTRIBUTION.md", "head.safetensors", "model.json"]
    same(FusionClassifier.load(tmp_path), frozen)


@pytest.mark.parametrize("writes", range(4))
def test_a_save_that_ends_early_leaves_the_model_that_was_there(writes, tmp_path, monkeypatch):
    """Head, encoders, attribution, record: whichever is not reached any more."""
    first, second = tuned(PAIR[1:]), tuned(PAIR[1:], "quarter-1")
    first.save(tmp_path)
    write, left = writing.write, [writes]

    def dying(path, data):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        write(path, data)

    monkeypatch.setattr(writing, "write", dying)
    with pytest.raises(KeyboardInterrupt):
        second.save(tmp_path)
    monkeypatch.undo()
    same(FusionClassifier.load(tmp_path), first)
    second.save(tmp_path)
    same(FusionClassifier.load(tmp_path), second)
    assert files(tmp_path) == ["ATTRIBUTION.md", "encoders.safetensors", "head.safetensors", "model.json"]


def test_of_two_savers_at_a_time_one_stands_whole(tmp_path):
    models = [tuned(PAIR[1:], "probe"), tuned(PAIR[:1], "probe")]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda k: models[k % 2].save(tmp_path), range(12)))
    found = FusionClassifier.load(tmp_path).predict_proba(OTHERS)
    assert any(np.array_equal(found, model.predict_proba(OTHERS)) for model in models)
    assert files(tmp_path) == ["ATTRIBUTION.md", "head.safetensors", "model.json"]


def test_a_link_that_waits_in_the_folder_is_not_followed(tmp_path):
    """At the names that parts had once, at those of the files, and at that of the lock."""
    (mine := tmp_path / "mine").write_text("precious")
    model, folder = tuned(PAIR[1:], "probe"), tmp_path / "model"
    folder.mkdir()
    for name in ("model.json", "head.safetensors", "ATTRIBUTION.md"):
        (folder / name).symlink_to(mine)
        (folder / f"{name}.part").symlink_to(mine)
    model.save(folder)
    assert mine.read_text() == "precious"
    assert not (folder / "model.json").is_symlink()
    same(FusionClassifier.load(folder), model)
    (other := tmp_path / "other").mkdir()
    (other / ".lock").symlink_to(mine)
    with pytest.raises(OSError, match="link"):
        model.save(other)
    assert mine.read_text() == "precious"


KILLED = """
import os, sys
from fusion import FusionClassifier
model, left = FusionClassifier.load(sys.argv[1]), [int(sys.argv[2])]

def hook(event, args):
    if event in ("os.rename", "os.remove") and sys.argv[1] in str(args):
        left[0] -= 1
        if left[0] < 0:
            os._exit(9)

sys.addaudithook(hook)
model.save(sys.argv[1])
"""


@pytest.mark.slow
@pytest.mark.parametrize("after", range(4))
def test_a_process_that_is_killed_at_any_step_of_a_save_leaves_a_model(after, tmp_path):
    model = tuned(PAIR[1:])
    model.save(tmp_path)
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path, str(after)], cwd=ROOT, check=False)
    assert done.returncode == 9
    same(FusionClassifier.load(tmp_path), model)


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


def one(folder, stem):
    return next(folder.glob(f"{stem}*"))


def edited(**changes):
    """The record with other values, its own sha256 made to fit: what somebody would do who means harm."""

    def spoil(folder):
        values = json.loads((folder / "model.json").read_text())
        values.pop("sha256")
        values |= {key: value(values[key]) for key, value in changes.items()}
        text = json.dumps(values, sort_keys=True).encode()
        (folder / "model.json").write_text(json.dumps({**values, "sha256": hashlib.sha256(text).hexdigest()}))

    return spoil


def cut(stem):
    return lambda folder: one(folder, stem).write_bytes(one(folder, stem).read_bytes()[:-7])


def flipped(stem):
    def spoil(folder):
        data = bytearray(one(folder, stem).read_bytes())
        data[len(data) // 2] ^= 1
        one(folder, stem).write_bytes(data)

    return spoil


def of_another_model(folder):
    tuned(PAIR[1:], seed=3, head="mean").save(folder / "other")
    one(folder, "head").write_bytes(one(folder / "other", "head").read_bytes())


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda folder: (folder / "model.json").write_text('{"format": 99}'), "format 99, not 5"),
        (lambda folder: (folder / "model.json").write_text("{}"), "format None, not 5"),
        (lambda folder: (folder / "model.json").write_text("[]"), "no record of a model"),
        (lambda folder: (folder / "model.json").write_text("[" * 100_000), "no record of a model"),
        (cut("model.json"), "Expecting|delimiter|Unterminated"),
        (flipped("model.json"), "its sha256 is another|Expecting|decode|control"),
        (lambda folder: (folder / "model.json").unlink(), "No such file"),
        (lambda folder: one(folder, "head").unlink(), "No such file"),
        (cut("head"), "with another sha256"),
        (flipped("head"), "with another sha256"),
        (of_another_model, "with another sha256"),
        (lambda folder: one(folder, "encoders").unlink(), "No such file"),
        (cut("encoders"), "with another sha256"),
        (flipped("encoders"), "with another sha256"),
        (edited(encoders=lambda e: [{**e[0], "stored": e[0]["stored"][1:]}]), "encoders of another model"),
        (edited(encoders=lambda e: [{**e[0], "extra": 1}]), "no record of a model"),
        (edited(head=lambda f: {**f, "name": "../../etc/passwd"}), "no record of a model"),
        (edited(trained=str), "no record of a model"),
    ],
)
def test_a_folder_that_holds_no_whole_model_is_refused(spoil, what, folder):
    spoil(folder)
    with pytest.raises(OSError, match=rf"must hold a whole saved model \(got .*({what})(.|\n)*\)\. Save it again\."):
        FusionClassifier.load(folder)


def test_a_record_whose_classes_are_other_than_the_heads_is_refused(folder):
    edited(classes=lambda names: names[:-1])(folder)
    with pytest.raises(OSError, match=r"must hold a (finite )?head of"):
        FusionClassifier.load(folder)


def test_reversed_classes_in_the_record_are_noticed(folder):
    values = json.loads((folder / "model.json").read_text())
    values["classes"].reverse()
    (folder / "model.json").write_text(json.dumps(values))
    with pytest.raises(OSError, match="its sha256 is another"):
        FusionClassifier.load(folder)


def test_a_name_that_would_be_fetched_from_a_repo_is_not(folder, hub):
    edited(encoders=lambda e: [{**e[0], "name": "evil/enc@0.25"}])(folder)
    with pytest.raises(ValueError, match=r"evil/enc@0\.25 would be fetched from a repo that this folder names"):
        FusionClassifier.load(folder)
    assert not hub.requests


def test_a_copy_of_a_folder_is_the_model(folder, saved):
    same(FusionClassifier.load(folder), FusionClassifier.load(saved))


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(OSError, match="must hold a whole saved model"):
        FusionClassifier.load(tmp_path / "nowhere")


@pytest.mark.parametrize("names", [["mae-mini@0.5"], ["mocov2-mini@0.25"]])
def test_only_the_encoders_of_the_fit_are_taken(names, folder):
    with pytest.raises(ValueError, match=r"encoders must be those before the fit, mae-mini@0.25 \(got another\)"):
        FusionClassifier.load(folder, encoders=[zoo.load(name) for name in names])
    with pytest.raises(ValueError, match=r"encoders must be 1, one per encoder of the fit \(got 2\)"):
        FusionClassifier.load(folder, encoders=[zoo.load(name) for name in PAIR])


def test_a_head_on_tuned_encoders_comes_back_with_them(saved, tmp_path):
    tuned_ones = FusionClassifier.load(saved).encoders_
    model = tuned(tuned_ones, "probe")
    model.save(tmp_path)
    same(FusionClassifier.load(tmp_path), model)
    same(FusionClassifier.load(tmp_path, encoders=tuned_ones), model)


def changed_in_memory():
    encoder = zoo.load("mocov2-mini", 0.5)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.manual_seed(0)))
    return encoder


def with_other_statistics():
    encoder = zoo.load("mocov2-mini", 0.5).train()
    encoder(encoder.preprocess(TRAIN.images))
    return encoder.eval()


def with_another_card():
    encoder = zoo.load("mocov2-mini", 0.5)
    card = encoder.card.model_copy(update={"input": encoder.card.input.model_copy(update={"mean": [0.2]})})
    return zoo.restore(card, 0.5, encoder.state_dict())


KINDS = {
    "changed in memory": changed_in_memory,
    "other statistics": with_other_statistics,
    "another card": with_another_card,
    "half": lambda: zoo.load("mocov2-mini", 0.5).to(torch.float16),
    "bfloat16": lambda: zoo.load("mocov2-mini", 0.5).to(torch.bfloat16),
    "random weights": lambda: zoo.untrained("mocov2-mini", 0.5, seed=3),
}


@pytest.mark.parametrize("kind", KINDS)
def test_encoders_that_the_zoo_does_not_have_come_back(kind, tmp_path):
    model = tuned([KINDS[kind]()], "probe")
    model.save(tmp_path)
    again = FusionClassifier.load(tmp_path)
    same(again, model)
    assert [e.identity() for e in again.encoders_] == [e.identity() for e in model.encoders_]


def test_an_encoder_of_a_card_of_ones_own_comes_back_without_the_card(tiny, tmp_path):
    model = tuned([zoo.load("own", 0.75, card=tiny)], "probe")
    model.save(tmp_path / "model")
    tiny.unlink()
    same(FusionClassifier.load(tmp_path / "model"), model)


def test_a_model_owns_what_it_was_fitted_with(tmp_path):
    encoder = zoo.load("mocov2-mini", 0.5)
    model = tuned([encoder], "probe")
    before = model.predict_proba(OTHERS)
    with torch.no_grad():
        next(encoder.parameters()).mul_(3)
    np.testing.assert_array_equal(model.predict_proba(OTHERS), before)
    model.save(tmp_path)
    np.testing.assert_array_equal(FusionClassifier.load(tmp_path).predict_proba(OTHERS), before)


def test_weights_that_are_not_there_are_asked_for_in_words(saved, monkeypatch):
    def absent(name, *_, **__):
        raise zoo.WeightsError(f"{name}: the Hub cannot be reached")

    monkeypatch.setattr(zoo, "load", absent)
    message = r"mae-mini@0.25 must be there for this model \(.*cannot be reached\)\. Carry it: zoo export mae-mini@0.25"
    with pytest.raises(OSError, match=message):
        FusionClassifier.load(saved)


@pytest.mark.parametrize(
    "labels",
    [
        np.arange(36) % 2,
        np.arange(36) % 2 == 0,
        (np.arange(36) % 3).astype(np.float32),
        (np.arange(36) % 2).astype(np.int8),
        np.array(["a", "bb"], dtype=object)[np.arange(36) % 2],
        ["left", "right"] * 18,
    ],
    ids=lambda y: str(getattr(y, "dtype", "list")),
)
def test_labels_of_every_kind_come_back_as_they_were(labels, tmp_path):
    model = tuned(PAIR[1:], "probe", labels)
    model.save(tmp_path)
    again = FusionClassifier.load(tmp_path)
    same(again, model)
    assert again.classes_.dtype == model.classes_.dtype


def test_a_save_removes_no_file_of_others(tmp_path):
    (tmp_path / "my_pretrained.safetensors").write_bytes(b"mine")
    model = FusionClassifier(PAIR[:1], C=0.1, compare_baselines=False).fit(TRAIN.images, TRAIN.labels)
    model.save(tmp_path)
    model.C = 0.2
    model.fit(TRAIN.images, TRAIN.labels).save(tmp_path)
    assert (tmp_path / "my_pretrained.safetensors").read_bytes() == b"mine"
    assert len(list(tmp_path.glob("head*.safetensors"))) == 1


def test_a_model_is_not_saved_onto_a_file(tmp_path):
    (tmp_path / "model").write_text("")
    model = FusionClassifier(PAIR[:1], C=0.1, compare_baselines=False).fit(TRAIN.images, TRAIN.labels)
    for path in (tmp_path / "model", tmp_path / "model" / "below"):
        with pytest.raises(OSError, match=r"path must be a folder .* Choose another"):
            model.save(path)


def hooked(encoder):
    encoder.trunk.register_forward_hook(lambda *_: None)


def with_another_eps(encoder):
    next(m for m in encoder.modules() if isinstance(m, torch.nn.BatchNorm2d)).eps = 0.5


def with_another_input(encoder):
    encoder.preprocess.input = encoder.card.input.model_copy(update={"mean": [0.1], "std": [3.0]})


@pytest.mark.parametrize("change", [hooked, with_another_eps, with_another_input])
def test_what_would_not_come_back_is_not_saved(change, tmp_path):
    encoder = zoo.load(PAIR[0])
    change(encoder)
    model = FusionClassifier([encoder], C=0.1, compare_baselines=False).fit(TRAIN.images, TRAIN.labels)
    with pytest.raises(ValueError, match="encoders must be as their card builds them to be saved"):
        model.save(tmp_path / "model")
    assert not list(tmp_path.rglob("*.safetensors"))
