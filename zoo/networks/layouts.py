"""From the names in a file to timm's names: renaming alone, one table per layout.

In a table `#` is a number and `*` the rest of a name; the first line that matches a whole name counts. `[q|k|v]`
gathers tensors, to be concatenated in this order, and None leaves one out. A name that no line knows stays as it is, as
do those of an incomplete gathering and of two tensors that claim one name: strict loading then refuses the file.
"""

import functools
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from zoo.registry.words import some

Sources = dict[str, tuple[str, ...]]  # timm's name -> the file's: several are concatenated on dimension 0
Table = dict[str, str | None]

# A stored classifier is not part of an encoder; ConvNeXt's `head.norm` is.
_HEADS: Table = dict.fromkeys(("fc.*", "classifier.*", "head.fc.*", "head.weight", "head.bias", "head_dist.*"))


def _drop(*names: str) -> Table:
    return dict.fromkeys(names)


def _below(prefix: str, table: Table) -> Table:
    """`table` for the names below `prefix`, which is taken off; what `table` does not know keeps its rest."""
    return {prefix + old: new for old, new in table.items()} | {f"{prefix}*": "*"}


_TRANSFORMERS: Table = {
    "embeddings.cls_token": "cls_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.patch_embeddings.projection.*": "patch_embed.proj.*",
    "encoder.layer.#.attention.attention.[query|key|value].*": "blocks.#.attn.qkv.*",
    "encoder.layer.#.attention.output.dense.*": "blocks.#.attn.proj.*",
    "layernorm.*": "norm.*",
}
_TRANSFORMERS_DINOV2: Table = _TRANSFORMERS | {
    "embeddings.mask_token": None,
    "encoder.layer.#.norm#.*": "blocks.#.norm#.*",
    "encoder.layer.#.mlp.fc#.*": "blocks.#.mlp.fc#.*",
    "encoder.layer.#.layer_scale#.lambda1": "blocks.#.ls#.gamma",
}
_TRANSFORMERS_VIT: Table = _TRANSFORMERS | {
    "encoder.layer.#.layernorm_before.*": "blocks.#.norm1.*",
    "encoder.layer.#.layernorm_after.*": "blocks.#.norm2.*",
    "encoder.layer.#.intermediate.dense.*": "blocks.#.mlp.fc1.*",
    "encoder.layer.#.output.dense.*": "blocks.#.mlp.fc2.*",
    "pooler.*": None,
}
# `ViTMAEForPreTraining` writes `vit.`, `ViTMAEModel` does not.
_TRANSFORMERS_MAE: Table = (
    _drop("decoder.*") | {f"vit.{old}": new for old, new in _TRANSFORMERS_VIT.items()} | _TRANSFORMERS_VIT
)
_MAE: Table = _drop("decoder_*", "mask_token") | _HEADS
_MOCO: Table = _drop("module.encoder_k.*", "module.queue", "module.queue_ptr") | _below("module.encoder_q.", _HEADS)
_COVID_PROGNOSIS: Table = _drop("model.encoder_k.*", "model.queue", "model.queue_ptr") | _below(
    "model.encoder_q.", _HEADS
)
_OPEN_CLIP: Table = (
    _drop("visual.head.*", "logit_scale", "logit_bias", "text.*")
    # `CLIP`, unlike `CustomTextCLIP`, keeps the parts of its text tower at the root.
    | _drop("transformer.*", "token_embedding.*", "positional_embedding", "ln_final.*")
    | _drop("text_projection", "text_projection.*")
    | _below("visual.trunk.", _HEADS)
)
# `w12` is fused (tiny, small), `w1` and `w2` are not (base). Every block stores the rotations again.
_EVA_X: Table = _drop("mask_token", "lm_head.*", "rope.*", "blocks.#.attn.rope.*") | {
    "blocks.#.mlp.w12.*": "blocks.#.mlp.fc1.*",
    "blocks.#.mlp.w1.*": "blocks.#.mlp.fc1_g.*",
    "blocks.#.mlp.w2.*": "blocks.#.mlp.fc1_x.*",
    "blocks.#.mlp.w3.*": "blocks.#.mlp.fc2.*",
    "blocks.#.mlp.ffn_ln.*": "blocks.#.mlp.norm.*",
    "blocks.#.attn.inner_attn_ln.*": "blocks.#.attn.norm.*",
    "norm.*": "fc_norm.*",
}
_SEPARATE_BIASES: Table = {
    "blocks.#.attn.q_bias": "blocks.#.attn.q_proj.bias",
    "blocks.#.attn.v_bias": "blocks.#.attn.v_proj.bias",
}
_FLAIR: Table = _drop("vision_model.projection_head_vision.*", "text_model.*", "logit_scale") | _below(
    "vision_model.model.", _HEADS
)
# mmpretrain's names, then those of the authors' own files.
_SPARK: Table = (
    _drop("mask_tokens.*")
    | _drop("neck.*", "enc_dec_norms.*", "enc_dec_projectors.*")
    | _below("backbone.", _HEADS)
    | _drop("dense_decoder.*", "densify_norms.*", "densify_projs.*", "imn_m", "imn_s", "norm_black")
    | _below("sparse_encoder.sp_cnn.", _HEADS)
)
# A `qkv.bias` stays, and is refused: timm wants it split, and no line here can do that.
_META_DINOV3: Table = _drop("dino_head.*", "ibot_head.*") | _below(
    "backbone.",
    _drop("mask_token", "rope_embed.periods", "blocks.#.attn.qkv.bias_mask", "local_cls_norm.*")
    | {"storage_tokens": "reg_token", "blocks.#.ls#.gamma": "blocks.#.gamma_#"},
)
# The children of torchvision's ResNet by number; 2, 3 and 8 hold no tensors.
_SEQUENTIAL: Table = {
    "backbone.0.weight": "conv1.weight",
    "backbone.1.*": "bn1.*",
    "backbone.4.*": "layer1.*",
    "backbone.5.*": "layer2.*",
    "backbone.6.*": "layer3.*",
    "backbone.7.*": "layer4.*",
}


