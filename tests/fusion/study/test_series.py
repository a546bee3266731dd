"""Series: a study per target and fold, gone on with after any end."""

import json
import os
import shutil
import signal

import pytest

from fusion.study import config as config_
from fusion.study import folder as folder_
from fusion.study import run
from fusion.study import series as series_
from fusion.study.results import read, series
from tests.fusion.command import call
from tests.fusion.study.small_series import CONFIG, config, rows
from tests.fusion.study.small_studies import as_file, started, wait_for

CELLS = 3  # of one study: the probe, and two rates of the random weights


def stamps(folder):
    """When the results in a folder were written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("cells/*.json")}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"folds": 2}, r"folds must be greater than or equal to 3 \(got 2\)"),
        ({"targets": {}}, r"targets must have at least 1 item"),
        ({"targets": {"../x": "x.csv"}}, r"targets.* must match pattern .* \(got '../x'\)"),
        (
            {"targets": {"x": "x.csv"}, "data": "y.csv"},
            r"data must be left out where there are targets \(got 'y.csv'\)",
        ),
        ({"small": {"folds": 1}}, r"in its small form: folds must be greater than or equal to 3"),
    ],
)
def test_a_mistake_is_one_sentence(values, said):
    with pytest.raises(ValueError, match=said):
        config(**values).in_small()


def test_the_small_form_is_of_one_target_and_keeps_its_folds():
    given = config(targets={"x": "x.csv"}, small={"seeds": [3]})
    assert given.several
    small = given.in_small()
    assert (small.data, small.targets, small.folds, small.seeds) == ("brain-regions", None, 3, [3])
    assert config(small={"folds": None}).in_small().several is False
    assert config(folds=None, targets={"x": "x.csv"}).several


def test_studies_have_folders_by_target_and_fold(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = series_.lay_out(config(targets={"x": "a.csv", "y": "brain-regions"}), tmp_path / "out")
    assert [(str(m), m.source, m.folder.relative_to(tmp_path).as_posix()) for m in found[2:4]] == [
        ("x, fold 3", f"{tmp_path}/a.csv@3/3", "out/x/fold-3"),
        ("y, fold 1", "brain-regions@1/3", "out/y/fold-1"),
    ]
    (alone,) = series_.lay_out(config(folds=None, targets={"x": "a.csv@2/5"}), tmp_path / "out")
    assert (str(alone), alone.source, alone.folder) == ("x", f"{tmp_path}/a.csv@2/5", tmp_path / "out" / "x")
    assert {m.target for m in series_.lay_out(config(), tmp_path, "My Scans_2.csv")} == {"my-scans-2"}
    assert {m.target for m in series_.lay_out(config(data="brain-regions"), tmp_path)} == {"brain-regions"}


def test_data_that_cannot_be_a_series(tmp_path):
    with pytest.raises(ValueError, match=r"data must be given for several \(got none\)"):
        series_.lay_out(config(), tmp_path)
    with pytest.raises(ValueError, match=r"data must be left out where the config names targets \(got 'y'\)"):
        series_.lay_out(config(targets={"x": "x.csv"}), tmp_path, "y")
    with pytest.raises(ValueError, match=r"data must be whole where the config has folds \(got '.*x.csv@1/3'\)"):
        series_.lay_out(config(targets={"x": "x.csv@1/3"}), tmp_path)


@pytest.mark.slow
def test_every_study_is_one_as_any_other(whole):
    found = series_.parts(whole)
    assert [str(member) for member in found] == [f"{t}, fold {k}" for t in ("first", "second") for k in (1, 2, 3)]
    for member in found:
        assert len(read.state(member.folder).done) == CELLS
        own = config_.read(member.folder / "config.yaml")
        assert (own.several, own.data) == (False, member.source)
        assert {"report.html", "results.csv", "results-test.csv"} <= {path.name for path in member.folder.iterdir()}
    now = series.state(whole)
    assert (len(now.done), now.failed, now.missing, now.skipped) == (6 * CELLS, {}, [], {})
    assert now.done[0] == "first, fold 1: mocov2-mini@0.25, concat, probe, labels 12, seed 0"


@pytest.mark.slow
def test_an_interrupted_series_goes_on_and_ends_in_the_same_tables(whole, data, tmp_path):
    output, steps = tmp_path / "study", []

    def step(record):
        steps.append(record["key"])
        if len(steps) == CELLS + 1:  # in the second study, after its first cell
            raise KeyboardInterrupt

    given = config(targets={"first": str(data), "second": str(whole.parent / "again.npz")})
    with pytest.raises(KeyboardInterrupt):
        series_.run(given, output, final=True, step=step)
    now = series.state(output)
    assert (len(now.done), len(now.missing), now.failed) == (CELLS + 1, 5 * CELLS - 1, {})
    assert "second, fold 3: mocov2-mini@0.25, concat, probe, labels 12, seed 0" in now.missing
    assert now.seconds == pytest.approx(now.pace * (5 * CELLS - 1))
    assert call("study", "status", output).startswith(f"{CELLS + 1} done, 0 failed, {5 * CELLS - 1} missing")
    series.write(output)
    partly = {row["target"]: row for row in rows(output / "results.csv") if row["strategy"] == "probe"}
    assert (partly["first"]["folds"], partly["first"]["folds_tested"], partly["first"]["test_auc_sd"]) == ("2", "1", "")
    before = stamps(output)
    series_.run(given, output, final=True, step=step)
    assert len(steps) == 6 * CELLS  # none twice
    assert before.items() <= stamps(output).items()
    series.write(output)
    for name in ("folds.csv", "results.csv"):
        assert (output / name).read_text() == (whole / name).read_text()


@pytest.mark.slow
def test_killed_between_and_amid_studies_it_ends_in_the_same_tables(data, tmp_path):
    path, output = as_file(tmp_path / "config.yaml", **CONFIG, stop_images=None, contests=[]), tmp_path / "study"
    place = output / "tiny"
    moments = [
        lambda: (output / "study.json").exists(),
        lambda: (place / "fold-1" / "validation.npz").exists() and folder_.records(place / "fold-1", _keys(place, 1)),
        lambda: (place / "fold-2" / "study.json").exists(),
    ]
    for moment in moments:
        before = stamps(output)
        process = started(path, output, data, 1)
        wait_for(moment, process)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=300)
        assert before.items() <= stamps(output).items()
    assert 1 <= len(stamps(output)) < 3 * CELLS
    for folder in (output, tmp_path / "undisturbed"):
        call("study", "run", path, "--data", data, "--output", folder, "--jobs", 2, "--final")
    for name in ("folds.csv", "results.csv"):
        assert (output / name).read_text() == (tmp_path / "undisturbed" / name).read_text()


def _keys(place, fold):
    return folder_.study(place / f"fold-{fold}")["cells"]


def test_a_study_that_fails_is_recorded_and_the_others_go_on(data, tmp_path):
    given = config(folds=None, targets={"absent": str(tmp_path / "x.npz"), "there": str(data)})
    series_.run(given, tmp_path / "study")
    now = series.state(tmp_path / "study")
    assert (len(now.done), len(now.missing), list(now.failed)) == (CELLS, CELLS, ["absent"])
    assert "x.npz" in now.failed["absent"]
    assert "x.npz" in call("study", "report", tmp_path / "study") + call("study", "status", tmp_path / "study")
    found = rows(tmp_path / "study" / "results.csv")
    assert [(row["target"], row["folds"], row["folds_tested"], row["test_auc"]) for row in found] == [
        *[("there", "1", "0", ""), ("there", "1", "0", "")]
    ]
    assert all(float(row["validation_auc"]) > 0.5 for row in found if row["strategy"] == "probe")
    assert (tmp_path / "study" / "there" / "report.html").exists()
    shutil.copy(data, tmp_path / "x.npz")
    before = stamps(tmp_path / "study")
    series_.run(given, tmp_path / "study")
    assert series.state(tmp_path / "study").failed == {}
    assert before.items() <= stamps(tmp_path / "study").items()
    assert len(rows(series.write(tmp_path / "study")[0])) == 2 * 2


def test_a_failed_cell_keeps_the_test_part_of_its_study_closed(data, tmp_path):
    # There are 32 images to train on: one third of 96.
    given = config(labels=[12, 33], encoders=["mocov2-mini@0.25"], only={}, strategies=["probe"])
    series_.run(given, tmp_path / "study", data, final=True)
    now = series.state(tmp_path / "study")
    assert (len(now.done), len(now.failed), now.missing) == (3, 3 + 3, [])
    assert (
        "at most the training images, 32"
        in now.failed["tiny, fold 1: mocov2-mini@0.25, concat, probe, labels 33, seed 0"]
    )
    assert now.failed["tiny, fold 3"].startswith("ValueError: every cell must be done before the test part is opened")
    assert not list((tmp_path / "study").rglob("final"))


def test_the_command_takes_a_series_as_it_takes_a_study(data, tmp_path):
    few = {**CONFIG, "encoders": ["mocov2-mini@0.25"], "only": {}, "strategies": ["probe"]}
    path, output = tmp_path / "config.yaml", tmp_path / "study"
    path.write_text(json.dumps(few))
    said = call("study", "run", path, "--data", data, "--output", output, "--jobs", 1, "--final")
    assert "several: 3 cells" in said
    assert said.count("3 cells to compute, 0 there already.") == 1
    assert "3 done, 0 failed, 0 missing" in said
    assert f"Written: {output}/folds.csv, {output}/results.csv, {output}/tiny/fold-1/" in said
    assert "and 8 more in the folders of its studies" in said
    (output / "folds.csv").unlink()
    assert "folds.csv" in call("study", "report", output)
    assert (output / "folds.csv").exists()
    assert call("study", "status", output) == "3 done, 0 failed, 0 missing, 0 skipped"
    other = call("study", "run", path, "--data", data.parent, "--output", output, code=1)
    assert "must be of the same data (got other images or labels). Choose another --output." in other
    assert "must be of the same config (got others in seeds)" in call(
        *("study", "run", as_file(tmp_path / "x.yaml", **few | {"seeds": [1], "stop_images": None, "contests": []})),
        *("--data", data, "--output", output),
        code=1,
    )


@pytest.mark.slow
def test_what_cannot_begin_says_why(whole, data, tmp_path):
    with pytest.raises(ValueError, match=r"config must be of one study \(several has folds or targets\)"):
        run.run(config(), tmp_path / "study", data)
    with pytest.raises(ValueError, match=r"jobs must be at least 1 \(got 0\)"):
        series_.run(config(), tmp_path / "study", data, 0)
    with pytest.raises(ValueError, match=r"Nearest: mocov2-mini"):
        series_.run(config(encoders=["mocov2-mimi"], only={}), tmp_path / "study", data)
    assert not (tmp_path / "study").exists()
    with pytest.raises(ValueError, match=r"must be of the same config \(got others in .*folds.*\)"):
        run.run(config(folds=None), whole, data)
    with folder_.opened(whole / ".series", ()), pytest.raises(OSError, match="another run holds it"):
        series_.run(config(), whole, data)
    with pytest.raises(OSError, match=r"must hold a study \(got no study\.json\)"):
        series.state(tmp_path)
    absent = config(folds=None, targets={"x": str(tmp_path / "x.npz")})
    series_.run(absent, tmp_path / "absent")
    with pytest.raises(ValueError, match="must hold results"):
        series.write(tmp_path / "absent")
