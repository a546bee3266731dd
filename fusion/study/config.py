"""A study's config: what may stand in its YAML file, and one clear sentence for what may not."""

import difflib
import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

import zoo
from fusion.data.sets.sources import LEAST_FOLDS, resolved

FOLDER = Path(__file__).parent / "configs"
BRAIN_REGIONS = "brain-regions"
_SHIPPED = {"data": BRAIN_REGIONS, "targets": None, "window": None}  # of every small form
# What a variant of a named strategy may say, of which types, and in words.
_VARIANT = {"strategy": (str,), "alpha": (int, float), "statistics": (str,), "select": (str,)}
_VALUES = {"strategy": "a name", "alpha": "numbers", "statistics": "modes of fusion.Training", "select": "ways"}


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _budget(value: Any) -> Any:
    whole = type(value) is int and value > 0
    if value is not None and not whole and not (type(value) is float and 0 < value <= 1):
        raise ValueError("must be null (all), a count of images such as 60, or a share in (0, 1] such as 0.1")
    return value


def _depth(value: Any) -> Any:
    if value is not None and not (type(value) in (int, float) and 0 < value <= 1):
        raise ValueError("must be null (the card's) or a number in (0, 1] such as 0.75")
    return None if value is None else float(value)


def _window(value: Any) -> Any:
    ends = value if isinstance(value, list) and all(type(end) in (int, float) for end in value) else []
    if value is not None and not (len(ends) == 2 and 0 < ends[1] - ends[0] < math.inf):
        raise ValueError("must be null or [low, high], the lower end first, in the images' unit, such as [-1000, 400]")
    return value and [float(end) for end in ends]


def _strategies(value: Any) -> Any:
    """Names and {label: definition} entries -> one mapping from label to definition."""
    entries = [value] if isinstance(value, dict) else value
    if not isinstance(entries, list) or not all(isinstance(entry, str | dict) for entry in entries):
        raise ValueError("must be a list of names or {label: phases | one strategy per encoder | variant}")
    given = [pair for entry in entries for pair in ([(entry, entry)] if isinstance(entry, str) else entry.items())]
    pairs = [pair for label, definition in given for pair in _rows(label, definition)]
    if wrong := [definition for _, definition in pairs if not isinstance(definition, str | list | dict)]:
        raise ValueError(f"must be defined by a name, a list of phases, or one of either per encoder, not {wrong[0]!r}")
    if not pairs or len({label for label, _ in pairs}) < len(pairs):
        raise ValueError("must be given, each label once")
    return dict(pairs)


def _rows(label: str, definition: Any) -> Iterator[tuple[str, Any]]:
    """A variant is a row for each of its strengths and modes; what is no variant is one row."""
    if not isinstance(definition, dict) or not definition or not definition.keys() <= set(_VARIANT):
        yield label, definition
        return
    several = {key: value if isinstance(value, list) else [value] for key, value in definition.items()}
    for key, allowed in _VARIANT.items():
        values = several.get(key, [label])
        if not values or (key in several and any(type(value) not in allowed for value in values)):
            raise ValueError(f"must have {_VALUES[key]} for {key} of {label}, not {definition[key]!r}")
    for row in itertools.product(*several.values()):
        one = {"strategy": label, **dict(zip(several, row, strict=True))}
        told = [f"{key} {one[key]}" for key in several if len(several[key]) > 1]
        yield ", ".join([label, *told]), one


