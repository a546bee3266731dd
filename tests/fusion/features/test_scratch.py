"""Features on disc, while they are compared."""

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from fusion.features.scratch import Spool, check_finite
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


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_the_image_and_block_of_what_is_not_finite_are_named(value):
    levels = [np.zeros((4, 3), "f4"), np.zeros((4, 2, 2), "f4")]
    check_finite(levels, 0)
    levels[1][2, 1, 0] = value
    with pytest.raises(ValueError, match=r"features must be finite \(NaN or infinity in block 2, image 66\)"):
        check_finite(levels, 64)


def test_rows_of_all_layers_come_side_by_side():
    levels = noisy(0, 10, (3, 7))
    with ExitStack() as stack:
        spool = Spool([3, 7], stack)
        spool.add(levels)
        found = list(spool.rows_of_all(4))
        assert [tuple(part.shape for part in parts) for parts in found] == [
            ((4, 3), (4, 7)),
            ((4, 3), (4, 7)),
            ((2, 3), (2, 7)),
        ]
        np.testing.assert_array_equal(spool.take(0, 8, 100), found[2][0])
        files = spool._files
    assert all(file.closed for file in files)
