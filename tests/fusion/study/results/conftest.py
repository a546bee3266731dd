"""Series whose test parts are judged, and what changed inside of their models."""

import pytest

from fusion.study import config, series
from fusion.study.results import inside
from tests.fusion.study.results.judged_series import CONFIG


@pytest.fixture(scope="session")
def folder(data, tmp_path_factory):
    """Four folds of one target, judged on their test parts."""
    output = tmp_path_factory.mktemp("inside") / "study"
    series.run(config.parse({**CONFIG, "data": str(data)}, "test"), output, final=True)
    return output


@pytest.fixture(scope="session")
def found(folder):
    return inside.measure(folder)


@pytest.fixture(scope="session")
def several(data, tmp_path_factory):
    """Two label budgets and two seeds of each row, in one study."""
    output = tmp_path_factory.mktemp("inside") / "several"
    values = {
        **CONFIG,
        "folds": None,
        "targets": {"tiny": str(data)},
        "encoders": ["mocov2-mini@0.25", "untrained:mocov2-mini@0.25"],
        "strategies": ["full"],
        "only": {},
        "labels": [12, 24],
        "seeds": [0, 1],
    }
    series.run(config.parse(values, "test"), output, final=True)
    return output


@pytest.fixture(scope="session")
def changes(several):
    """What was measured, and the points of its trends."""
    points = {}
    with pytest.MonkeyPatch.context() as patch:
        trends = inside._trends
        patch.setattr(inside, "_trends", lambda own: (points.update(own), trends(own))[1])
        return inside.measure(several), points