Word = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Names = Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)]
Depths = Annotated[list[Annotated[float | None, BeforeValidator(_depth)]], Field(min_length=1)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Filter(_Record):
    """Conditions for rows to stand on one side of a contest; what is not given admits all."""

    fused: bool | None = None
    strategies: list[str] | None = None
    encoders: list[str] | None = None
    depths: list[float] | None = None


class Contest(_Record):
    """Two sides; validation picks the best row of each, and the final table judges that pair once."""

    name: str
    ours: Filter
    theirs: Filter


class Mechanics(_Record):
    """Networks with random weights that only show that everything runs."""

    encoders: Annotated[list[str], Field(min_length=1)]
    strategies: Annotated[list[str], Field(min_length=1)]
    images: Annotated[int, Field(gt=0)] = 64
    epochs: Annotated[int, Field(gt=0)] = 1
    size: Annotated[int, Field(gt=0)] | None = None


class Config(_Record):
    """Description of what a study compares; see `fusion/study/configs` for examples.

    Attributes:
        name, title, source: What it is called, what it asks, and the paper it follows.
        data: A folder per class, a CSV, an `.npz`, or `brain-regions`, the task that ships; None: given at the start.
        folds: Into so many the data are divided, for a study each; None keeps their own parts.
        window: The low and high end by which images are read, in their unit: for NIfTI, which states none, grey DICOM
            and float arrays. None leaves it to the cards.
        targets: Data by name, for a study each; None: the data are the only target.
        encoders: Each entry one encoder, `name` or `name@depth`, or several that are fused; `untrained:name` is its
            architecture with random weights.
        depths: For encoders named without one; None is the card's.
        heads: Of fused entries.
        strategies: From label to definition: a name, a list of phases, or one of either per encoder; or a variant of a
            name, `{strategy: NAME, alpha: A, statistics: MODE, select: WAY}`, all optional: NAME is else the label,
            `alpha` an SP penalty's, `statistics` goes before that of `training`. Lists in it make a row of each.
        only: The strategies of an encoder that is not to have all.
        labels: Training images: None takes all, an integer that many, a fraction that share of each class.
        learning_rates: Of which validation chooses one per row.
        seeds: Of draws, folds and training.
        training: Fields of `fusion.Training`.
        stop_images: How many validation images early stopping looks at; None takes all.
        reference: The strategy that the paired tests compare with.
        raw_pixels: Whether a probe on 16 x 16 grey pixels stands beside.
        contests: Pairs for the final table.
        small: What is different in the offline form.
        mechanics: Networks with random weights, in a table of their own.
    """

    name: Word
    title: str = ""
    source: str | None = None
    data: str | None = None
    folds: Annotated[int, Field(ge=LEAST_FOLDS)] | None = None
    window: Annotated[list[float] | None, BeforeValidator(_window)] = None
    targets: Annotated[dict[Word, str], Field(min_length=1)] | None = None
    encoders: Annotated[list[Names], Field(min_length=1)]
    depths: Depths = [None]
    heads: Annotated[list[str], Field(min_length=1)] = ["concat"]
    strategies: Annotated[dict[str, Any], BeforeValidator(_strategies)]
    only: dict[str, list[str]] = {}
    labels: Annotated[list[Annotated[float | int | None, BeforeValidator(_budget)]], Field(min_length=1)] = [None]
    learning_rates: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)] = [0.001]
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = [0, 1, 2]
    training: dict[str, Any] = {}
    stop_images: Annotated[int, Field(gt=0)] | None = None
    reference: str = "full"
    raw_pixels: bool = True
    contests: list[Contest] = []
    small: dict[str, Any] = {}
    mechanics: Mechanics | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        sides = [side for contest in self.contests for side in (contest.ours, contest.theirs)]
        stems = {zoo.split_name(name)[0] for entry in self.encoders for name in entry}
        _known("reference", [self.reference], self.strategies)
        _known("only", [label for labels in self.only.values() for label in labels], self.strategies)
        _known("only", self.only, stems)
        _known("contests", [label for side in sides for label in side.strategies or ()], self.strategies)
        _known("contests", [name for side in sides for name in side.encoders or ()], stems)
        for key in ("checkpoint", "learning_rate"):
            if key in self.training:
                raise ValueError(f"training must leave {key} to the study (got {self.training[key]!r})")
        if self.targets and self.data is not None:
            raise ValueError(f"data must be left out where there are targets (got {self.data!r})")
        return self

    @property
    def several(self) -> bool:
        """True where the config is of several studies, a series: one per target and fold."""
        return self.folds is not None or self.targets is not None

    def in_small(self) -> "Config":
        """The offline form, on the task that ships.

        Raises:
            ValueError: An override is not valid.
        """
        values = self.model_dump()
        own = values.pop("small")
        merged = {k: {**values[k], **v} if k == "training" and isinstance(v, dict) else v for k, v in own.items()}
        return parse({**values, **merged, **_SHIPPED}, f"{self.name} in its small form")


