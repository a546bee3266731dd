"""S3's tables of a series: what fine-tuning moved, mistakes in common, likeness against gain."""

import csv

import numpy as np
import pytest

from fusion import (
    fitting,
    representation_page,
    representations,
    series,
    series_pages,
    study,
    study_config,
    study_data,
    study_pages,
)
from fusion.classifier import FusionClassifier
from fusion.fitting import Task
from fusion.pixels import pixel_cca
from fusion.predictions import agreement, gain
from tests.test_study import call, data  # noqa: F401 - `data` is a fixture
from tests.test_study_report import Reader

CONFIG = {
    "name": "inside",
    "folds": 4,
    "encoders": ["mocov2-mini@0.5", "mae-mini@0.5", "untrained:mocov2-mini@0.5"],
    "strategies": ["full", "probe"],
    "only": {"mae-mini": ["full"], "untrained:mocov2-mini": ["full"]},
    "learning_rates": [1e-2],
    "training": {"epochs": 1, "batch": 12},
    "labels": [12],
    "seeds": [0],
    "reference": "full",
    "raw_pixels": False,
}
SOURCES = ("mocov2-mini@0.5", "mae-mini@0.5", "untrained:mocov2-mini@0.5")


@pytest.fixture(scope="module")
def folder(data, tmp_path_factory):  # noqa: F811
    """Four folds of one target, judged on their test parts."""
    output = tmp_path_factory.mktemp("inside") / "study"
    study.run_series(study_config.parse({**CONFIG, "data": str(data)}, "test"), output, final=True)
    return output


@pytest.fixture(scope="module")
def found(folder):
    return representations.measure(folder)


def of(found, member, first, second):
    (entry,) = (e for e in found.likeness if (e.member, e.first, e.second) == (member, first, second))
    return entry.quarters


def test_every_pair_of_every_fold_is_there(found):
    pairs = list(dict.fromkeys((entry.first, entry.second) for entry in found.likeness))
    contrastive, restorative, random = SOURCES
    assert set(pairs) == {
        *((name, f"{name}, full") for name in SOURCES),
        (contrastive, f"{contrastive}, probe"),
        (f"{contrastive}, full", f"{restorative}, full"),
        (f"{contrastive}, full", f"{random}, full"),
        (f"{restorative}, full", f"{random}, full"),
        (contrastive, restorative),
        (contrastive, random),
        (restorative, random),
        (random, f"{random}, another draw"),
    }
    assert len(found.likeness) == 4 * len(pairs)
    assert all(len(entry.quarters) == 2 for entry in found.likeness)


def test_a_probe_moves_nothing_and_full_does(found):
    for entry in found.likeness:
        if entry.second.endswith(", probe"):
            assert entry.quarters == pytest.approx([1, 1], abs=1e-6)
        if entry.second == f"{entry.first}, full":
            assert max(entry.quarters) < 1 - 1e-4
    assert of(found, found.likeness[0].member, SOURCES[2], f"{SOURCES[2]}, another draw")[1] < 0.9


def test_one_value_by_hand(found, folder):
    member = series.parts(folder)[1]
    results = study_pages.results(member.folder)
    (row,) = (c.row for c in results.chosen if c.row.encoders == (SOURCES[1],))
    train, validation = study_data.open_parts(member.source)
    task = Task(row, member.folder, "full", {}, None, train, validation, None, alone=False)
    images = study_data.open_test(member.source).images
    tuned = FusionClassifier.load(member.folder / "models" / row.key, encoders=fitting.fresh(task)).encoders_[0]
    expected = pixel_cca(fitting.encoders(task)[0], tuned, images)
    assert of(found, member, SOURCES[1], f"{SOURCES[1]}, full") == pytest.approx(expected, abs=1e-9)


def test_mistakes_are_those_of_the_kept_answers(found, folder):
    assert len(found.together) == 4 * 3  # of three fully tuned models; the probe stands alone
    entry = next(e for e in found.together if (e.first, e.second) == SOURCES[:2])
    results = study_pages.results(entry.member.folder)
    rows, truth = results.test
    said = {row.encoders[0]: truth.classes[row.probabilities[0].argmax(1)] for row in rows if row.strategy == "full"}
    expected = agreement(truth.labels, said[SOURCES[0]], said[SOURCES[1]], resamples=1)
    assert entry.found.errors.value == expected.errors.value
    assert entry.found.expected.value == expected.expected.value


def test_trends_are_against_the_gain_over_random_weights(found, folder):
    series_pages.write(folder)
    with (folder / "folds.csv").open() as stream:
        aucs = {(r["fold"], r["encoders"], r["strategy"]): float(r["test_auc"]) for r in csv.DictReader(stream)}
    (trend,) = (t for t in found.trends if (t.encoder, t.strategy, t.quarter) == (SOURCES[1], "full", 2))
    rises = [gain(aucs[str(k), SOURCES[1], "full"], aucs[str(k), SOURCES[2], "full"]) for k in range(1, 5)]
    likeness = [e.quarters[1] for e in found.likeness if (e.first, e.second) == (SOURCES[1], f"{SOURCES[1]}, full")]
    assert trend.found.pearson.value == pytest.approx(np.corrcoef(likeness, rises)[0, 1], abs=0.02)
    assert trend.found.points == 4
    assert not [t for t in found.trends if t.strategy == "probe"]  # nothing moved: no correlation is defined
    assert not [t for t in found.trends if t.encoder == SOURCES[2]]


def test_the_page_and_the_tables(found, folder):
    said = call("inside", folder)
    assert all(name in said for name in ("inside.html", "representations.csv", "predictions.csv", "correlations.csv"))
    with (folder / "representations.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2 * len(found.likeness)
    assert float(rows[0]["cca"]) == pytest.approx(found.likeness[0].quarters[0], abs=1e-4)
    read = Reader((folder / "inside.html").read_text())
    assert read.headings[1:] == ["Likeness by quarter", "Mistakes in common", "Likeness against gain"]
    means = representation_page.means(found)
    (table,) = read.under("Likeness by quarter")
    assert [row[0] for row in table[1:]] == list(means)
    assert read.svgs == 1


def test_what_is_no_judged_series_is_refused(folder, data, tmp_path):  # noqa: F811
    single = series.parts(folder)[0].folder
    with pytest.raises(ValueError, match=r"must hold a series \(got a single study\)"):
        representations.measure(single)
    unjudged = tmp_path / "study"
    study.run_series(
        study_config.parse(
            {
                **CONFIG,
                "folds": 3,
                "data": str(data),
                "encoders": [SOURCES[0]],
                "only": {},
                "strategies": ["probe"],
                "reference": "probe",
            },
            "test",
        ),
        unjudged,
    )
    with pytest.raises(ValueError, match="must be judged on its test part first"):
        representations.measure(unjudged)
