"""A Hub that does wrong once or for ever: each load ends right or in words, within its time and its bytes."""

import itertools
import random
import time

import huggingface_hub.constants
import pytest

from tests import small
from tests.hub.faults import ON_BLOB, ON_RESOLVE, Fault
from tests.zoo.fetching.served import read, right
from zoo.fetching.places import store_of
from zoo.fetching.wire import asking
from zoo.fetching.wire.refusals import WeightsError

KINDS = [(on, kind) for on, kinds in (("blob", ON_BLOB), ("resolve", ON_RESOLVE)) for kind in kinds]
SIZES = {"count": 20, "size": 12_000}  # 1 MB


@pytest.fixture
def hasty(monkeypatch):
    """The bounds of time, a tenth or less of what they are."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.4)
    for name, value in {"PATIENCE": 3.0, "QUIET": 1.5, "SLOW": (0.5, 8 << 10), "PAUSE": 1.0, "FLOOR": 1 << 20}.items():
        monkeypatch.setattr(asking, name, value)


def drawn(on, kind, seed):
    """A fault of this kind with other numbers for each seed."""
    draw = random.Random(f"{on}{kind}{seed}")
    after = draw.choice([0, 3, 100, 0.5, 0.99])
    wait = draw.choice([None, 0, 1, "\u00b2", "-5", "Fri, 31 Dec 9999 23:59:59 GMT", "9" * 400, "soon", "Infinity"])
    status = draw.choice([408, 429, 500, 502, 503])
    return Fault(kind, after=after, status=status, retry_after=wait, seconds=0.05, shift=draw.choice([None, 1]), on=on)


def load(hub, folder, fault, *, pinned, ever, turn=0):
    """Seconds, bytes over wanted ones, and whether it ended right; in words otherwise."""
    card, data = small.publish(hub, folder, seed=turn, pinned=pinned, revision=f"{turn + 1:040x}", **SIZES)
    hub.forget()
    one = iter([fault])
    hub.faults = lambda asked: (fault if ever else next(one, None)) if asked.on == fault.place else None
    began = time.monotonic()
    try:
        found = right(read(card), data) or not pinned
    except WeightsError:  # in words
        found = False
    spent, sent = time.monotonic() - began, hub.sent / len(data)
    hub.woken.set()
    hub.faults, hub.woken = [], type(hub.woken)()
    assert not list(store_of(card).folder.glob("*.part"))
    return spent, sent, found


SHORT = ["drip", "head", "endless", "unended", "reset", "bomb", "told", "etag", "total", "gzip", "loop", "nowhere"]


@pytest.mark.parametrize("kind", SHORT)
def test_what_goes_on_for_ever_is_left(hub, tmp_path, hasty, kind):
    spent, sent, _ = load(hub, tmp_path, drawn("blob", kind, 0), pinned=False, ever=True)
    assert spent < 6
    assert sent < 10


@pytest.mark.slow
def test_400_runs_of_a_faulty_hub(hub, tmp_path, hasty):
    served = 0
    runs = list(itertools.product(KINDS, (False, True), range(5)))
    assert len(runs) >= 400
    for turn, ((on, kind), ever, seed) in enumerate(runs):
        fault = drawn(on, kind, seed)
        spent, sent, found = load(hub, tmp_path, fault, pinned=bool(seed % 2), ever=ever, turn=turn)
        assert spent < 10, f"{fault}"
        assert sent < 10, f"{fault}"
        served += found
    assert served > 100
