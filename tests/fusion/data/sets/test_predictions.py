"""Probabilities as a CSV."""

from fusion.data.sets import predictions


def test_classes_are_told_from_the_other_columns():
    assert predictions.headings(["a", 1, "Path", "error"]) == ["a", "1", "probability of Path", "probability of error"]
