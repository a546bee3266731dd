"""What fine-tuning moved, mistakes in common, likeness against gain."""

import csv
import itertools
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import zoo
from fusion.data.sets import sources
from fusion.estimators.classifier import FusionClassifier
from fusion.evaluation.agreement import agreement
from fusion.evaluation.correlation import correlation, gain
from fusion.similarity.pixel_cca import cca_of, pixel_cca, sample
from fusion.study import cell as cell_
from fusion.study import config, series
from fusion.study.cell import Task
from fusion.study.results import inside, inside_page
from fusion.study.results import read as read_
from fusion.study.results import series as series_
from fusion.study.series import Member
from tests.fusion.study.results.judged_series import CONFIG

pytestmark = pytest.mark.slow  # a series of four folds, judged

SOURCES = ("mocov2-mini@0.5", "mae-mini@0.5", "untrained:mocov2-mini@0.5")


def of(found, member, first, second):
    (entry,) = (e for e in found.likeness if (e.run.member, e.first, e.second) == (member, first, second))
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
    assert of(found, found.likeness[0].run.member, SOURCES[2], f"{SOURCES[2]}, another draw")[1] < 0.9


def test_one_value_by_hand(found, folder):
    member = series.parts(folder)[1]
    results = read_.results(member.folder)
    (row,) = (c.row for c in results.chosen if c.row.encoders == (SOURCES[1],))
    train, validation = sources.open_parts(member.source)
    task = Task(row, member.folder, "full", {}, None, train, validation, None, alone=False)
    images = sources.open_test(member.source).images
    tuned = FusionClassifier.load(member.folder / "models" / row.key, encoders=cell_.fresh(task)).encoders_[0]
    expected = pixel_cca(cell_.encoders(task)[0], tuned, images)
    assert of(found, member, SOURCES[1], f"{SOURCES[1]}, full") == pytest.approx(expected, abs=1e-9)


def test_mistakes_are_those_of_the_kept_answers(found, folder):
    assert len(found.together) == 4 * 3  # of three fully tuned models; the probe stands alone
    entry = next(e for e in found.together if (e.first, e.second) == SOURCES[:2])
    results = read_.results(entry.run.member.folder)
    rows, truth = results.test
    said = {row.encoders[0]: truth.classes[row.probabilities[0].argmax(1)] for row in rows if row.strategy == "full"}
    expected = agreement(truth.labels, said[SOURCES[0]], said[SOURCES[1]], resamples=1)
    assert entry.found.errors.value == expected.errors.value
    assert entry.found.expected.value == expected.expected.value


def test_trends_are_against_the_gain_over_random_weights(found, folder):
    series_.write(folder)
    with (folder / "folds.csv").open() as stream:
        aucs = {(r["fold"], r["encoders"], r["strategy"]): float(r["test_auc"]) for r in csv.DictReader(stream)}
    (trend,) = (t for t in found.trends if (t.encoder, t.strategy, t.quarter) == (SOURCES[1], "full", 2))
    rises = [gain(aucs[str(k), SOURCES[1], "full"], aucs[str(k), SOURCES[2], "full"]) for k in range(1, 5)]
    likeness = [e.quarters[1] for e in found.likeness if (e.first, e.second) == (SOURCES[1], f"{SOURCES[1]}, full")]
    assert trend.found.pearson.value == pytest.approx(np.corrcoef(likeness, rises)[0, 1], abs=0.02)
    assert trend.found.points == 4
    assert not [t for t in found.trends if t.strategy == "probe"]  # nothing moved: no correlation is defined
    assert not [t for t in found.trends if t.encoder == SOURCES[2]]
    still = {f"{SOURCES[0]}, probe, 12 labels, quarter {q}": "likeness is the same in all folds" for q in (1, 2)}
    assert found.left_out == still


