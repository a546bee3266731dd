"""`fusion study`: plans, mistakes and ends in words."""

import json
import shutil

from fusion.study import run
from tests.fusion.command import call
from tests.fusion.study.small_studies import as_file


def test_the_command_says_mistakes_in_one_sentence(data, tmp_path):
    assert "Nearest: s1-strategies" in call("study", "run", "s1-strategie", code=1)
    assert "data must be given" in call(
        "study", "run", as_file(tmp_path / "x.yaml"), "--output", tmp_path / "out", code=1
    )
    wrong = as_file(tmp_path / "x.yaml", encoders=["mocov2-mimi"], only={})
    assert "Nearest: mocov2-mini" in call("study", "run", wrong, "--data", data, "--output", tmp_path / "out", code=1)
    fetched = as_file(tmp_path / "x.yaml", small={"encoders": ["mae-chest"], "only": {}})
    assert "must be in the package (got mae-chest)" in call(
        "study", "run", fetched, "--small", "--output", tmp_path, code=1
    )


ODD = "labels must be known (got '[mae]'). See [/x]."


def test_what_stands_in_brackets_is_printed_as_it_is(undisturbed, data, tmp_path, monkeypatch):
    assert "(got '[/x] [mae]')" in call("study", "run", "[/x] [mae]", code=1)
    output = tmp_path / "[mae]"
    shutil.copytree(undisturbed, output)
    place = next((output / "cells").glob("*.json"))
    place.write_text(json.dumps({**json.loads(place.read_text()), "status": "failed", "error": ODD}))
    assert ODD in call("study", "status", output)
    assert f"Written: {output}/results.csv, {output}/report.html" in call("study", "report", output)
    monkeypatch.setattr(run, "run", lambda *_, step, **__: step({"status": "failed", "error": ODD}))
    assert f"failed: {ODD}" in call("study", "run", as_file(tmp_path / "x.yaml"), "--data", data, "--output", output)


def test_a_plan_is_told_as_it_is(data, tmp_path):
    few = {"encoders": ["mocov2-mini@0.25"], "only": {}, "strategies": ["probe"], "labels": [24], "raw_pixels": False}
    path, output = as_file(tmp_path / "x.yaml", **few, contests=[], title="Of [/x] and [mae]"), tmp_path / "[mae]"
    said = call("study", "run", path, "--data", data, "--output", output, "--jobs", 1)
    assert "Of [/x] and [mae]: 1 cells" in said
    assert f"kept, in {output}." in said


def test_ctrl_c_says_how_to_go_on(tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "run", stop)
    said = call("study", "run", as_file(tmp_path / "x.yaml"), "--output", tmp_path / "study", code=130)
    assert said.endswith("Stopped. What is done is kept; the same command goes on.")
