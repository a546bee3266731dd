"""Cards are read from `zoo/_cards` in a wheel and from `../cards` in a checkout; the wheel holds what it must."""

import subprocess
import sys
import zipfile

import pytest

from tests.conftest import ROOT
from zoo.registry import cards


def test_cards_of_a_checkout():
    assert cards.folder() == ROOT / "cards"


def test_cards_of_a_wheel(tmp_path, monkeypatch):
    (tmp_path / "zoo" / "_cards").mkdir(parents=True)
    (tmp_path / "cards").mkdir()
    monkeypatch.setattr(cards, "PACKAGE", tmp_path / "zoo")
    assert cards.folder() == tmp_path / "zoo" / "_cards"
    assert cards.names() == []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(out.glob("sslzoo-*.whl"))


def test_the_wheel_holds_packages_cards_weights_and_samples(wheel):
    held = set(zipfile.ZipFile(wheel).namelist())
    assert {f"zoo/_cards/{path.name}" for path in (ROOT / "cards").glob("[!R]*.md")} <= held
    assert {"zoo/_weights/mocov2-mini.safetensors", "zoo/_weights/mae-mini.safetensors"} <= held
    assert {
        "fusion/data/sets/_brain_regions/colin27.npz",
        "fusion/data/sets/_brain_regions/mni152.npz",
        "fusion/data/sets/_brain_regions/NOTICE",
    } <= held
    assert {"zoo/_cards/digests/mae-mini.json", "zoo/registry/page.html.jinja"} <= held
    assert {"hub_upload.py", "fusion/demo/page.html.jinja", "zoo/pretrain/recipes/mae-mini.yaml"} <= held
    assert not [name for name in held if name.startswith(("tests/", "cards/"))]


@pytest.mark.slow
def test_an_unpacked_wheel_loads_its_own_cards_and_weights(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = "import zoo; from zoo.registry import cards; e = zoo.load('mae-mini'); "
    code += "print(cards.folder(), e.report.file, len(zoo.names()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True)
    folder, file, count = done.stdout.split()
    assert folder == str(tmp_path / "zoo" / "_cards")
    assert file == str(tmp_path / "zoo" / "_weights" / "mae-mini.safetensors")
    assert int(count) == len(list((ROOT / "cards").glob("[!R]*.md")))
