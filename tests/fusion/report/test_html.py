"""One way from values to a page: strict, escaped, with what all pages need."""

import jinja2
import numpy as np
import pytest

from fusion.evaluation.intervals import Interval
from fusion.report import charts, html, style


@pytest.fixture
def room(tmp_path, monkeypatch):
    """Writes the template of a room of one's own, and names the room."""
    name = f"room_{tmp_path.name}"  # imported once and for all
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)

    def write(text):
        (tmp_path / name / "page.html.jinja").write_text(text, encoding="utf-8")
        return name

    return write


def test_names_are_text_and_lines_of_the_template_leave_no_gaps(room):
    found = html.fill(
        room("{% for name in names %}\n  <p>{{ name }}</p>\n{% endfor %}\n"), {"names": ["<b>", "\u00e4"]}
    )
    assert found == "  <p>&lt;b&gt;</p>\n  <p>\u00e4</p>\n"


def test_a_name_that_is_not_given_is_an_error(room):
    with pytest.raises(jinja2.UndefinedError, match="'absent' is undefined"):
        html.fill(room("<p>{{ absent }}</p>"), {})


def test_values_in_words_and_pictures_in_place(room):
    text = "{{ both|encoders }}; {{ 0.5|labels }}; {{ 0.00001|p }}; {{ minus(gain) }}; {{ svg(figure) }}"
    figure = charts.agreement_matrix(["a", "b"], np.eye(2))
    given = {"both": ("a@1", "b@0.5"), "gain": Interval(0.01, -0.02, 0.0304), "figure": figure}
    *words, picture = html.fill(room(text), given).split("; ", 4)
    assert words == ["a@1 + b@0.5", "50 % of labels", "1.0e-05", "+0.010 [-0.020, +0.030]"]
    assert picture == str(style.svg(figure))
