"""The house as it stands keeps its rules, and each rule fails where it is broken."""

import ast
import importlib
import inspect
import subprocess
import sys

import pytest

from tests import house
from tests.conftest import ROOT

SOURCES = house.checkout(ROOT)
PATHS = subprocess.run(
    ["git", "ls-files", "-co", "--exclude-standard", "zoo", "fusion"], cwd=ROOT, capture_output=True, text=True
).stdout.split()
LIGHT = [
    *("zoo --help", "zoo list", "zoo show mae-mini", "zoo browse {}/zoo.html", "zoo cache list"),
    *(f"zoo {name} --help" for name in ("load", "verify", "pretrain", "export", "import", "doctor", "cache prune")),
    *(f"zoo-upload {name}" for name in ("--help", "convert --help", "check --help", "upload --help")),
    *(f"fusion {name} --help" for name in ("", "demo", "fit", "evaluate", "predict", "compare", "changes", "select")),
    *(f"fusion study {name} --help" for name in ("", "run", "status", "report", "inside")),
]
APPS = {"zoo": "zoo.cli", "fusion": "fusion.commands", "zoo-upload": "hub_upload"}

# A rule, and the lines that break it: (path, source) beside all that is there.
BROKEN = {
    "a room imports what its row does not name": (house.strangers, "fusion/data/x.py", "import fusion.heads.probe"),
    "inside a function too": (house.strangers, "fusion/data/x.py", "def f():\n    from fusion.heads import probe"),
    "for types too": (house.strangers, "zoo/networks/x.py", "if TYPE_CHECKING:\n    from zoo.loading import load"),
    "fusion sees zoo through its root": (house.strangers, "fusion/features/x.py", "from zoo.registry import cards"),
    "and its root as a whole": (house.strangers, "fusion/features/x.py", "from zoo import Encoder"),
    "zoo never sees fusion": (house.strangers, "zoo/registry/x.py", "from fusion.data import files"),
    "nothing imports a maker": (house.strangers, "zoo/upkeep/x.py", "from zoo.pretrain import recipe"),
    "nothing imports hub_upload": (house.strangers, "zoo/upkeep/x.py", "import hub_upload"),
    "a study does not read its results": (house.peeking, "fusion/study/x.py", "from fusion.study.results import read"),
    "a room's charter stands alone": (house.chatty, "fusion/new/__init__.py", '"""A room."""\nfrom fusion import data'),
    "few may open the network": (house.connected, "zoo/upkeep/x.py", "import httpx2"),
    "no torch in some rooms": (house.heavy, "fusion/report/x.py", "def f():\n    import torch"),
    "some never see an encoder": (house.knowing, "fusion/heads/x.py", "import zoo"),
    "data know zoo's images alone": (house.overreaching, "fusion/data/x.py", "import zoo\nzoo.load('mae-mini')"),
    "extras where they are used": (house.dressed, "fusion/data/x.py", "def f():\n    import pydicom"),
    "extras when they are used": (house.dressed, "zoo/images/dicom.py", "import pydicom"),
    "few may write": (house.writing, "fusion/study/x.py", "path.write_text('')"),
    "files of 300 lines": (house.sprawling, "zoo/x.py", "x = 1\n" * 301),
    "functions of 40 lines": (house.sprawling, "zoo/x.py", "def f():\n" + "    x = 1\n" * 41),
    "no keywords of any name": (house.sprawling, "zoo/x.py", "def f(**rest):\n    pass"),
}


@pytest.mark.parametrize("rule", dict.fromkeys(rule for rule, _, _ in BROKEN.values()), ids=lambda rule: rule.__name__)
def test_the_house_keeps_its_rules(rule):
    assert rule(SOURCES) == []


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_rule_is_found(what):
    rule, path, source = BROKEN[what]
    assert [found for found in rule({**SOURCES, path: source}) if path in found]


def test_no_module_imports_itself_by_way_of_others():
    assert house.floors(SOURCES)
    loop = {"fusion/data/x.py": "from fusion.data import y", "fusion/data/y.py": "def f():\n    import fusion.data.x"}
    with pytest.raises(AssertionError, match=r"cycle: fusion/data/x\.py -> fusion/data/y\.py -> fusion/data/x\.py"):
        house.floors(SOURCES | loop)