def test_draws_of_random_weights_are_settled_as_those_of_a_cell_are(found, folder):
    member = series.parts(folder)[2]
    row = next(c.row for c in read_.results(member.folder).chosen if c.row.encoders == (SOURCES[2],))
    parts, images = sources.open_parts(member.source), sources.open_test(member.source).images
    tasks = [
        Task(replace(row, seed=seed), member.folder, "full", {}, None, *parts, None, alone=False) for seed in (100, 101)
    ]
    expected = cca_of(*(sample(*cell_.encoders(task), images) for task in tasks))
    assert of(found, member, SOURCES[2], f"{SOURCES[2]}, another draw") == pytest.approx(expected, abs=1e-9)


@pytest.mark.slow
def test_models_are_compared_with_those_of_their_budget_and_seed(several, changes):
    found, _ = changes
    assert len(found.likeness) == 2 * 2 * (2 + 2 + 1)  # each moved; the two before and after; two draws
    assert len(found.together) == 2 * 2
    (member,) = series.parts(several)
    rows, truth = read_.results(member.folder).test
    for labels, place in itertools.product((12, 24), (0, 1)):
        said = [truth.classes[row.probabilities[place].argmax(1)] for row in rows if row.labels == labels]
        expected = agreement(truth.labels, *said, resamples=1)
        (entry,) = (e for e in found.together if e.run == inside.Run(member, labels, place))
        assert (entry.found.same.value, entry.found.errors.value) == (expected.same.value, expected.errors.value)


@pytest.mark.slow
def test_one_value_of_another_seed_by_hand(several, changes):
    (member,), source = series.parts(several), "untrained:mocov2-mini@0.25"
    chosen = read_.results(member.folder).chosen
    (cell,) = (c for row in chosen for c in row.cells if (c.encoders, c.labels, c.seed) == ((source,), 24, 1))
    parts, images = sources.open_parts(member.source), sources.open_test(member.source).images
    task = Task(cell, member.folder, "full", {}, None, *parts, None, alone=False)
    tuned = FusionClassifier.load(member.folder / "models" / cell.key).encoders_[0]
    (entry,) = (
        e
        for e in changes[0].likeness
        if e.run == inside.Run(member, 24, 1) and (e.first, e.second) == (source, f"{source}, full")
    )
    assert entry.quarters == pytest.approx(pixel_cca(cell_.encoders(task)[0], tuned, images), abs=1e-9)


@pytest.mark.slow
def test_gains_are_of_mean_aucs_of_a_budget(several, changes):
    series_.write(several)
    with (several / "folds.csv").open() as stream:
        aucs = {(r["encoders"], r["labels"]): float(r["test_auc"]) for r in csv.DictReader(stream)}
    assert {key: len(own) for key, own in changes[1].items()} == {
        ("mocov2-mini@0.25", "full", labels): 2 for labels in (12, 24)
    }
    for (name, _, labels), own in changes[1].items():
        rise = gain(aucs[name, str(labels)], aucs[f"untrained:{name}", str(labels)])
        assert [point.gain for point in own] == pytest.approx([rise, rise], abs=5e-4)


def stand_in(name, depth, auc, validation=0.5):
    """A model of which only the gain is asked for."""
    cell = SimpleNamespace(encoders=(f"{name}@{depth}",), strategy="full")
    source = zoo.untrained(name.removeprefix("untrained:"), depth)
    return inside._Model(SimpleNamespace(cell=cell), source, [], [], None, auc, validation)


def test_a_gain_is_over_random_weights_of_the_same_architecture():
    control = "untrained:mocov2-mini"
    models = [
        stand_in(control, 0.5, 0.9),
        stand_in(control, 0.25, 0.5, 0.6),
        stand_in(control, 0.25, 0.8, 0.7),  # by another strategy, which validation prefers
        stand_in("untrained:supervised-natural-vgg19", 0.25, 0.7),
    ]
    assert inside._gain(stand_in("mocov2-mini", 0.25, 0.9), models) == pytest.approx(gain(0.9, 0.8))
    assert inside._gain(stand_in("mae-mini", 0.5, 0.9), models) == 0  # the twins are of one architecture
    assert inside._gain(stand_in("mae-mini", 0.75, 0.9), models) is None


