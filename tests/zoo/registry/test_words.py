import unicodedata

import pytest

from zoo.registry import words
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


def test_what_a_terminal_would_obey_is_written_out():
    assert words.shown("plain é 漢 [red]\n\t") == "plain é 漢 [red]\n\t"
    assert words.shown("\x1b]0;x\x07\r\x00\x9b\u202e\u2069\u200b\ufeff\u2028\U000e0041\udc80") == (
        "\\x1b]0;x\\x07\\r\\x00\\x9b\\u202e\\u2069\\u200b\\ufeff\\u2028\\U000e0041\\udc80"
    )
    hidden = [chr(n) for n in range(0x110000) if not words.shown(chr(n)).isprintable() and chr(n) not in "\n\t"]
    assert {unicodedata.category(letter) for letter in hidden} <= {"Cn", "Co", "Zs"}