def test_few_floors_in_a_room_and_of_rooms():
    deep = {room: count for room, count in house.storeys(SOURCES).items() if count > house.STORIES.get(room, 4)}
    assert not deep
    for package in ("zoo", "fusion"):
        assert max(house.house(SOURCES, package).values()) <= 6
    tower = {f"fusion/data/x{k}.py": f"import fusion.data.x{k + 1}" for k in range(5)}
    assert house.storeys({**SOURCES, **tower, "fusion/data/x5.py": ""})["fusion/data"] > 4


def test_a_folder_is_taken_in_at_a_glance():
    assert PATHS
    assert house.crowded(PATHS) == []
    assert house.crowded([*PATHS, *(f"fusion/heads/x{k}.py" for k in range(9))]) != []


def test_no_two_classes_of_a_package_have_one_name():
    for package in ("zoo", "fusion"):
        assert house.twins(SOURCES, package) == []
    assert house.twins({**SOURCES, "zoo/x.py": "class Card:\n    pass"}, "zoo")


def test_nine_in_ten_functions_are_short():
    bodies = house.lengths(SOURCES)
    assert bodies[len(bodies) // 2] <= 6
    assert bodies[int(len(bodies) * 0.9)] <= 20


def test_every_module_has_its_tests_on_its_path():
    assert house.untested(SOURCES, ROOT) == []
    assert house.untested({"zoo/registry/nothing.py": ""}, ROOT)


def test_every_room_says_what_it_is_for():
    rooms = {path.rpartition("/")[0] for path in SOURCES if path.count("/") > 1 and "/_" not in path.replace("__", "")}
    assert {room for room in rooms if f"{room}/__init__.py" not in SOURCES} == set()
    assert all(ast.get_docstring(ast.parse(SOURCES[f"{room}/__init__.py"])) for room in rooms)


@pytest.mark.parametrize("package", ["zoo", "fusion"])
def test_the_public_names_are_all_names_and_no_others(package):
    """Type checkers, `dir()`, `__all__` and what is loaded at the first touch say the same."""
    module = importlib.import_module(package)
    block = next(node for node in ast.parse(SOURCES[f"{package}/__init__.py"]).body if isinstance(node, ast.If))
    typed = {a.asname or a.name: f"{node.module}.{a.name}" for node in block.body for a in node.names}
    assert sorted(module.__all__) == module.__all__ == sorted(typed)
    assert typed == module._HOMES
    held = {name for name in dir(module) if not name.startswith("_")}
    rest = held - set(module.__all__)
    assert {
        name for name in rest if not inspect.ismodule(getattr(module, name)) and name not in ("Any", "TYPE_CHECKING")
    } == set()
    assert all(getattr(module, name) is not None for name in module.__all__)
    assert (ROOT / package / "py.typed").is_file()
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
        module.nothing  # noqa: B018


def test_importing_opens_no_card_no_socket_and_no_extra():
    code = f"""
import sys
opened = []
def hook(event, arguments):
    if event == "open" and str(arguments[0]).endswith((".md", ".safetensors", ".npz", ".jinja")):
        opened.append(arguments[0])
    if event.startswith("socket.") and event not in ("socket.__new__", "socket.gethostname"):
        opened.append(event)
sys.addaudithook(hook)
import zoo, fusion
for package in (zoo, fusion):
    for name in package.__all__:
        getattr(package, name)
extras = [module for module in {sorted(house.EXTRAS)!r} if module in sys.modules]
print(opened, extras)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[] []"


def test_help_and_lists_do_not_wait_for_torch(tmp_path):
    code = """
import contextlib, importlib, io, os, sys
apps, lines = eval(sys.argv[1])
for line in lines:
    name, *words = line.split()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        importlib.import_module(apps[name]).app(words, standalone_mode=False)
    print(line, *(module for module in ("torch", "timm", "torchvision") if module in sys.modules), sep="|")
"""
    lines = [line.format(tmp_path) for line in LIGHT]
    command = [sys.executable, "-c", code, repr((APPS, lines))]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split("\n")[:-1] == lines
