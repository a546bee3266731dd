"""Every Python block of every README runs, what they name is there, and they claim what cards and tables say."""

import re

import pytest
from PIL import Image

import fusion
import zoo
from fusion import brain_regions
from tests.conftest import ROOT
from zoo.registry import terms

ROOMS = sorted(path for package in ("zoo", "fusion") for path in (ROOT / package).rglob("README.md"))
PATHS = [ROOT / "README.md", ROOT / "cards" / "README.md", *ROOMS]
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text() for path in PATHS}
BLOCKS = [
    (name, block) for name, text in TEXTS.items() for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
]
INTERVAL = r"[+-]?\d\.\d{3} \[[+-]?\d\.\d{3}, [+-]?\d\.\d{3}\]"


def blocks(name):
    return [block for readme, block in BLOCKS if readme == name]


def section(name, heading):
    _, found, rest = TEXTS[name].partition(f"# {heading}\n")
    assert found, heading
    return rest.partition("\n## ")[0]


def test_there_are_blocks():
    assert len(BLOCKS) >= 9
    assert len(blocks("README.md")) >= 2


@pytest.mark.parametrize(
    ("name", "block"),
    [pytest.param(*pair, marks=pytest.mark.slow if pair[0] == "fusion/selection/README.md" else ()) for pair in BLOCKS],
    ids=[f"{name}: {block.splitlines()[0][:40]}" for name, block in BLOCKS],
)
def test_every_python_block_runs(name, block, tmp_path, monkeypatch, tiny):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(brain_regions("validation").images[0]).save("scan.png")
    tiny.rename("my-encoder.md")
    tiny.with_name("tiny-test.safetensors").rename("my-encoder.safetensors")
    exec(compile(block, name, "exec"), {"__name__": "readme"})


def test_the_fine_tuning_lines_change_the_weights():
    block = next(block for block in blocks("fusion/tuning/README.md") if "AdamW" in block)
    assert len([line for line in block.splitlines() if line.strip()]) == 10
    names = {}
    exec(compile(block, "fusion/tuning/README.md", "exec"), names)
    before, after = zoo.load("mocov2-mini", 0.75).state_dict(), names["encoder"].state_dict()
    moved = [key for key, value in before.items() if value.is_floating_point() and not value.equal(after[key])]
    assert {"trunk.conv1.weight", "trunk.layer3.1.conv2.weight"} <= set(moved)


def test_the_seven_lines_are_seven():
    block = next(block for block in blocks("README.md") if "FusionClassifier" in block)
    assert len([line for line in block.splitlines() if line.strip()]) == 7


def test_the_table_of_models_is_made_from_the_cards():
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (.*) \|$", section("cards/README.md", "Models"), flags=re.MULTILINE)
    assert {name for name, _ in rows} == set(zoo.names())
    for name, rest in rows:
        card = zoo.card(name)
        depth = f"{card.depth.optimal:g} ({card.depth.evidence})"
        facts = (card.family, card.domain, card.architecture, depth, card.terms.card or "unknown")
        assert rest == " | ".join([*facts, terms.binding(card).kind])


def test_the_table_of_strategies_names_them_all():
    table = section("fusion/tuning/README.md", "Strategies")
    named = re.findall(r"`([a-z0-9-]+)`", "".join(re.findall(r"^\| `.*?\|", table, flags=re.MULTILINE)))
    assert set(named) <= set(fusion.strategies())
    assert set(fusion.strategies()) - set(named) <= {"quarter-2", "quarter-3"}


def test_the_two_commands_are_there():
    commands = re.findall(r"```sh\n(.*?)\n```", TEXTS["README.md"], flags=re.DOTALL)
    assert len(commands) == 2
    assert "fusion demo" in commands[0]
    assert "pytest" in commands[1]


def test_numbers_agree_between_readme_and_cards():
    shown = set(re.findall(INTERVAL, TEXTS["fusion/demo/README.md"]))
    for name in ("mocov2-mini", "mae-mini"):
        quoted = re.findall(INTERVAL, zoo.card(name).body)
        assert quoted
        assert set(quoted) <= shown


def test_what_the_first_page_repeats_is_what_the_rooms_say():
    top, demo = TEXTS["README.md"], TEXTS["fusion/demo/README.md"]
    quoted = re.findall(INTERVAL, top)
    assert len(quoted) == 15
    assert set(quoted) <= set(re.findall(INTERVAL, demo))
    fusions = re.findall(r"^\| fusion: @.*", demo, flags=re.MULTILINE)
    assert re.findall(INTERVAL, next(line for line in top.split("\n") if line.startswith("| fusion of"))) == [
        re.findall(INTERVAL, line)[0] for line in fusions
    ]
    shares = r"\d+ % of a\s[\w-]+"
    fetched = {" ".join(found.split()) for found in re.findall(shares, top)}
    assert len(fetched) == 4
    assert fetched <= {" ".join(found.split()) for found in re.findall(shares, TEXTS["zoo/fetching/README.md"])}
    assert f"one of {len(zoo.names())} encoders" in top
    assert f"none of the {len(zoo.names()) - 2} others" in top


def test_the_first_page_is_short_and_leads_to_all_others():
    assert TEXTS["README.md"].count("\n") <= 150
    assert [name for name in TEXTS if name != "README.md" and f"]({name})" not in TEXTS["README.md"]] == []


@pytest.mark.parametrize("path", [*PATHS, ROOT / "CONTRIBUTING.md"], ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_picture_and_file_named_is_there(path):
    text = path.read_text()
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    named = re.findall(r"(?<![\w./-])(?:zoo|fusion|tests|cards)/[\w./-]+\.(?:py|yaml|csv|json|md)\b", text)
    assert [link for link in links if not (path.parent / link).exists()] == []
    assert [name for name in named if not re.search("NAME|ROOM", name) and not (ROOT / name).exists()] == []