# First parts of names that belong to no encoder: what self-supervised methods train beside one and throw away.
_BESIDE = re.compile(
    r"(\w+_)?(fc|heads?|classifier|project(or|ion)|predict(or|ion)|prototypes|mlp|proj|queue|queue_ptr)|mask_token"
)


@dataclass(frozen=True)
class Reading:
    """One way to read the network in a file: what lies below `prefix`, by `layout`, without `heads`.

    Attributes:
        sources: timm's names, and for each the file's, whole.
        heads: The file's names below the prefix that are left out because they belong to no encoder.
    """

    prefix: str
    layout: str
    sources: Sources
    heads: tuple[str, ...]

    def differs(self, expected: Collection[str]) -> set[str]:
        """The names that it lacks or leaves over; BatchNorm's counters, which old files lack, do not count."""
        return {name for name in self.sources.keys() ^ set(expected) if not name.endswith(".num_batches_tracked")}


@dataclass(frozen=True)
class _Line:
    old: re.Pattern[str]
    new: str | None
    place: tuple[int, int]  # among the tensors that a bracket gathers, and their number


@functools.cache
def _lines(old: str, new: str | None) -> list[_Line]:
    """One line of a table, compiled; a bracket gives one for each of its tensors."""
    groups = itertools.count(1)
    template = new and re.sub(r"[#*]", lambda _: rf"\g<{next(groups)}>", new)
    parts = re.findall(r"\w+(?=[|\]])", old) or [""]
    names = [re.escape(re.sub(r"\[.*]", part, old)) for part in parts]
    patterns = [re.compile(name.replace(r"\#", r"(\d+)").replace(r"\*", "(.+)")) for name in names]
    return [_Line(pattern, template, (place, len(parts))) for place, pattern in enumerate(patterns)]


def _translate(table: Table, key: str) -> tuple[str | None, tuple[int, int]]:
    for line in itertools.chain.from_iterable(_lines(old, new) for old, new in table.items()):
        if match := line.old.fullmatch(key):
            return line.new and match.expand(line.new), line.place
    return key, (0, 1)


def _apply(table: Table, keys: Iterable[str]) -> Sources:
    claims: dict[str, list[tuple[tuple[int, int], str]]] = defaultdict(list)
    for key in keys:
        new, place = _translate(table, key)
        if new is not None:
            claims[new].append((place, key))
    sources: Sources = {}
    for new, claim in claims.items():
        places, olds = zip(*sorted(claim), strict=True)
        whole = list(places) == [(place, places[0][1]) for place in range(places[0][1])]
        sources |= {new: olds} if whole else {old: (old,) for old in olds}
    return sources


