"""The rules of the house that no linter knows, read from the syntax trees of a checkout or of a few lines of source."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

Sources = Mapping[str, str]  # path from the root, with slashes -> source

ZOO = "zoo"  # `import zoo`, the root alone

# What a room may import beside itself and other packages; every import counts, inside functions and for types too.
ROOMS: dict[str, set[str]] = {
    "zoo/registry": set(),
    "zoo/fetching": {"zoo/registry"},
    "zoo/images": {"zoo/registry"},
    "zoo/networks": {"zoo/registry", "zoo/images"},
    "zoo/loading": {"zoo/registry", "zoo/fetching", "zoo/networks"},
    "zoo/upkeep": {"zoo/registry", "zoo/fetching", "zoo/networks", "zoo/loading"},
    "zoo/pretrain": set(),
    "zoo/cli": {"zoo/registry", "zoo/fetching", "zoo/loading", "zoo/upkeep", "zoo/pretrain"},
    "fusion/data": {ZOO, "fusion/evaluation"},
    "fusion/evaluation": set(),
    "fusion/features": {ZOO},
    "fusion/heads": {"fusion/evaluation"},
    "fusion/similarity": {ZOO, "fusion/evaluation", "fusion/features"},
    "fusion/tuning": {ZOO, "fusion/data", "fusion/evaluation", "fusion/heads"},
    "fusion/selection": {
        ZOO,
        *(f"fusion/{room}" for room in ("data", "evaluation", "features", "heads", "similarity")),
    },
    "fusion/report": {f"fusion/{room}" for room in ("data", "evaluation", "similarity", "selection")},
    "fusion/estimators": {
        ZOO,  # evaluation: a fit says what it is ahead of, with intervals
        *(f"fusion/{room}" for room in ("data", "evaluation", "features", "heads", "tuning", "selection")),
    },
    "fusion/demo": {
        ZOO,
        *(f"fusion/{room}" for room in ("data", "evaluation", "features", "heads", "estimators", "report")),
    },
    "fusion/study": {
        ZOO,
        *(f"fusion/{room}" for room in ("data", "evaluation", "features", "heads", "similarity", "tuning")),
        *("fusion/estimators", "fusion/report"),
    },
    "fusion/commands": {
        ZOO,
        *(f"fusion/{room}" for room in ("data", "evaluation", "features", "similarity", "tuning", "selection")),
        *("fusion/estimators", "fusion/report", "fusion/study", "fusion/demo"),
    },
    "hub_upload": {"zoo/registry", "zoo/fetching", "zoo/upkeep", "zoo/cli"},
}
NEVER = {("fusion/study", "fusion/study/results")}  # what runs a study does not read its results
FACES = {"zoo/__init__.py", "fusion/__init__.py"}  # they hand out everybody's public names
SWITCHBOARD = "fusion/commands/__init__.py"

ENTRIES = {"zoo": 10, "fusion": 13, "fusion/study": 14}  # visible in a folder; 12 elsewhere
# Floors inside a room, 4 elsewhere: config, grid, encoders, cell, run, series; table, page, read, inside, its page.
STORIES = {"fusion/study": 6, "fusion/study/results": 5}

NETWORK = {"huggingface_hub", "requests", "httpx", "httpx2", "urllib", "http", "socket", "fsspec"}
MAY_CONNECT = {"zoo/fetching/hub.py", "zoo/fetching/account.py", "hub_upload.py"}
MAY_CONNECT |= {f"zoo/fetching/wire/{name}.py" for name in ("asking", "refusals", "remote", "shelf")}
WITHOUT_TORCH = ("zoo/registry", "zoo/fetching", "fusion/evaluation", "fusion/report")
WITHOUT_ENCODERS = ("fusion/evaluation", "fusion/heads", "fusion/report")
# What is an image, and whether it can be read, is told by what reads it; more than these would be an encoder.
OF_IMAGES = {"fusion/data": {"listed", "is_image", "fault"}}
EXTRAS = {
    *("lightly", "pytorch_lightning", "peft", "onnx", "tensorboard"),
    *("nibabel", "nrrd", "tifffile", "imagecodecs", "pydicom"),
}
MAY_USE = {
    "zoo/images/dicom.py": {"pydicom"},
    "zoo/images/nifti.py": {"nibabel"},
    "fusion/tuning/lora.py": {"peft"},
    "fusion/study/brain_mr.py": {"onnx"},
}  # inside functions or for types only
WRITES = {
    *("write_text", "write_bytes", "save_file", "savez_compressed", "mkdir", "to_csv", "savefig", "unlink"),
    *("TemporaryFile", "rmtree", "copyfile"),
}
MAY_WRITE = {
    "fusion/data/writing.py",  # all that this package leaves at a path
    "fusion/estimators/saving.py",  # save(path)
    "fusion/features/scratch.py",  # temporary files without a name
    "fusion/report/style.py",  # where save(path) says, and into memory
    "fusion/study/brain_mr.py",  # converted weights, in a temporary folder or the one asked for
    "fusion/study/folder.py",  # a study's folder
    "fusion/study/run.py",  # removes `work/` of it
    "fusion/study/series.py",  # the same
    "fusion/tuning/checkpoints.py",  # the folder that Training(checkpoint=) names
    "zoo/cli.py",  # --json, and the page of browse
    "zoo/fetching/hub.py",  # drops a damaged small file from the Hub client's cache
    "zoo/fetching/pieces.py",  # the cache
    "zoo/fetching/wire/shelf.py",  # the Hub client's own cache
    "hub_upload.py",
}
MAKERS = ("zoo/pretrain/", "zoo/upkeep/", "fusion/data/sets/_brain_regions/")  # they write where they are told to


def checkout(root: Path) -> dict[str, str]:
    """The sources of both packages and of `hub_upload.py`."""
    files = [*(path for name in ("zoo", "fusion") for path in (root / name).rglob("*.py")), root / "hub_upload.py"]
    return {path.relative_to(root).as_posix(): path.read_text() for path in sorted(files)}


def room_of(path: str) -> str:
    """The room that a file is in: the longest name of `ROOMS` that it begins with."""
    stem = path.removesuffix(".py")
    found = [room for room in ROOMS if stem == room or stem.startswith(f"{room}/")]
    return max(found, key=len, default=stem)


def imports(source: str) -> Iterator[tuple[str, bool]]:
    """(module, whether it is loaded with the file) of every import, be it in a function or for types only."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        top = node in tree.body
        if isinstance(node, ast.Import):
            yield from ((alias.name, top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{node.module}.{alias.name}", top) for alias in node.names)


def target(module: str, sources: Sources) -> str | None:
    """The file that an import reaches; None outside both packages."""
    parts = module.split(".")
    for count in (len(parts), len(parts) - 1):
        stem = "/".join(parts[:count])
        for path in (f"{stem}.py", f"{stem}/__init__.py"):
            if count and path in sources:
                return path
    return None


def edges(sources: Sources) -> Iterator[tuple[str, str]]:
    """(importer, imported) of files."""
    for path, source in sources.items():
        for module, _ in imports(source):
            found = target(module, sources)
            if found and found != path:
                yield path, found


def strangers(sources: Sources) -> list[str]:
    """Imports that the table of rooms does not allow."""
    found = []
    for path, source in sources.items():
        if path in FACES:
            continue
        room = room_of(path)
        for module, _ in imports(source):
            reached = target(module, sources)
            if reached is None or room_of(reached) == room:
                continue
            if reached == "zoo/__init__.py":
                allowed = ZOO in ROOMS.get(room, set()) and module == ZOO
            else:
                allowed = room_of(reached) in ROOMS.get(room, set())
            if not allowed:
                found.append(f"{path} imports {module}")
    return found


def peeking(sources: Sources) -> list[str]:
    """What runs something and reads what it left."""
    return [
        f"{path} imports {other}"
        for path, other in edges(sources)
        for low, high in NEVER
        if path.startswith(f"{low}/") and not path.startswith(f"{high}/") and other.startswith(f"{high}/")
    ]


def floors(sources: Sources) -> dict[str, int]:
    """How many modules stand below each other under a file, itself included; a cycle is an error."""
    below: dict[str, set[str]] = {path: set() for path in sources}
    for path, other in edges(sources):
        if path not in FACES and other not in FACES:
            below[path].add(other)
    known: dict[str, int] = {}

    def level(path: str, seen: tuple[str, ...] = ()) -> int:
        if path in seen:
            raise AssertionError(f"cycle: {' -> '.join((*seen[seen.index(path) :], path))}")
        if path not in known:
            known[path] = 1 + max((level(other, (*seen, path)) for other in below[path]), default=0)
        return known[path]

    return {path: level(path) for path in sources}


def storeys(sources: Sources) -> dict[str, int]:
    """The floors inside each room; those that read what another left stand by themselves."""
    rooms: dict[str, dict[str, str]] = {}
    for path, source in sources.items():
        reader = next((high for _, high in NEVER if path.startswith(f"{high}/")), None)
        rooms.setdefault(reader or room_of(path), {})[path] = source
    return {room: max(floors(own).values()) for room, own in rooms.items()}


def house(sources: Sources, package: str) -> dict[str, int]:
    """On which floor each room of a package stands."""
    below: dict[str, set[str]] = {room: set() for room in ROOMS if room.startswith(f"{package}/")}
    for path, other in edges(sources):
        low, high = room_of(other), room_of(path)
        if low in below and high in below and low != high:
            below[high].add(low)
    known: dict[str, int] = {}

    def level(room: str, seen: tuple[str, ...] = ()) -> int:
        if room in seen:
            raise AssertionError(f"cycle of rooms: {' -> '.join((*seen, room))}")
        if room not in known:
            known[room] = 1 + max((level(other, (*seen, room)) for other in below[room]), default=0)
        return known[room]

    return {room: level(room) for room in below}


def crowded(paths: list[str]) -> list[str]:
    """Folders with more visible entries than a reader takes in at once."""
    inside: dict[str, set[str]] = {}
    for path in paths:
        parts = path.split("/")
        for depth in range(1, len(parts)):
            if not parts[depth].startswith(("_", ".")):
                inside.setdefault("/".join(parts[:depth]), set()).add(parts[depth])
    return [f"{place} holds {len(own)}" for place, own in inside.items() if len(own) > ENTRIES.get(place, 12)]


def chatty(sources: Sources) -> list[str]:
    """`__init__.py` of rooms that are more than a charter."""
    return [
        path
        for path, source in sources.items()
        if path.endswith("/__init__.py") and path not in {*FACES, SWITCHBOARD} and not _is_charter(ast.parse(source))
    ]


def connected(sources: Sources) -> list[str]:
    """Files that could open the network and are not those that may."""
    return [
        f"{path} imports {module}"
        for path, source in sources.items()
        for module, _ in imports(source)
        if module.split(".")[0] in NETWORK and path not in MAY_CONNECT and "urllib.parse" not in module
    ]


def heavy(sources: Sources) -> list[str]:
    """Imports of torch where it has no place."""
    return [
        f"{path} imports {module}"
        for path, source in sources.items()
        for module, _ in imports(source)
        if path.startswith(WITHOUT_TORCH) and module.split(".")[0] in ("torch", "torchvision", "timm")
    ]


def knowing(sources: Sources) -> list[str]:
    """Rooms that see an encoder and must not."""
    return [
        f"{path} imports {module}"
        for path, source in sources.items()
        for module, _ in imports(source)
        if path.startswith(WITHOUT_ENCODERS) and module.split(".")[0] == "zoo"
    ]


def overreaching(sources: Sources) -> list[str]:
    """Names of `zoo` in rooms that are to know its images and nothing else of it."""
    return [
        f"{path}:{node.lineno} names zoo.{node.attr}"
        for path, source in sources.items()
        if (allowed := OF_IMAGES.get(room_of(path))) is not None
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "zoo"
        if node.attr not in allowed
    ]


def dressed(sources: Sources) -> list[str]:
    """Optional packages where they are not used, or loaded before they are."""
    return [
        f"{path} imports {module}"
        for path, source in sources.items()
        if not path.startswith(("zoo/pretrain/", "fusion/data/sets/_brain_regions/"))
        for module, top in imports(source)
        if (name := module.split(".")[0]) in EXTRAS and (top or name not in MAY_USE.get(path, set()))
    ]


def writing(sources: Sources) -> list[str]:
    """Calls that write, in files that may not."""
    found = []
    for path, source in sources.items():
        if path in MAY_WRITE or path.startswith(MAKERS):
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in WRITES:
                found.append(f"{path}:{node.lineno} calls {node.func.attr}")
    return found


def twins(sources: Sources, package: str) -> list[str]:
    """Classes of one name in two files of a package."""
    places: dict[str, list[str]] = {}
    for path, source in sources.items():
        if path.startswith(f"{package}/"):
            for node in ast.parse(source).body:
                if isinstance(node, ast.ClassDef):
                    places.setdefault(node.name, []).append(path)
    return [f"{name} in {' and '.join(own)}" for name, own in places.items() if len(own) > 1]


def sprawling(sources: Sources) -> list[str]:
    """Files, functions and signatures beyond the numbers of the house."""
    found = []
    for path, source in sources.items():
        if (lines := len(source.splitlines())) > 300:
            found.append(f"{path} has {lines} lines")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef):
                if (body := length(node)) > 40:
                    found.append(f"{path}: {node.name} has {body} lines")
                if node.args.kwarg and not node.name.startswith("_"):
                    found.append(f"{path}: {node.name} takes **kwargs")
    return found


def lengths(sources: Sources) -> list[int]:
    """Of the bodies of all functions, ascending."""
    nodes = [node for source in sources.values() for node in ast.walk(ast.parse(source))]
    return sorted(length(node) for node in nodes if isinstance(node, ast.FunctionDef))


def length(node: ast.FunctionDef) -> int:
    """Lines of the body, without its docstring."""
    doc = ast.get_docstring(node, clean=False)
    return (node.end_lineno or 0) - node.body[0].lineno + 1 - (doc.count("\n") + 1 if doc else 0)


def untested(sources: Sources, root: Path) -> list[str]:
    """Modules without tests on their path: those of `zoo/a/b.py` are `tests/zoo/a/test_b.py`."""
    found = []
    for path in sources:
        folder, _, name = path.rpartition("/")
        if name != "__init__.py" and not name.startswith("_") and "/_" not in path:
            test = f"tests/{folder}/test_{name}" if folder else f"tests/test_{name}"
            if not (root / test).is_file():
                found.append(f"{path}: {test} is missing")
    return found


def _is_charter(tree: ast.Module) -> bool:
    return len(tree.body) == 1 and ast.get_docstring(tree) is not None
