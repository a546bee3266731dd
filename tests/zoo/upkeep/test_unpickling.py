"""Pickles that run code, that grow or that are none: refused in one line, and nothing of them is run."""

import argparse
import ast
import re

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import ROOT
from tests.zoo.upkeep.hostile import HOSTILE, saved
from zoo.upkeep import unpickling


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.filterwarnings("ignore")
def test_hostile_files_are_refused_in_one_line(tmp_path, monkeypatch, capsys, kind, zipped):
    monkeypatch.setattr(unpickling, "_MOST", 8)
    make, message = HOSTILE[kind]
    make(tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    assert unpickling.main([str(tmp_path / "x.pth"), str(tmp_path / "out")]) == 1
    told = capsys.readouterr().err
    assert re.search(message, told), told
    assert told.startswith("must ")
    assert told.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["x.pth"]


def test_no_other_module_opens_a_pickle():
    for path in [*(ROOT / "zoo").rglob("*.py"), *(ROOT / "fusion").rglob("*.py"), ROOT / "hub_upload.py"]:
        tree = ast.parse(path.read_text())
        names = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute | ast.alias)}
        assert "unpickling" not in names
        if path.name != "unpickling.py" and "pretrain" not in path.parts:
            assert not names & {"torch.load", "pickle", "pickle.load", "pickle.loads", "joblib.load"}, path


def test_tensors_get_flat_names_and_the_rest_is_left_out():
    content = {"a": {"b": torch.zeros(2), 3: torch.ones(1)}, "epoch": 7, "c": torch.zeros(0)}
    assert list(unpickling.collect(content, 12)) == ["a.b", "a.3", "c"]
    assert list(unpickling.collect(torch.zeros(1), 4)) == ["tensor"]
    with pytest.raises(unpickling.RefusedError, match=r"^must not unpack to more .* \(got too much at 'a\.3'\)"):
        unpickling.collect(content, 11)


def test_an_honest_file_is_written_out_and_says_nothing(tmp_path, capsys):
    shared = torch.arange(4.0)
    source = saved(tmp_path / "x.pth", {"model": {"a": shared, "b": shared[1:3]}, "epoch": 1})
    assert unpickling.main([str(source), str(tmp_path / "out")]) == 0
    found = load_file(tmp_path / "out")
    assert {name: value.tolist() for name, value in found.items()} == {"model.a": [0, 1, 2, 3], "model.b": [1, 2]}
    assert capsys.readouterr() == ("", "")


def test_only_a_class_that_the_caller_allows_is_made(tmp_path, capsys):
    source = saved(tmp_path / "x.pth", {"a": torch.zeros(1), "args": argparse.Namespace(lr=1)})
    assert unpickling.main([str(source), str(tmp_path / "out")]) == 1
    assert "got argparse.Namespace, which was not run" in capsys.readouterr().err
    assert unpickling.main([str(source), str(tmp_path / "out"), "--allow", "argparse.Namespace"]) == 0
    assert list(load_file(tmp_path / "out")) == ["a"]
