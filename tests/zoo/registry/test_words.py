import pytest

from zoo.registry.words import some


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "none"),
        (["b", "a"], "a, b"),
        ({"e", "d", "c", "b", "a"}, "a, b, c, d, e"),
        (list("gfedcba"), "a, b, c, d, e and 2 more"),
        (dict.fromkeys("fedcba"), "a, b, c, d, e and 1 more"),
    ],
)
def test_the_first_names_and_how_many_more(names, said):
    assert some(names) == said
