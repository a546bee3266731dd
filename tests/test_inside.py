"""The pages of `fusion compare` and `fusion select`, and the commands from end to end."""

import csv
import dataclasses
import json
import re

import numpy as np
import pytest
from PIL import Image

import fusion
import fusion.commands
import zoo
from fusion.commands import compare as commands_compare
from fusion.commands import select
from fusion.data import sources
from fusion.data.sets import brain_regions
from fusion.features import extract
from fusion.report import charts, comparison, selection, style
from fusion.report.page import number
from fusion.similarity import compare
from fusion.similarity import compare as compare_
from fusion.similarity.compare import Comparison
from tests.small_fits import IMAGES, own
from tests.test_cli import call
from tests.test_pictures import DEPTHS, PAIR, SCAN, VALUES, interval
from tests.test_study_report import Reader

SQUARE = Comparison("cca", "<b>&'one'", "other@1", (DEPTHS, DEPTHS), np.vstack([VALUES, [0.1] * 4]), 64)
SIZES = compare.BatchSizes(("left@0.75", "right@1"), [4, 8], [0.51, 0.52], [0.91, 0.71], 12)


def compared(comparisons, **more):
    return comparison.comparison_page(comparisons, task="Images <of> brains.", **more)


def words(text):
    return " ".join(Reader(text).text.split())


def test_the_page_of_a_comparison_says_everything_in_order():
    text = compared([PAIR], batches=[SIZES], command="fusion compare left right")
    read = Reader(text)
    assert read.headings == [
        "left@0.75 and right@1",
        *("Every block beside every block", "Minibatch CKA over the batch size", "The command that made this page"),
    ]
    (values,) = read.under("Every block beside every block")
    assert values[0] == ["depth", "0.25", "0.5", "0.75", "1"]
    assert values[1] == ["0.25", "0.990", "0.500", "0.104", "\N{MINUS SIGN}0.061"]
    assert [row[0] for row in values[1:]] == ["0.25", "0.5", "0.75"]
    (sizes,) = read.under("Minibatch CKA over the batch size")
    assert sizes == [["images in a batch", "debiased", "biased"], ["4", "0.510", "0.910"], ["8", "0.520", "0.710"]]
    assert read.svgs == 2
    assert "debiased CKA, 120 images; rows: depth of left@0.75; columns: of right@1." in read.text
    assert "unrelated features give about 0" in read.text
    assert "does not say which of the two is better for a task" in read.text
    assert "fusion compare left right" in read.text


def test_nothing_is_outside_the_pages_and_names_are_text():
    for text in (compared([PAIR, SQUARE], command="x"), selection.selection_page(SCAN, task="<i>")):
        links = Reader(text).links
        assert links
        assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)
        assert not re.search(r"(href|src)=.https?:|url\(\W?http|@import|<script", text)
        assert "<b>" not in text
        assert "<i>" not in text
        assert "<!--" not in re.sub(r"<!-- [^<>]*? -->", "", text)  # matplotlib's comments hold names too
    assert "<b>&'one' and other@1" in Reader(compared([SQUARE])).headings[0]
    assert "Images <of> brains." in words(compared([SQUARE]))


def test_curves_stand_where_both_have_the_same_depths():
    tuned = dataclasses.replace(SQUARE, second="tuned", values=SQUARE.values / 2)
    read = Reader(compared([PAIR, SQUARE, tuned, dataclasses.replace(SQUARE, measure="cka")]))
    assert read.headings[0] == "4 comparisons of encoders"
    assert read.headings[-2:] == ["At the same depth"] * 2  # a measure each
    first, second = read.under("At the same depth")
    assert first[0] == ["depth", "<b>&'one' and other@1", "<b>&'one' and tuned"]
    assert first[1:] == [
        [f"{d:g}", number(v), number(v / 2)] for d, v in zip(DEPTHS, SQUARE.values.diagonal(), strict=True)
    ]
    assert len(second[0]) == 2
    assert Reader(compared([PAIR])).under("At the same depth") == []


@pytest.mark.parametrize(
    ("measure", "said"),
    [
        ("cka", "unrelated features give about 0"),
        ("biased-cka", "unrelated features give more than 0"),
        ("cca", "each is a linear map of the other"),
        ("minibatch-cka, batch 64", "as seen in batches of that size"),
    ],
)
def test_each_measure_is_read_in_its_own_way(measure, said):
    text = words(compared([dataclasses.replace(PAIR, measure=measure)]))
    assert said in text
    assert sum(name in text for name in comparison._READ.values()) == 1


