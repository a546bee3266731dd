"""Tasks side by side: every one once, whatever dies meanwhile."""

import os
import signal
from pathlib import Path

import pytest

from fusion.study import cell as cell_
from fusion.study import engine, folder, run
from fusion.study.results import read
from tests.fusion.command import call
from tests.fusion.study.small_studies import as_file, assert_equal, config, landed, started, wait_for


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
    said, _ = process.communicate(timeout=300)
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
    said = call("study", "status", tmp_path / "study")
    assert said.startswith("1 done, 1 failed, 0 missing, 0 skipped")
    assert error in said
    call("study", "report", tmp_path / "study")
    assert "labels must be at most the training images" in (tmp_path / "study" / "report.html").read_text()


def dying(task):
    """A worker whose process ends in the midst of one cell, and always."""
    if not task.cell.encoders:
        with folder.begun_cell(task.output, task.cell.key):
            os.kill(os.getpid(), signal.SIGKILL)
    return cell_.failed(task, ValueError("reached"))


def stillborn(task):
    """A worker whose process ends before it begins its cell."""
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_cell_that_kills_its_process_is_recorded(data, tmp_path, monkeypatch):
    few = config(encoders=["mocov2-mini@0.25"], only={}, strategies=["probe"], labels=[24])
    monkeypatch.setattr(cell_, "work", dying)
    run.run(few, tmp_path / "study", data, 2)
    now = read.state(tmp_path / "study")
    (raw, died), (_, other) = sorted(now.failed.items(), reverse=True)
    assert raw.startswith("raw pixels")
    assert died == "ChildProcessError: the cell's process died twice, killed or out of memory"
    assert other == "ValueError: reached"
    monkeypatch.setattr(cell_, "work", stillborn)
    with pytest.raises(OSError, match=r"workers must live to begin a cell \(got 2 times none\)\. Lower --jobs\."):
        run.run(few, tmp_path / "study", data, 2)


def halved(task):
    return {"key": task[0], "half": task[1] / 2}


def refused(task, error):
    return {"key": task[0], "error": str(error)}


def test_in_this_process_every_task_is_done_once_in_order(tmp_path):
    told, tasks = [], {key: (key, value) for value, key in enumerate("cab")}
    engine.compute(tasks, engine.Work(halved, refused, tmp_path), 1, told.append)
    assert told == [{"key": "c", "half": 0.0}, {"key": "a", "half": 0.5}, {"key": "b", "half": 1.0}]
    assert list(tasks) == ["c", "a", "b"]  # the caller's own are left
    engine.compute({}, engine.Work(halved, refused, tmp_path), 1, told.append)
    assert len(told) == 3


def test_each_result_is_told_before_the_next_is_computed_and_an_end_ends_it(tmp_path):
    order = []

    def do(task):
        order.append(f"do {task}")
        return {"key": task}

    def step(record):
        order.append(f"told {record['key']}")
        if record["key"] == "b":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.compute({key: key for key in "abc"}, engine.Work(do, refused, tmp_path), 1, step)
    assert order == ["do a", "told a", "do b", "told b"]
