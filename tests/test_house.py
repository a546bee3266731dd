"""The house rules that no linter knows, read from the syntax trees."""

import ast
import subprocess
import sys

import pytest

from tests.conftest import ROOT

FILES = [*sorted(p for d in ("zoo", "fusion") for p in (ROOT / d).rglob("*.py")), ROOT / "hub_upload.py"]
PACKAGE = [path for path in FILES if "_samples" not in path.parts]
NETWORK = {"huggingface_hub", "requests", "httpx", "httpx2", "urllib", "http", "socket", "fsspec"}
READERS = {"zoo/hub.py", "zoo/account.py", "hub_upload.py"}
EXTRAS = {
    "lightly",
    "pytorch_lightning",
    "peft",
    "onnx",
    "tensorboard",
    "nibabel",
    "nrrd",
    "tifffile",
    "imagecodecs",
    "pydicom",
}
MAY_IMPORT = {
    "zoo/reading.py": {("nibabel", False), ("pydicom", False)},
    "fusion/adapters.py": {("peft", False)},
    "fusion/brain_mr.py": {("onnx", False)},
}  # (module, whether at the top level)
WRITES = {
    "write_text",
    "write_bytes",
    "save_file",
    "savez_compressed",
    "mkdir",
    "replace",
    "to_csv",
    "savefig",
    "unlink",
    "TemporaryFile",
}
MAY_WRITE = {
    "fusion/brain_mr.py",  # converted weights, in a temporary folder or the one asked for
    "fusion/checkpoints.py",  # the folder that Training(checkpoint=) names
    "fusion/cli.py",  # OUTPUT
    "fusion/console.py",  # --json
    "fusion/figures.py",  # savefig into memory, and where save(path) says
    "fusion/inside_cli.py",  # OUTPUT
    "fusion/landing.py",  # a study's folder
    "fusion/saving.py",  # save(path)
    "fusion/spool.py",  # temporary files without a name
    "fusion/_samples/build.py",
    "zoo/airgap.py",  # export to the folder asked for
    "zoo/caching.py",  # removes what is asked for
    "zoo/cli.py",  # --json
    "zoo/doctor.py",  # whether the cache can be written
    "zoo/hub.py",  # drops a damaged small file from the Hub client's cache
    "zoo/store.py",  # the cache
    "hub_upload.py",
}


def name(path):
    return path.relative_to(ROOT).as_posix()


def imports(path):
    """(module, whether at the top level) of every import."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
        yield from ((module, node in tree.body) for module in modules)


def inner(path):
    """Modules of its own package that `path` imports, as files."""
    for module, top in imports(path):
        candidate = ROOT / (module.replace(".", "/") + ".py")
        if top and candidate in FILES:
            yield candidate


@pytest.mark.parametrize("path", FILES, ids=name)
def test_who_may_import_whom(path):
    modules = {module for module, _ in imports(path)}
    package = path.relative_to(ROOT).parts[0]
    if package == "fusion":
        assert not [m for m in modules if m.startswith("zoo.")], "fusion sees zoo through its root only"
    if package == "zoo":
        assert not [m for m in modules if m.split(".")[0] == "fusion"], "zoo never sees fusion"
    if "pretrain" not in path.parts and name(path) != "zoo/cli.py":
        assert not [m for m in modules if m.startswith(("zoo.pretrain", "hub_upload"))], "nothing imports the makers"
    if name(path) not in READERS:
        assert not {m.split(".")[0] for m in modules} & NETWORK, "only the readers see the network"
    if "pretrain" not in path.parts and path in PACKAGE:
        extras = {(m.split(".")[0], top) for m, top in imports(path)}
        extras = {(module, top) for module, top in extras if module in EXTRAS}
        assert extras <= MAY_IMPORT.get(name(path), set()), "extras are imported where they are used"


def test_hub_imports_no_torch():
    assert not {m.split(".")[0] for m, _ in imports(ROOT / "zoo/hub.py")} & {"torch", "timm", "torchvision"}


def layers(path, seen=(), known=None):
    assert path not in seen, f"cycle: {[name(p) for p in (*seen, path)]}"
    known = {} if known is None else known
    if path not in known:
        known[path] = 1 + max((layers(other, (*seen, path), known) for other in inner(path)), default=0)
    return known[path]


def test_no_cycles_and_few_layers():
    known = {}
    deepest = {name(path): layers(path, known=known) for path in PACKAGE}
    # evaluation, heads, classifier, one cell, the study, its command, the command that holds it
    assert max(deepest.values()) <= 7, deepest


@pytest.mark.parametrize("path", FILES, ids=name)
def test_only_makers_and_named_places_write(path):
    if name(path) in MAY_WRITE or "pretrain" in path.parts:
        return
    calls = [node.func.attr for node in ast.walk(ast.parse(path.read_text())) if _is_method_call(node)]
    found = [call for call in calls if call in WRITES - {"replace"}]
    assert not found, found


def _is_method_call(node):
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_sizes(path):
    assert len(path.read_text().splitlines()) <= 300
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            doc = ast.get_docstring(node, clean=False)
            body = node.end_lineno - node.body[0].lineno + 1 - (doc.count("\n") + 1 if doc else 0)
            assert body <= 40, (node.name, body)
            assert not (node.args.kwarg and not node.name.startswith("_")), f"{node.name} takes **kwargs"


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
extras = [module for module in {sorted(EXTRAS)!r} if module in sys.modules]
print(opened, extras)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[] []"


@pytest.mark.parametrize("package", ["zoo", "fusion"])
def test_the_public_names_are_sorted_and_exist(package):
    module = sys.modules[package] if package in sys.modules else __import__(package)
    assert sorted(module.__all__) == module.__all__
    assert all(hasattr(module, public) for public in module.__all__)
