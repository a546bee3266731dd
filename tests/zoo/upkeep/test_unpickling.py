"""Pickles that run code, that grow or that are none: refused in one line, and nothing of them is run."""

import ast
import re

import pytest

from tests.conftest import ROOT
from tests.zoo.upkeep.hostile import HOSTILE
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