def test_wide_tables_are_cut_so_that_they_fit_a_sheet():
    depths = tuple(k / 30 for k in range(1, 31))
    values = np.arange(60).reshape(2, 30) / 60
    tables = Reader(compared([Comparison("cka", "a", "b", (DEPTHS[:2], depths), values, 9)])).tables
    assert [len(rows[0]) for _, rows in tables] == [13, 13, 7]
    assert [cell for _, rows in tables for cell in rows[2][1:]] == [f"{v:.3f}" for v in values[1]]


def test_the_page_of_a_scan():
    read = Reader(selection.selection_page(SCAN, task="Regions.", command="fusion select"))
    assert read.headings == [
        "Which encoders to fuse, cut where",
        *("What to fuse", "Depth by depth", "Pairs", "How alike they are", "The command that made this page"),
    ]
    assert read.svgs == 2
    (levels,) = read.under("Depth by depth")
    assert levels[0] == ["encoder", "depth", "LogME", "H-score", "neighbours' AUC", "probe's AUC"]
    assert levels[1] == ["left", "0.25", "0.100", "2.000", "0.700", "\N{EN DASH}"]
    assert levels[3] == ["left", "0.75", "0.150", "2.000", "0.750", "0.900"]
    (pairs,) = read.under("Pairs")
    shown = ["left@0.75 + right@1", "0.880", "\N{MINUS SIGN}0.020", "0.400 [0.300, 0.500]", "0.600 [0.500, 0.700]"]
    assert pairs[1:] == [shown]
    (alike,) = read.under("How alike they are")
    assert alike[1] == ["left@0.75", "1.000", "0.400"]
    assert 'model = FusionClassifier(["left@0.75"], folds=5).fit(images, labels, groups)' in read.text


def test_only_the_recommended_rows_stand_out():
    text = selection.selection_page(SCAN, task="Regions.")
    rows = re.findall(r'<tr class="chosen"><th scope="row">(.*?)</th><td>(.*?)</td>', text)
    assert rows == [("left", "0.75"), ("right", "1")]


def test_the_verdict_in_words():
    alone = selection.verdict(SCAN)
    assert alone[0].startswith("Take left@0.75 alone: AUC 0.900 of its probe")
    assert alone[0].endswith("No partner adds to it.")
    assert "has AUC 0.650" in alone[1]
    assert "in 65 % of draws; the same depth of left in 95 %, right in 70 %. Other choices are close." in alone[2]
    both = dataclasses.replace(SCAN, recommended=["left@0.75", "right@1"], stability=SCAN.stability | {"set": 0.4})
    fused = selection.verdict(both, "images")
    assert fused[0].startswith("Fuse left@0.75 + right@1: AUC 0.900 of the mean of their probes")
    assert fused[2].startswith("Had other images been drawn")
    assert fused[2].endswith("The choice is not steady: others do about as well.")
    assert "judge the fusion on other images" in fused[3]
    steady = dataclasses.replace(SCAN, stability=SCAN.stability | {"set": 0.9})
    assert selection.verdict(steady)[2].endswith("The choice is steady.")
    said = 'model = FusionClassifier(["left@0.75", "right@1"], head="mean", folds=5).fit(images, labels)'
    assert selection.use(both, "images") == said


def test_one_encoder_has_no_pairs_and_three_have_a_matrix():
    levels = [level for level in SCAN.levels if level.encoder == "left"]
    one = dataclasses.replace(SCAN, levels=levels, depths={"left": 0.75}, pairs=[], stability={"left": 1.0, "set": 1.0})
    read = Reader(selection.selection_page(one, task="Regions."))
    assert read.headings[1:] == ["What to fuse", "Depth by depth"]
    assert "No partner" not in read.text
    third = [dataclasses.replace(level, encoder="third") for level in levels]
    more = [
        dataclasses.replace(SCAN.pairs[0], names=(name, "third@0.75"), kappa=interval(float("nan")))
        for name in ("left@0.75", "right@1")
    ]
    depths = {**SCAN.depths, "third": 0.75}
    three = dataclasses.replace(SCAN, levels=SCAN.levels + third, depths=depths, pairs=SCAN.pairs + more)
    read = Reader(selection.selection_page(three, task="Regions."))
    assert read.svgs == 3
    assert read.under("Pairs")[0][2][-1] == "\N{EN DASH} [\N{EN DASH}, \N{EN DASH}]"
    names, cka, kappa = selection.similarities(three)
    assert names == ["left@0.75", "right@1", "third@0.75"]
    np.testing.assert_array_equal(cka, [[1, 0.4, 0.4], [0.4, 1, 0.4], [0.4, 0.4, 1]])
    np.testing.assert_array_equal(kappa[2], [np.nan, np.nan, 1])


