"""Folders that one may have been handed: whatever stands in the place of any of their files, nothing of it is run."""

import contextlib
import pickle
import shutil

import numpy as np
import pytest

import zoo
from fusion import FusionClassifier, Training, brain_regions
from fusion.study import run
from fusion.study.results import series
from tests.fusion.study.small_studies import config
from tests.loadable import publish
from tests.small_fits import IMAGES, LABELS, Course, fused, own
from tests.zoo.upkeep.hostile import Evil, saved
from zoo.fetching import hub as hubs
from zoo.upkeep import airgap, cache, conversion, verification


def bombs(marker):
    """A pickle as torch writes it, as it did, and by itself; each makes `marker` where it is opened carelessly."""
    folder = marker.parent
    yield saved(folder / "new.bomb", {"a": Evil(marker)}).read_bytes()
    yield saved(folder / "old.bomb", {"a": Evil(marker)}, _use_new_zipfile_serialization=False).read_bytes()
    yield pickle.dumps(Evil(marker), 2)


def walk(folder, tmp_path, read):
    """Put each bomb in the place of each file of a copy, and read it; returns how many files there were."""
    place, marker = tmp_path / "handed", tmp_path / "ran"
    files = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    whole = list(bombs(marker))
    for number, path in enumerate(files):
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(folder, place)
        (place / path).write_bytes(whole[number % len(whole)])
        with contextlib.suppress(ValueError, OSError):
            read(place)
        assert not marker.exists(), path
    return len(files)


def test_the_bombs_go_off_where_they_are_opened_carelessly(tmp_path):
    (whole := tmp_path / "x").write_bytes(list(bombs(tmp_path / "ran"))[2])
    with contextlib.suppress(Exception):
        pickle.loads(whole.read_bytes())
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("strategy", ["probe", "full"])
def test_a_saved_model(tmp_path, strategy):
    encoder = own(tmp_path)
    settings = None if strategy == "probe" else Training(epochs=1, batch=8, patience=None)
    model = FusionClassifier([encoder], strategy=strategy, folds=2, training=settings, compare_baselines=False).fit(
        IMAGES, LABELS
    )
    model.save(tmp_path / "model")

    def read(place):
        FusionClassifier.load(place).predict_proba(IMAGES[:2])

    read(tmp_path / "model")
    assert walk(tmp_path / "model", tmp_path, read) >= 3


def test_the_checkpoint_of_a_fit(tmp_path):
    encoder = own(tmp_path)
    Course(fused([encoder]), "full", epochs=2, checkpoint=tmp_path / "fit")
    count = walk(tmp_path / "fit", tmp_path, lambda place: Course(fused([encoder]), "full", epochs=2, checkpoint=place))
    assert count >= 4


def test_an_exported_folder(hub, tmp_path, monkeypatch):
    (tmp_path / "cards").mkdir()
    monkeypatch.setenv("ZOO_CARDS", str(tmp_path / "cards"))
    publish(hub, tmp_path / "cards", pinned=True)
    folder = airgap.export(["small-test@0.25", "mocov2-mini"], tmp_path / "out", whole=True)
    assert walk(folder, tmp_path, airgap.import_) >= 4


@pytest.mark.parametrize("file", [pytest.param("model.safetensors", marks=pytest.mark.slow), "checkpoint.pt"])
def test_the_cache(hub, tmp_path, monkeypatch, file):
    """Pieces, digests, pointers and converted files."""
    (tmp_path / "cards").mkdir()
    monkeypatch.setenv("ZOO_CARDS", str(tmp_path / "cards"))
    card = publish(hub, tmp_path / "cards", file=file)
    if file.endswith(".pt"):
        conversion.convert_card(card)
    zoo.load("small-test", 1.0)

    def read(place):
        shutil.rmtree(hubs.cache())
        shutil.copytree(place, hubs.cache())
        for use in (cache.held, lambda: zoo.load("small-test"), lambda: verification.verify("small-test")):
            with contextlib.suppress(ValueError, OSError):
                use()

    assert walk(shutil.copytree(hubs.cache(), tmp_path / "kept"), tmp_path, read) >= 3


def test_a_folder_of_cards(tiny, tmp_path, monkeypatch):
    cards = tmp_path / "cards"
    cards.mkdir()
    for path in (tiny, tiny.with_name("tiny-test.safetensors")):
        shutil.copy(path, cards)

    def read(place):
        monkeypatch.setenv("ZOO_CARDS", str(place))
        zoo.load("tiny-test")

    assert walk(cards, tmp_path, read) == 2


@pytest.fixture
def regions(tmp_path):
    """A dozen patches of two regions for each part, as an archive."""
    train = brain_regions("train")
    rows = np.concatenate([np.flatnonzero(train.labels == label)[::30][:18] for label in np.unique(train.labels)[:2]])
    numbers = np.searchsorted(np.unique(train.labels)[:2], train.labels[rows])[:, None]
    parts = {name: slice(start, None, 3) for start, name in enumerate(("train", "val", "test"))}
    stored = {f"{name}_images": train.images[rows][part] for name, part in parts.items()}
    np.savez(tmp_path / "tiny.npz", **stored, **{f"{name}_labels": numbers[part] for name, part in parts.items()})
    return tmp_path / "tiny.npz"


def test_a_study(tmp_path, regions):
    small = config(encoders=["mocov2-mini@0.25"], only={}, strategies=["probe"], labels=[6], contests=[], stop_images=6)
    run.run(small, tmp_path / "study", regions)

    def read(place):
        for use in (lambda: series.state(place), lambda: series.write(place), lambda: run.run(small, place, regions)):
            with contextlib.suppress(ValueError, OSError):
                use()

    assert walk(tmp_path / "study", tmp_path, read) >= 4


@pytest.mark.slow
def test_a_study_that_was_left_amid_a_fit(tmp_path, regions, monkeypatch):
    """Its `work` holds the checkpoint that the fit goes on from."""
    own = {"strategies": ["full"], "reference": "full", "raw_pixels": False, "training": {"epochs": 1, "batch": 4}}
    small = config(encoders=["mocov2-mini@0.25"], only={}, labels=[6], contests=[], stop_images=6, **own)

    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(FusionClassifier, "save", stopped)
    with pytest.raises(KeyboardInterrupt):
        run.run(small, tmp_path / "study", regions)
    monkeypatch.undo()
    assert list((tmp_path / "study" / "work").glob("*/epoch-*/*"))
    done = []

    def read(place):
        with contextlib.suppress(ValueError, OSError):
            done.append(run.run(small, place, regions))

    assert walk(tmp_path / "study", tmp_path, read) >= 8
    assert done
