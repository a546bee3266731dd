from fusion.demo import page as page_


def test_the_report_stands_alone(demonstrated):
    rows, test = demonstrated[3:5]
    page = page_.render(rows, test, 12.3)
    assert "one brain against one brain" in page
    assert page.count("<svg") == 2
    assert page.count("<tr") == 3 * 13
    for outside in ("http://", "https://", "<script", "<link", "<img"):
        assert outside not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
            "http://creativecommons.org", ""
        ).replace("https://matplotlib.org", "")
