"""A study's folder: every result whole or not there, and of one study only."""

import json
import shutil

import numpy as np
import pytest

from fusion.study import folder, run
from fusion.study.results import read
from tests.fusion.study.small_studies import config


def test_another_config_or_other_data_are_refused(undisturbed, data, tmp_path):
    output = shutil.copytree(undisturbed, tmp_path / "study")
    with pytest.raises(ValueError, match=r"must be of the same config \(got others in labels, seeds\)"):
        run.run(config(labels=[24], seeds=[5]), output, data)
    with np.load(data) as file:
        np.savez(tmp_path / "other.npz", **{**file, "train_images": 255 - file["train_images"]})
    with pytest.raises(ValueError, match="must be of the same data"):
        run.run(config(), output, tmp_path / "other.npz")
    assert read.state(output).missing == []


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("version", "0.0.1", "version of sslzoo"),
        ("weights", {"mocov2-mini": "0"}, r"weights \(got cards with others\)"),
    ],
)
def test_results_of_another_version_or_other_weights_are_not_mixed(key, value, said, undisturbed, data, tmp_path):
    shutil.copytree(undisturbed, tmp_path / "study")
    place = tmp_path / "study" / "study.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), key: value}))
    with pytest.raises(ValueError, match=f"must be of the same {said}"):
        run.run(config(), tmp_path / "study", data)


FACTS = {"fingerprint": "f", "version": "1", "weights": {"a": "0"}, "cells": {}}


def test_what_landed_reads_back_and_is_done_unless_it_failed(tmp_path):
    with folder.opened(tmp_path):
        assert folder.record(tmp_path, "a") is None
        assert not folder.done(tmp_path, "a")
        (tmp_path / "work" / "a").mkdir()
        proba = np.arange(6.0).reshape(2, 3)
        folder.land(tmp_path, "a", {"key": "a", "status": "done", "auc": np.float32(0.5)}, {"probabilities": proba})
        folder.land(tmp_path, "b", {"key": "b", "status": "failed", "error": "x"}, None)
    assert folder.record(tmp_path, "a") == {"key": "a", "status": "done", "auc": 0.5}
    np.testing.assert_array_equal(folder.arrays(tmp_path / "cells" / "a.npz")["probabilities"], proba)
    assert (folder.done(tmp_path, "a"), folder.done(tmp_path, "b")) == (True, False)
    assert list(folder.records(tmp_path, ["a", "b", "c"])) == ["a"]
    assert not (tmp_path / "work" / "a").exists()
    assert not (tmp_path / "cells" / "b.npz").exists()


def test_a_folder_is_held_by_one_run_and_free_after_an_error(tmp_path):
    with pytest.raises(KeyError), folder.opened(tmp_path):
        raise KeyError("midway")
    with folder.opened(tmp_path):  # noqa: SIM117 - the inner one is refused
        with (
            pytest.raises(OSError, match=r"must be free \(another run holds it\)\. Wait for it"),
            folder.opened(tmp_path),
        ):
            pass
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["cells", "models", "work"]


def test_a_mark_tells_which_cell_was_begun_and_did_not_end(tmp_path):
    with folder.opened(tmp_path):
        with folder.begun_cell(tmp_path, "a"):
            assert folder.begun(tmp_path) == {"a"}
        assert folder.begun(tmp_path) == set()
        with pytest.raises(KeyError), folder.begun_cell(tmp_path, "b"):
            raise KeyError("died")
        assert folder.begun(tmp_path) == {"b"}
    with folder.opened(tmp_path):  # those of an earlier run say nothing
        assert folder.begun(tmp_path) == set()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fingerprint": "g"}, r"the same data \(got other images or labels\)"),
        ({"version": "2"}, r"the same version of sslzoo \(got another\)"),
        ({"weights": {"a": "1"}}, r"the same weights \(got cards with others\)"),
    ],
)
def test_other_facts_are_refused_and_change_nothing(change, said, tmp_path):
    folder.agree(tmp_path, {"name": "x"}, FACTS)
    assert (folder.config(tmp_path), folder.study(tmp_path)) == ({"name": "x"}, FACTS)
    with pytest.raises(ValueError, match=f"{said}. Choose another --output"):
        folder.agree(tmp_path, {"name": "x"}, FACTS | change)
    with pytest.raises(ValueError, match=r"the same config \(got others in labels, name\)"):
        folder.agree(tmp_path, {"name": "y", "labels": 1}, FACTS)
    assert (folder.config(tmp_path), folder.study(tmp_path)) == ({"name": "x"}, FACTS)
    folder.agree(tmp_path, {"name": "x"}, FACTS | {"cells": {"more": 1}})
    assert folder.study(tmp_path)["cells"] == {"more": 1}
    folder.agree(tmp_path, {"name": "x", "window": None}, FACTS)  # begun before there was the key
    with pytest.raises(ValueError, match=r"the same config \(got others in window\)"):
        folder.agree(tmp_path, {"name": "x", "window": [0.0, 1.0]}, FACTS)


def test_answers_count_for_the_part_that_they_were_given_to(tmp_path):
    assert not folder.answered(tmp_path, "a", "part")
    folder.answer(tmp_path, "a", "part", np.ones((2, 2)))
    assert folder.answered(tmp_path, "a", "part")
    assert not folder.answered(tmp_path, "a", "another")


def test_what_a_part_is_judged_against_is_kept_with_groups_where_there_are_any(tmp_path):
    folder.keep(tmp_path / "x.npz", np.array(["a", "b"]), None)
    folder.keep(tmp_path / "y.npz", np.array([[0, 1]]), np.array(["p"]))
    assert {name: values.tolist() for name, values in folder.arrays(tmp_path / "x.npz").items()} == {
        "labels": ["a", "b"]
    }
    assert folder.arrays(tmp_path / "y.npz")["groups"].tolist() == ["p"]


def test_failures_of_a_series_are_those_written_last(tmp_path):
    assert folder.failures(tmp_path) == {}
    folder.fail(tmp_path, {"first": "ValueError: x"})
    folder.fail(tmp_path, {"second": "OSError: y"})
    assert folder.failures(tmp_path) == {"second": "OSError: y"}
