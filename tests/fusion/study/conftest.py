"""A series that is judged, undisturbed."""

import pytest

from fusion.study import series as series_
from fusion.study.results import series
from tests.fusion.study.small_series import config


@pytest.fixture(scope="session")
def whole(data, tmp_path_factory):
    """Two targets, three folds each, judged on their test parts, undisturbed."""
    output = tmp_path_factory.mktemp("series") / "study"
    (output.parent / "again.npz").symlink_to(data)
    given = config(targets={"first": str(data), "second": str(output.parent / "again.npz")})
    series_.run(given, output, final=True)
    series.write(output)
    return output
