#!/usr/bin/env python3
"""Holds the documentation against the source.

docs/configuration.md has a row for every setting of the samples in systemd/, which unit tests hold
against the daemons' own declarations; `docs_test.py --write` makes the tables anew.  docs/api.md
names every route and every field that is refused.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/configuration.md"
TABLE = re.compile(r"(<!-- settings of (\S+) -->\n).*?(<!-- end -->\n)", re.S)
HELP = re.compile(r"# (?P<help>.*) \((?P<values>[^()]*(?:\([^()]*\))*[^()]*)\)$")


def table(sample):
    """Markdown rows of one sample: key, flag, default, values, help."""
    rows = ["| key | default | values | meaning |", "| --- | --- | --- | --- |"]
    section, comment = "", ""
    for line in sample.read_text().splitlines():
        if line.startswith("#"):
            comment = line
        elif line.startswith("["):
            section = line.strip("[]") + "."
        elif line:
            key, default = line.split(" = ", 1)
            found = HELP.match(comment)
            if found is None:
                sys.exit(f"{sample}: no help before {key}")
            rows.append(f"| `{section}{key}` | `{default}` | {found['values']} | {found['help']} |")
    return "\n".join(rows) + "\n"


def with_tables(page):
    return TABLE.sub(lambda match: match[1] + table(ROOT / match[2]) + match[3], page)


def quoted(path, start, end):
    """The string literals of a file between two marks."""
    text = (ROOT / path).read_text()
    begin = text.index(start)
    return re.findall(r'"([^"\n]+)"', text[begin : text.index(end, begin)])


def check_api():
    page = (ROOT / "docs/api.md").read_text()
    routes = [name for name in quoted("bsd/api/routes.cpp", "kRoutes[]", "};") if name[0] == "/"]
    fields = quoted("bsd/api/sampling_fields.cpp", "for (const char* key", "})")
    assert len(routes) > 5 and len(fields) > 5, "the marks in the source have moved"
    return [name for name in routes + fields if f"{name}`" not in page]


def main():
    page = PAGE.read_text()
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(with_tables(page))
        return
    assert len(TABLE.findall(page)) == 2, f"{PAGE}: the marks of the two tables are gone"
    if page != with_tables(page):
        sys.exit(f"{PAGE} is not what systemd/ says; run tests/docs_test.py --write")
    if missing := check_api():
        sys.exit("docs/api.md does not speak of: " + ", ".join(missing))


if __name__ == "__main__":
    main()
