"""Is what is held still what was published? Every byte of a checkpoint again, and the features it gives."""

from dataclasses import dataclass

from zoo.fetching.hub import Remote, WeightsError
from zoo.fetching.opened import Local, Ranged
from zoo.fetching.pieces import Store
from zoo.fetching.places import store_of
from zoo.fetching.weights import open_weights
from zoo.loading import assemble
from zoo.registry import cards
from zoo.registry.cards import Card
from zoo.upkeep import golden


@dataclass(frozen=True)
class Verdict:
    """Findings of a verification: what was right.

    Attributes:
        name: The card's name.
        verified: What the bytes were compared with, as in `zoo.Report`.
        tensors: How many tensors were hashed, of how many in the file.
        cosines: By depth, the cosine between the golden features and today's; empty where none are known.
        mended: Pieces that were wrong, are in quarantine now, and were fetched anew.
    """

    name: str
    verified: str
    tensors: tuple[int, int]
    cosines: dict[str, float]
    mended: tuple[str, ...]


def verify(name: str, *, whole: bool = False) -> Verdict:
    """Hash again everything that is held of a checkpoint, and compare its golden features where they are known.

    Args:
        name: A name of `zoo.names()`.
        whole: Fetch the whole file, check its own sha256 and every tensor; otherwise only what is held, and what the
            card's depth needs.

    Raises:
        WeightsError: Something is wrong and stays wrong after it was fetched once more, or the features differ.
        CardError: The name is unknown.
    """
    card = cards.find(name)
    store = store_of(card)
    before = store.spoilt()
    assemble(card, None)
    file = open_weights(card, whole=whole)
    count = _read_all(file, store)
    cosines = _cosines(card, file, 1.0 if whole else card.depth.optimal)
    mended = tuple(sorted(store.spoilt() - before))
    return Verdict(name, file.verified, (count, len(file.header.spans)), cosines, mended)


def _read_all(file: Local | Ranged, store: Store) -> int:
    if isinstance(file, Ranged):
        return len(file.read(file.held()))
    count = len(file.read(list(file.header.spans)))
    if isinstance(file.remote, Remote) and store.get(["header"]):
        pieces = Ranged(file.remote, store, file.layout, file.verified, file.digests)
        pieces.read(pieces.held())
    return count


def _cosines(card: Card, file: Local | Ranged, deepest: float) -> dict[str, float]:
    known = file.digests.golden if file.digests else {}
    wanted = {depth: values for depth, values in known.items() if float(depth) <= deepest}
    found = {
        depth: golden.cosine(golden.values(assemble(card, float(depth))), values) for depth, values in wanted.items()
    }
    if far := {depth: cosine for depth, cosine in found.items() if not cosine >= golden.CLOSE}:
        raise WeightsError(
            f"{card.name} must give its golden features (got cosines {far}). Compare timm's version, then report it."
        )
    return found
