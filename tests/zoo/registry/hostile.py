"""Cards made to harm whatever reads a list of them: each is one change to a good one, and refused."""

BAD = {
    "date": ("domain: test", "domain: 2001-99-99"),
    "time": ("domain: test", "domain: 2001-01-01 99:99:99"),
    "digits": ("optimal: 0.75", f"optimal: {'9' * 5000}"),
    "hexadecimal": ("kwargs: {in_chans: 1,", f"kwargs: {{in_chans: 0x{'f' * 5000},"),
    "exponent": ("mean: [0.5]", "mean: [1.0e+400]"),
    "brackets": ("domain: test", f"domain: {'[' * 3000}"),
    "closed brackets": ("domain: test", f"domain: {'[' * 3000}{']' * 3000}"),
    "indents": ("domain: test", "domain: " + "- " * 3000 + "x"),
    "braces": ("kwargs: {in_chans: 1,", f"kwargs: {{a: {'{a: ' * 50}1{'}' * 50},"),
    "many": ("kwargs: {in_chans: 1,", f"kwargs: {{a: [{'1,' * 6000}],"),
    "set": ("domain: test", "domain: !!set {a, b}"),
    "bytes": ("domain: test", "domain: !!binary aGVsbG8="),
    "broken bytes": ("domain: test", "domain: !!binary a"),
    "keys": ("  domain: test", "  domain: test\n  5: x"),
    "key of a list": ("  domain: test", "  domain: test\n  ? [a, b]\n  : x"),
    "merge": ("  domain: test", "  domain: test\n  <<: 5"),
    "escape": ("  domain: test", '  domain: test\n  "\\e[2J": x'),
    "long": ("domain: test", f"domain: {'x' * 5000}"),
    "nothing": ("domain: test", "domain:"),
    "control": ("domain: test", "domain: a\x1bb"),
}