def test_the_same_page_gives_the_same_text_and_none_is_refused():
    assert compared([PAIR], batches=[SIZES]) == compared([PAIR], batches=[SIZES])
    with pytest.raises(ValueError, match="comparisons must be one or more"):
        compared([])


def test_numbers_as_text():
    assert [number(v) for v in (0.12345, -0.5, -0.0001, None, float("nan"))] == [
        *("0.123", "\N{MINUS SIGN}0.500", "0.000"),
        *("\N{EN DASH}", "\N{EN DASH}"),
    ]


def test_over_batch_sizes_is_the_library_s_minibatch_cka(tmp_path):
    pair = own(tmp_path, "left", seed=2), own(tmp_path, "right", 0.75, seed=3)
    found = compare.over_batch_sizes(*pair, IMAGES)
    x, y = (extract.extract(encoder, IMAGES) for encoder in pair)
    assert found.sizes == [4, 8, 16]
    assert found.debiased == [fusion.minibatch_cka(x, y, batch=n) for n in (4, 8, 16)]
    assert found.biased == [fusion.minibatch_cka(x, y, batch=n, debiased=False) for n in (4, 8, 16)]
    assert (found.names, found.images) == (("left@1", "right@0.75"), 24)
    many = np.random.default_rng(0).integers(0, 256, (520, 32, 32), dtype=np.uint8)
    found = compare.over_batch_sizes(*pair, many)
    assert (found.sizes[-1], found.images) == (256, 512)


@pytest.fixture
def opened(monkeypatch):
    """The names of the files of the shipped task that were opened."""
    names, load = [], np.load

    def spy(path, *args, **kwargs):
        names.append(path.name)
        return load(path, *args, **kwargs)

    monkeypatch.setattr(brain_regions.np, "load", spy)
    return names