def _eva_x(keys: Iterable[str]) -> Sources:
    keys = list(keys)
    separate = any(key.endswith(".q_proj.weight") for key in keys)
    return _apply(_EVA_X | (_SEPARATE_BIASES if separate else {}), keys)


LAYOUTS: dict[str, Callable[[Iterable[str]], Sources]] = {
    "timm": functools.partial(_apply, _HEADS),
    "transformers-dinov2": functools.partial(_apply, _TRANSFORMERS_DINOV2),
    "transformers-vit": functools.partial(_apply, _TRANSFORMERS_VIT),
    "transformers-mae": functools.partial(_apply, _TRANSFORMERS_MAE),
    "mae": functools.partial(_apply, _MAE),
    "moco": functools.partial(_apply, _MOCO),
    "covid-prognosis": functools.partial(_apply, _COVID_PROGNOSIS),
    "open-clip": functools.partial(_apply, _OPEN_CLIP),
    "eva-x": _eva_x,
    "flair": functools.partial(_apply, _FLAIR),
    "spark": functools.partial(_apply, _SPARK),
    "meta-dinov3": functools.partial(_apply, _META_DINOV3),
    "sequential": functools.partial(_apply, _SEQUENTIAL),
}


def rename(layout: str, keys: Iterable[str]) -> Sources:
    """Give for each timm name the file's names for it; names that `layout` does not know stand for themselves.

    Raises:
        ValueError: There is no such layout.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout must be one of {', '.join(LAYOUTS)} (got {layout!r}). Choose one.")
    return LAYOUTS[layout](keys)


def readings(
    keys: Iterable[str], expected: Collection[str], *, layout: str | None = None, prefix: str = ""
) -> list[Reading]:
    """Every way to read exactly the `expected` names in a file; where there is none, only the nearest.

    Training checkpoints nest their weights, and wrap them; what the names begin with is taken off where the rest fits.

    Args:
        keys: The file's names, nested ones joined by dots.
        expected: timm's names.
        layout: Only by this one.
        prefix: Only below prefixes that end in this one.
    """
    keys, wanted, tried = list(keys), set(expected), [layout] if layout else list(LAYOUTS)
    least = sum(not name.endswith(".num_batches_tracked") for name in wanted)
    places = [place for place, count in _places(keys).items() if count >= least and f".{place}".endswith(f".{prefix}")]
    found: list[Reading] = []
    near: list[Reading] = []
    for place in sorted(places, key=len):
        if not any(place.startswith(outer.prefix) for outer in found):  # the outer one accounts for all below it
            made = [_reading(place, one, keys, wanted) for one in tried]
            found += [reading for reading in made if not reading.differs(wanted)][:1]
            near += made
    near = near or [_reading("", one, keys, wanted) for one in tried]
    return found or [min(near, key=lambda reading: len(reading.differs(wanted)))]


def misfit(reading: Reading, expected: Collection[str]) -> str:
    """What a reading that does not fit lacks and leaves over, in words."""
    over = [old for new, olds in reading.sources.items() if new not in expected for old in olds]
    below = f" below {reading.prefix!r}" if reading.prefix else ""
    return (
        f"the file's names must be the network's under one layout (got, under the nearest, {reading.layout!r}{below}, "
        f"missing: {some(reading.differs(expected) & set(expected))}; left over: {some(over)}). "
        "Check the architecture and its kwargs, then --layout and --prefix."
    )


def _places(keys: Collection[str]) -> Counter[str]:
    """Every prefix, the empty one included, and how many names lie below it."""
    dots = ((key, match.end()) for key in keys for match in re.finditer(r"\.", key))
    return Counter([key[:end] for key, end in dots] + [""] * len(keys))


def _reading(prefix: str, layout: str, keys: Collection[str], wanted: set[str]) -> Reading:
    below = [key.removeprefix(prefix) for key in keys if key.startswith(prefix)]
    found = rename(layout, below)
    beside = {new for new in found if new not in wanted and _BESIDE.fullmatch(new.partition(".")[0])}
    sources = {new: tuple(prefix + old for old in olds) for new, olds in found.items()}
    heads = tuple(old for new in sorted(beside) for old in sources[new])
    return Reading(prefix, layout, {new: olds for new, olds in sources.items() if new not in beside}, heads)
