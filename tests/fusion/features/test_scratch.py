from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from fusion.features.scratch import Spool
from tests.fusion.similarity.drawn import cut, noisy


def test_a_spool_gives_back_centred_rows_in_order():
    levels = noisy(0, 50, (3, 7))
    with ExitStack() as stack:
        spool = Spool([3, 7], stack)
        for part in cut(levels, 8):
            spool.add(part)
        chunks, whole = list(spool.chunks(1, 16)), list(spool.chunks(1, 50))
    assert [len(chunk) for chunk in chunks] == [16, 16, 16, 2]
    np.testing.assert_allclose(np.vstack(chunks), levels[1] - levels[1].astype("f8").mean(0), atol=1e-12)
    np.testing.assert_array_equal(np.vstack(whole), np.vstack(chunks))


def test_a_full_folder_is_named(monkeypatch):
    with ExitStack() as stack:
        spool = Spool([3], stack)
        spool.add(noisy(0, 8, [3]))
        with Path("/dev/full").open("wb", buffering=0) as full:
            monkeypatch.setattr(spool, "_files", [full])
            with pytest.raises(OSError, match=r"must fit into .*No space left.* after 8 images.*Set TMPDIR"):
                spool.add(noisy(0, 8, [3]))
