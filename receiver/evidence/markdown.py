"""Writes Markdown in which nothing that an alert or a person said becomes a mark, a link or HTML. Pure."""

import re
from collections.abc import Iterable, Sequence

from receiver.messages.i18n import one_line

_MARKS = re.compile(r"([\\`*_\[\]|<>~])")
# GitHub and GitLab make links of bare addresses and entities of `&lt;`: github.github.com/gfm/#autolinks-extension-
_ADDRESS = re.compile(
    r"(?<=:)(?=//)|(?<=\bwww)(?=\.)|(?=@)|(?=&#?\w)|(?<=\bmailto)(?=:)|(?<=\bxmpp)(?=:)", re.IGNORECASE
)
_FIRST = re.compile(r"^([#+=-]*|\d{1,9})([#+=.)-])(?=\s|$)")  # what makes a heading or a list of a line
_CELL = 300  # characters


def plain(text: str, limit: int = _CELL) -> str:
    """Give a text on one line as it is to be read."""
    return _FIRST.sub(r"\1\\\2", _ADDRESS.sub(r"\\", _MARKS.sub(r"\\\1", one_line(text, limit))))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Give the lines of a table; cells are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(cell if line is lines[1] else plain(cell) for cell in line)} |" for line in lines]
