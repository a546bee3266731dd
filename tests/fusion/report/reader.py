"""What a page says: its tables, headings, links and text."""

from html.parser import HTMLParser

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Reader(HTMLParser):
    """Tables under their headings, links, text, and whether every element is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.headings, self.tables, self.links, self.ids, self.bold = [], [], [], [], [], []
        self.text, self.svgs = "", 0
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href", "action", "data")]
        self.svgs += tag == "svg"
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("h1", "h2", "h3"):
            self.headings.append("")
        if tag == "table":
            self.tables.append((self.headings[-1], []))
        if tag == "tr":
            self.tables[-1][1].append([])
        if tag in ("td", "th"):
            self.tables[-1][1][-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" in self.open or "svg" in self.open:
            return
        self.text += data
        if {"h1", "h2", "h3"} & set(self.open):
            self.headings[-1] += data
        if {"td", "th"} & set(self.open):
            self.tables[-1][1][-1][-1] += data
        if "strong" in self.open:
            self.bold.append(data)

    def under(self, heading):
        return [rows for found, rows in self.tables if found == heading]


def words(text):
    return " ".join(Reader(text).text.split())
