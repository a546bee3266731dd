"""Every Python block of the README runs, and what it claims about models is what the cards say."""

import re

import pytest
from PIL import Image

import fusion
import zoo
from fusion import brain_regions
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_there_are_blocks():
    assert len(BLOCKS) >= 3


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split("\n")[0][:40])
def test_every_python_block_runs(block, tmp_path, monkeypatch, tiny):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(brain_regions("validation").images[0]).save("scan.png")
    tiny.rename("my-encoder.md")
    tiny.with_name("tiny-test.safetensors").rename("my-encoder.safetensors")
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})


def test_the_fine_tuning_lines_change_the_weights():
    block = next(block for block in BLOCKS if "AdamW" in block)
    assert len([line for line in block.splitlines() if line.strip()]) == 10
    names = {}
    exec(compile(block, "README.md", "exec"), names)
    before, after = zoo.load("mocov2-mini", 0.75).state_dict(), names["encoder"].state_dict()
    moved = [key for key, value in before.items() if value.is_floating_point() and not value.equal(after[key])]
    assert {"trunk.conv1.weight", "trunk.layer3.1.conv2.weight"} <= set(moved)


def test_the_seven_lines_are_seven():
    block = next(block for block in BLOCKS if "FusionClassifier" in block)
    assert len([line for line in block.splitlines() if line.strip()]) == 7


def test_the_table_of_models_is_made_from_the_cards():
    models = README.partition("## Models\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (.*) \|$", models, flags=re.MULTILINE)
    assert {name for name, _ in rows} == set(zoo.names())
    for name, rest in rows:
        card = zoo.card(name)
        depth = f"{card.depth.optimal:g} ({card.depth.evidence})"
        facts = (card.family, card.domain, card.architecture, depth, card.terms.card or "unknown")
        assert rest == " | ".join([*facts, zoo.registry.terms.binding(card).kind])


def test_the_table_of_strategies_names_them_all():
    table = README.partition("## Fine-tuning\n")[2].partition("\n## ")[0]
    named = re.findall(r"`([a-z0-9-]+)`", "".join(re.findall(r"^\| `.*?\|", table, flags=re.MULTILINE)))
    assert set(named) <= set(fusion.strategies())
    assert set(fusion.strategies()) - set(named) <= {"quarter-2", "quarter-3"}


def test_the_two_commands_are_there():
    commands = re.findall(r"```sh\n(.*?)\n```", README, flags=re.DOTALL)
    assert len(commands) == 2
    assert "fusion demo" in commands[0]
    assert "pytest" in commands[1]


def test_numbers_agree_between_readme_and_cards():
    for name in ("mocov2-mini", "mae-mini"):
        quoted = re.findall(r"\d\.\d{3} \[\d\.\d{3}, \d\.\d{3}\]", zoo.card(name).body)
        assert quoted
        assert set(quoted) <= set(re.findall(r"\d\.\d{3} \[\d\.\d{3}, \d\.\d{3}\]", README))
