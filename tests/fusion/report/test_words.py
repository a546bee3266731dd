from fusion.report import words


def test_budgets_in_words():
    assert [words.labels_name(n) for n in (None, 60, 0.1, 1.0)] == [
        "all labels",
        "60 labels",
        "10 % of labels",
        "100 % of labels",
    ]