def test_a_source_without_random_weights_of_its_own_is_left_out_with_the_reason(folder, monkeypatch):
    rise = inside._gain
    monkeypatch.setattr(inside, "_gain", lambda m, own: None if m.name == SOURCES[1] else rise(m, own))
    monkeypatch.setattr(series, "parts", lambda _, parts=series.parts: parts(folder)[:1])
    found = inside.measure(folder)
    assert found.left_out[SOURCES[1]] == "no random weights of its architecture and depth are in the series"
    assert not any(SOURCES[1] in what for what in found.left_out if what != SOURCES[1])
    assert f"Left out: {SOURCES[1]}: no random weights" in " ".join(inside_page.page(found).sections[-1].sentences)


def points(targets, likeness, gains):
    """Two folds of each target, of one quarter."""
    members = [Member(target, fold, "", Path(target)) for target in targets for fold in (1, 2)]
    own = [inside._Change(m, [a], b) for m, a, b in zip(members, likeness, gains, strict=True)]
    return {("x@1", "full", 12): own}


VARIED = np.linspace(0.3, 0.8, 8) ** 2


@pytest.mark.parametrize(
    ("targets", "likeness", "gains", "why"),
    [
        ("aabb", VARIED, np.full(8, 0.1), "gain is the same in all folds"),
        ("abcd", VARIED, np.full(8, 0.1), "gain is the same in all folds"),
        ("abcd", np.full(8, 1 - 1e-9), VARIED, "likeness is the same in all folds"),
        ("abcd", [0.4, 0.5, *[1.0] * 6], VARIED, "without the target a, likeness is the same in all folds"),
        ("abcd", VARIED, [*[0.1] * 6, 0.3, 0.2], "without the target d, gain is the same in all folds"),
    ],
)
def test_a_trend_that_is_not_defined_is_left_out_with_the_reason(targets, likeness, gains, why):
    trends, left_out = inside._trends(points(targets, likeness, gains))
    assert (trends, left_out) == ([], {"x@1, full, 12 labels, quarter 1": why})


def test_whole_targets_are_left_out_where_there_are_four():
    rises = np.sin(np.arange(8))
    for targets, groups in (("abcd", np.repeat(list("abcd"), 2)), ("abc", None)):
        count = 2 * len(targets)
        (trend,), left_out = inside._trends(points(targets, VARIED[:count], rises[:count]))
        assert (trend.found, left_out) == (correlation(VARIED[:count], rises[:count], groups), {})


def test_what_cannot_be_measured_is_refused_before_any_model_runs(folder, data, tmp_path, monkeypatch):
    shutil.copytree(folder, tmp_path / "unjudged")
    last = series.parts(tmp_path / "unjudged")[-1].folder
    next(path for path in (last / "final").glob("*.npz") if path.stem != "part").unlink()
    with np.load(data) as file:
        numbers = {key: values for key, values in file.items() if key.endswith("labels")}
        tables = {key: np.c_[values == 0, values == 1].astype(int) for key, values in numbers.items()}
        np.savez(tmp_path / "labels.npz", **{**file, **tables})
    probes = {"encoders": [SOURCES[0]], "only": {}, "strategies": ["probe"], "reference": "probe", "folds": 3}
    given = {**CONFIG, **probes, "targets": {"plain": str(data), "several": str(tmp_path / "labels.npz")}}
    series.run(config.parse(given, "test"), tmp_path / "study", final=True)
    monkeypatch.setattr(inside, "_model", None)
    with pytest.raises(ValueError, match=r"fold 4 must be judged on its test part first"):
        inside.measure(tmp_path / "unjudged")
    with pytest.raises(
        ValueError, match=r"^several, fold 1 must have one label per image, .* \(got 2 labels of 0 and 1\)"
    ):
        inside.measure(tmp_path / "study")


def test_what_is_no_judged_series_is_refused(folder, data, tmp_path):
    single = series.parts(folder)[0].folder
    with pytest.raises(ValueError, match=r"must hold a series \(got a single study\)"):
        inside.measure(single)
    unjudged = tmp_path / "study"
    series.run(
        config.parse(
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
        inside.measure(unjudged)
