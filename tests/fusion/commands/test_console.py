import pytest

import zoo
from tests.fusion.command import call


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
    printed = call(*given, "--output", tmp_path / "out", code=1)
    assert printed.startswith(said) or said in printed
    assert "Traceback" not in printed
    assert not (tmp_path / "out").exists()
    assert "mni152.npz" not in opened


def test_an_output_that_is_a_file_is_refused_before_the_work(tmp_path, monkeypatch):
    place = tmp_path / "out"
    place.write_text("mine")
    monkeypatch.setattr(zoo, "load", lambda *_: pytest.fail("worked before it looked"))
    for given in (("compare", "mae-mini", "mae-mini"), ("select",)):
        assert "output must be a folder (got the file" in call(*given, "--output", place, code=1)
    assert place.read_text() == "mine"


def test_an_error_with_brackets_is_printed_whole(tmp_path):
    said = call("compare", "[mae]", "mae-mini", "--output", tmp_path / "out", code=1)
    assert "(got '[mae]')" in said
