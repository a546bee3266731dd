"""The page of `fusion select`."""

import dataclasses
import re

import numpy as np

from fusion.report import selection
from tests.fusion.report.reader import Reader
from tests.fusion.report.small_results import SCAN, interval


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
    assert "chosen anew without each fold that judges them" in fused[3]
    assert "standard error" not in fused[0]  # NaN: one fold only could be judged
    said = selection.verdict(dataclasses.replace(SCAN, spread=0.0213))[0]
    assert "AUC 0.900 of its probe (standard error over folds 0.021), on images that neither" in said
    steady = dataclasses.replace(SCAN, stability=SCAN.stability | {"set": 0.9})
    assert selection.verdict(steady)[2].endswith("The choice is steady.")
    said = 'model = FusionClassifier(["left@0.75", "right@1"], head="mean", folds=5).fit(images, labels)'
    assert selection.use(both, "images") == said
    loads = [f'zoo.load("{name}", window=[0.0, 80.0])' for name in both.recommended]
    windowed = said.replace('["left@0.75", "right@1"]', f"[{', '.join(loads)}]")
    assert selection.use(both, "images", (0.0, 80.0)) == windowed
    assert loads[1] in Reader(selection.selection_page(both, task="Regions.", window=(0.0, 80.0))).text


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


def test_what_was_judged_on_copies_says_so_and_is_fitted_so():
    shifted = dataclasses.replace(SCAN, select="shifted")
    assert "on images and shifted copies that neither probes nor choice had seen" in selection.verdict(shifted)[0]
    assert ', select="shifted").fit(' in selection.use(shifted)
    assert "select=" not in selection.use(SCAN)