def test_compare_from_end_to_end(tmp_path, opened):
    output, out = tmp_path / "deep" / "out", tmp_path / "out.json"
    names = ("mocov2-mini@0.5", "mae-mini@0.25")
    said = call(fusion.commands.app, "compare", *names, "--limit", 24, "--output", output, "--json", out)
    assert opened == ["colin27.npz"]
    part = fusion.brain_regions("validation")
    drawn = part.images[np.random.default_rng(0).permutation(len(part.images))[:24]]
    expected = fusion.compare(*names, drawn)
    found = json.loads(out.read_text())
    assert found["values"] == expected.values.tolist()
    assert found["depths"] == [list(depths) for depths in expected.depths]
    assert [found[key] for key in ("measure", "first", "second", "images")] == ["cka", *names, 24]
    assert found["batch_sizes"]["sizes"] == [4, 8, 16]
    assert sorted(path.name for path in output.iterdir()) == ["cka.png", "cka.svg", "report.html", "values.csv"]
    with (output / "values.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["value"]) for row in rows] == expected.values.ravel().tolist()
    assert [(row["first_depth"], row["second_depth"]) for row in rows[:3]] == [
        *(("0.125", "0.125"), ("0.125", "0.25")),
        ("0.25", "0.125"),
    ]
    figure = charts.heat_map(expected)
    for suffix in ("svg", "png"):
        style.save(figure, tmp_path / f"own.{suffix}")
    assert (output / "cka.svg").read_text() == (tmp_path / "own.svg").read_text()
    with Image.open(output / "cka.png") as image, Image.open(tmp_path / "own.png") as other:
        assert image.tobytes() == other.tobytes()
    page = words((output / "report.html").read_text())
    assert "24 images, drawn from the validation part of brain-regions." in page
    command = "fusion compare mocov2-mini@0.5 mae-mini@0.25 --data brain-regions --measure cka --limit 24"
    assert command in page
    assert "best match at" in said
    assert "same depth" not in said  # they have not the same blocks
    best = expected.depths[1][int(expected.values[0].argmax())]
    assert f"0.125 {best:g} {number(expected.values[0].max())}" in said


def test_compare_with_the_same_blocks_prints_the_diagonal(tmp_path):
    given = ("compare", "mae-mini@0.25", "mae-mini@0.25", "--measure", "biased-cka", "--limit", 16)
    said = call(fusion.commands.app, *given, "--output", tmp_path)
    assert "depth same depth best match at value" in said
    assert "0.125 1.000 0.125 1.000" in said
    assert (tmp_path / "biased-cka.png").exists()


def test_select_from_end_to_end(tmp_path, opened):
    out, names = tmp_path / "out.json", ("mocov2-mini@0.125", "mae-mini@0.125")
    said = call(fusion.commands.app, "select", *names, "--labels", 60, "--output", tmp_path / "out", "--json", out)
    assert opened == ["colin27.npz"]
    train = fusion.brain_regions("train", labels=60)
    expected = fusion.scan(names, train.images, train.labels, train.groups)
    found = json.loads(out.read_text())
    assert found.pop("python") == selection.use(expected)
    assert found == json.loads(json.dumps(select._plain(dataclasses.asdict(expected))))
    made = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert made == ["depths.png", "depths.svg", "levels.csv", "map.png", "map.svg", "report.html"]
    with (tmp_path / "out" / "levels.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["logme"]) for row in rows] == [level.logme for level in expected.levels]
    chosen = {row["encoder"]: float(row["depth"]) for row in rows if row["recommended"] == "True"}
    assert chosen == expected.depths
    for line in (*selection.verdict(expected), selection.use(expected)):
        assert line in said
    page = words((tmp_path / "out" / "report.html").read_text())
    assert "60 images of 6 classes in 6 groups, drawn from the train part of brain-regions." in page


def test_what_is_not_a_number_is_null_in_json():
    found = select._plain({"a": (float("nan"), 1.0), "b": [{"c": np.float64("nan")}], "d": None, "e": "x"})
    assert found == {"a": [None, 1.0], "b": [{"c": None}], "d": None, "e": "x"}


@pytest.fixture
def table(tmp_path):
    """Ten images of each of two classes as a CSV with patients and splits, sorted by class."""
    rows = ["path,label,patient,split"]
    train = fusion.brain_regions("train")
    for label in ("cerebellum", "parietal"):
        for i, image in enumerate(train.images[train.labels == label][::40][:10]):
            Image.fromarray(image).save(tmp_path / f"{label}{i}.png")
            rows.append(f"{label}{i}.png,{label},{label}{i},{'test' if i == 9 else 'train'}")
    (tmp_path / "data.csv").write_text("\n".join(rows))
    return tmp_path / "data.csv"


def test_a_csv_with_patients_and_splits(table, tmp_path):
    out = tmp_path / "out"
    given = ("mae-mini@0.125", "--data", table, "--split", "train", "--output", out)
    call(fusion.commands.app, "select", *given, "--folds", 3)
    page = words((out / "report.html").read_text())
    assert f"18 images of 2 classes in 18 groups, all of {table}, split train." in page
    assert "--split train --folds 3" in page

    assert not (out / "map.png").exists()
    call(fusion.commands.app, "compare", "mae-mini@0.125", *given)
    assert "18 images, all of" in words((out / "report.html").read_text())


def test_select_leaves_the_test_part_of_a_csv_alone(table, tmp_path):
    call(
        fusion.commands.app,
        "select",
        "mae-mini@0.125",
        "--data",
        table,
        "--folds",
        3,
        "--output",
        tmp_path / "out",
    )
    page = words((tmp_path / "out" / "report.html").read_text())
    assert f"18 images of 2 classes in 18 groups, all of {table}, split train." in page
    table.write_text(re.sub(",[^,]*$", "", table.read_text(), flags=re.MULTILINE))  # without splits: all
    call(
        fusion.commands.app,
        "select",
        "mae-mini@0.125",
        "--data",
        table,
        "--folds",
        3,
        "--output",
        tmp_path / "out",
    )
    assert "20 images of 2 classes" in words((tmp_path / "out" / "report.html").read_text())


def test_images_are_in_a_drawn_order(table):
    part, _ = sources.open_all(str(table), "validation", None)
    assert part.labels.tolist() == sorted(part.labels)
    mixed = commands_compare._shuffled(part, None)
    assert mixed.labels.tolist() != sorted(part.labels)
    assert sorted(map(str, mixed.images)) == sorted(map(str, part.images))
    assert all(label in path.name for label, path in zip(mixed.labels, mixed.images, strict=True))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("compare", "mae-mimi", "mae-mini"), "name must be a known checkpoint (got 'mae-mimi'). Nearest: mae-mini"),
        (("compare", "mae-mini", "mae-mini@2"), "depth must be in (0, 1]"),
        (("compare", "mae-mini", "mae-mini", "--measure", "ckb"), "measure must be one of cka, biased-cka, cca"),
        (("compare", "mae-mini", "mae-mini", "--limit", 0), "limit must be from 1 to the images, 2142 (got 0)."),
        (("compare", "mae-mini", "mae-mini", "--limit", 3), "images and batch must be at least 4 (got 3 and 64)."),
        (("compare", "mae-mini", "mae-mini", "--split", "test"), "(got 'test'): the test brain stays closed."),
        (("compare", "mae-mini", "mae-mini", "--data", "nowhere"), "data must be a folder or a CSV (got 'nowhere'"),
        (("select", "--split", "test"), "split of brain-regions must be train or validation (got 'test')"),
        (("select", "--labels", 5000), "labels must be at most the training images, 4030 (got 5000)."),
        (("select", "mae-mini", "mae-mini@0.5", "--labels", 60), "encoders must be given once each"),
        (("select", "mae-mini@0.125", "--labels", 60, "--folds", 7), "folds must not exceed the groups"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(given, said, tmp_path, opened):
    printed = call(fusion.commands.app, *given, "--output", tmp_path / "out", code=1)
    assert printed.startswith(said) or said in printed
    assert "Traceback" not in printed
    assert not (tmp_path / "out").exists()
    assert "mni152.npz" not in opened


def test_an_output_that_is_a_file_is_refused_before_the_work(tmp_path, monkeypatch):
    place = tmp_path / "out"
    place.write_text("mine")
    monkeypatch.setattr(zoo, "load", lambda *_: pytest.fail("worked before it looked"))
    for given in (("compare", "mae-mini", "mae-mini"), ("select",)):
        assert "output must be a folder (got the file" in call(fusion.commands.app, *given, "--output", place, code=1)
    assert place.read_text() == "mine"


def test_an_error_with_brackets_is_printed_whole(tmp_path):
    said = call(fusion.commands.app, "compare", "[mae]", "mae-mini", "--output", tmp_path / "out", code=1)
    assert "(got '[mae]')" in said


def test_changes_of_a_saved_model(tmp_path, monkeypatch):
    train = fusion.brain_regions("train", labels=24)
    settings = fusion.Training(epochs=1, patience=None, learning_rate=0.01)
    pair = ["mocov2-mini@0.25", "mae-mini@0.25"]
    fusion.FusionClassifier(pair, strategy="full", training=settings, folds=2).fit(train.images, train.labels).save(
        tmp_path / "model"
    )
    call(fusion.commands.app, "changes", tmp_path / "model", "--limit", 64, "--output", tmp_path / "out")
    with (tmp_path / "out" / "values.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    titles = list(dict.fromkeys((row["first"], row["second"]) for row in rows))
    assert titles == [
        *((name, f"{name}, fine-tuned") for name in pair),
        tuple(pair),
        tuple(f"{name}, fine-tuned" for name in pair),
    ]
    assert len(rows) == 4 * 2 * 2
    own = [float(r["value"]) for r in rows if r["second"].startswith("mae") and r["first"].startswith("mae")]
    assert 0 < min(own) < max(own) < 1
    assert len(list((tmp_path / "out").glob("cka-*.png"))) == 4
    assert "fusion changes" in (tmp_path / "out" / "report.html").read_text()
    monkeypatch.setattr(compare_, "_size", lambda encoder: encoder.name)
    said = call(fusion.commands.app, "changes", tmp_path / "model", "--limit", 64, "--output", tmp_path / "sizes")
    assert "Encoders whose images differ in size are not compared with one another." in said
    assert len(list((tmp_path / "sizes").glob("cka-*.png"))) == 2
    call(fusion.commands.app, "changes", tmp_path / "none", "--output", tmp_path / "never", code=1)
    assert not (tmp_path / "never").exists()
