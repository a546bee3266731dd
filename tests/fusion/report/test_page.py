from fusion.report.page import number


def test_numbers_as_text():
    assert [number(v) for v in (0.12345, -0.5, -0.0001, None, float("nan"))] == [
        *("0.123", "\N{MINUS SIGN}0.500", "0.000"),
        *("\N{EN DASH}", "\N{EN DASH}"),
    ]