def ready_made() -> list[str]:
    """The names of the configs that ship."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read(config: str | Path) -> Config:
    """Read a config.

    Args:
        config: A YAML file, or a name of `ready_made()`.

    Raises:
        ValueError: There is no such config (the nearest are offered), or a key is unknown or has a wrong value.
    """
    path = FOLDER / f"{config}.yaml" if str(config) in ready_made() else Path(config)
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (OSError, UnicodeDecodeError):
        near = difflib.get_close_matches(str(config), ready_made(), n=3, cutoff=0.3) or ready_made()
        raise ValueError(
            f"config must be a YAML file or a ready-made study (got {str(config)!r}). Nearest: {', '.join(near)}."
        ) from None
    except yaml.YAMLError as error:
        raise ValueError(f"{path} must be valid YAML (got {' '.join(str(error).split())}). Edit it.") from None
    found = parse(values, str(config))
    if found.small:
        found.in_small()  # a mistake there is told at once too
    return found


def parse(values: Any, source: str) -> Config:
    """The config of plain values; `source` is named in errors."""
    if not isinstance(values, dict):
        raise ValueError(f"{source} must hold keys such as name, encoders, strategies (got {values!r}). Edit it.")
    try:
        return Config(**values)
    except (ValidationError, TypeError) as error:
        said = _said(error) if isinstance(error, ValidationError) else f"keys must be words ({error})"
        raise ValueError(f"{source}: {said.rstrip('.')}. Edit the config.") from None


def variant(definition: Any) -> dict[str, Any]:
    """What a definition says beside its strategy, with the strategy: `strategy`, `alpha`, `statistics`, `select`."""
    named = isinstance(definition, dict) and "strategy" in definition and definition.keys() <= set(_VARIANT)
    return dict(definition) if named else {"strategy": definition}


def source(config: Config, data: str | Path | None) -> str:
    """The source of a study wherever it runs, its path absolute; `data` goes before what the config names.

    Raises:
        ValueError: Neither names one, or its fold is none.
    """
    given = data or config.data
    if given is None:
        raise ValueError(f"data must be given for {config.name} (got none). Add --data FOLDER, CSV or NPZ.")
    return resolved(given)


class _Loader(yaml.SafeLoader):
    """Reads 1e-3 as the number that it is (YAML 1.1 wants 1.0e-3), and refuses a key that is given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        counts = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        if twice := [name for name, count in counts.items() if count > 1]:
            raise yaml.YAMLError(f"the key {twice[0]!r} twice, below line {node.start_mark.line + 1}")
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+.0123456789")
)


def _known(key: str, given: Any, allowed: Any) -> None:
    for name in given:
        if name not in allowed:
            raise ValueError(f"{key} must name one of {', '.join(sorted(allowed))} (got {name!r})")


def _said(error: ValidationError) -> str:
    # A misspelt key shows as unknown and as missing: the unknown one says more.
    detail = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    key = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        allowed = _allowed([str(part) for part in detail["loc"][:-1]])
        near = difflib.get_close_matches(str(detail["loc"][-1]), allowed, n=1, cutoff=0)
        return f"key must be one of {', '.join(allowed)} (got {key!r}). Nearest: {near[0]}"
    if detail["type"] == "missing":
        return f"{key} must be given (got nothing)"
    rule = re.sub("(Input|List|Dictionary|String) should", "must", detail["msg"].removeprefix("Value error, "))
    return f"{key} {rule} (got {detail['input']!r})" if key else rule


def _allowed(place: list[str]) -> list[str]:
    """The keys that may stand at a place of the config."""
    forms: dict[str, type[BaseModel]] = {"contests": Contest, "mechanics": Mechanics, "ours": Filter, "theirs": Filter}
    form = next((forms[part] for part in reversed(place) if part in forms), Config)
    return list(form.model_fields)
