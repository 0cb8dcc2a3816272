"""The blocks and tables of a page in Markdown, and how what they print is compared."""

import re
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).parents[2] / "docs"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"(?<![\w.])-?\d+\.\d*(?:e[+-]?\d+)?")


class Block(NamedTuple):
    """A fenced block: what language, the text, the line it begins in, and the text block below it, if any."""

    language: str
    text: str
    line: int
    printed: str | None


def blocks(page):
    """The blocks of a page; those of text belong to the block above them."""
    text = (DOCS / page).read_text(encoding="utf-8")
    found = list(FENCE.finditer(text))
    made = []
    for match, after in zip(found, [*found[1:], None], strict=True):
        if match[1] == "text":
            continue
        below = after is not None and after[1] == "text" and not text[match.end() : after.start()].strip()
        line = text.count("\n", 0, match.start(2)) + 1
        made.append(Block(match[1], match[2], line, after[2] if below else None))
    return made


def tables(page):
    """The tables of a page, each a list of rows of cells, the header first."""
    text = FENCE.sub("", (DOCS / page).read_text(encoding="utf-8"))
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table.splitlines()]
        yield [rows[0], *rows[2:]]


def code(cell):
    """The code spans of a cell."""
    return [span.replace("\\|", "|") for span in re.findall(r"`([^`]+)`", cell)]


def differences(printed, shown, *, tolerance=0.05):
    """How what was printed differs from what the page shows; numbers with a point may, a little."""
    printed, shown = printed.strip(), shown.strip()
    if [t.strip() for t in NUMBER.split(printed)] != [t.strip() for t in NUMBER.split(shown)]:
        return f"shown:\n{shown}\nprinted:\n{printed}"
    for one, other in zip(NUMBER.findall(printed), NUMBER.findall(shown), strict=True):
        if abs(float(one) - float(other)) > tolerance * (1 + abs(float(other))):
            return f"shown {other}, printed {one}"
    return ""
