"""What the tests of fetching share: a served file read as `zoo.load` reads it, by one process or by eight."""

import itertools
import multiprocessing

import huggingface_hub
import huggingface_hub.constants

from tests import small
from zoo.fetching import header as header_
from zoo.fetching import opened
from zoo.fetching.places import store_of
from zoo.fetching.weights import open_weights

FORK = multiprocessing.get_context("fork")  # a child that need not import torch anew
SOME = ["layer1.weight", "layer2.weight", "half", "count", "none"]


def read(card, names=None, **options):
    file = open_weights(card, **options)
    return file.read(list(file.header.spans) if names is None else names)


def right(found, data):
    expected = small.whole(data)
    return all(expected[name] == value for name, value in found.items())


def overlaps(ranges):
    """Bytes sent more than once."""
    spans = sorted((start, stop) for _, start, stop in ranges)
    return sum(max(0, before[1] - after[0]) for before, after in itertools.pairwise(spans))


def child(card, gate, answer):
    """What another process does, once the gate opens."""
    huggingface_hub.utils.close_session()  # a connection is not shared with the parent
    gate.wait()
    file = open_weights(card)
    names = sorted(file.header.spans)
    found = file.read(names)
    answer.write_bytes(b"".join(found[name] for name in names))


def joined(data):
    pieces = small.whole(data)
    return b"".join(pieces[name] for name in sorted(pieces))


def eight_at_once(card, folder):
    """What eight processes read, all started at the same moment."""
    gate, answers = FORK.Event(), [folder / f"answer{i}" for i in range(8)]
    children = [FORK.Process(target=child, args=(card, gate, answer)) for answer in answers]
    for process in children:
        process.start()
    gate.set()
    for process in children:
        process.join(60)
    assert [process.exitcode for process in children] == [0] * 8
    return [answer.read_bytes() for answer in answers]


def flip(path, bit):
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def flip_a_piece(card, names, draw):
    """One bit of the header or of a tensor called in `names`, as the cache holds it."""
    spans = header_.parse(store_of(card).get(["header"])["header"]).spans
    keys = {"header", *(opened.key(spans[name]) for name in names)}
    paths = [path for path in store_of(card).folder.iterdir() if path.stem in keys and path.stat().st_size]
    path = draw.choices(paths, [path.stat().st_size for path in paths])[0]
    flip(path, draw.randrange(8 * path.stat().st_size))
