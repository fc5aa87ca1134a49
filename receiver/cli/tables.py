"""Writes tables for a terminal, and for a file into which its output goes."""

import io
import os
import shutil
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text


def table(head: Sequence[str], rows: Sequence[Sequence[str]], width: int = 0) -> str:
    """Lay out columns; what does not fit is wrapped. ``width`` 0 is that of the terminal, in colour if it has any."""
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in head:
        shown.add_column(name, overflow="fold", no_wrap=name in {"after", "UTC", "what"})
    for row in rows:
        shown.add_row(*(Text(plain(cell)) for cell in row))
    target = io.StringIO()
    wide = width or shutil.get_terminal_size((100, 24)).columns
    colour = width == 0 and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    Console(file=target, width=wide, force_terminal=colour, no_color=not colour, highlight=False).print(shown)
    return "\n".join(line.rstrip() for line in target.getvalue().splitlines())


def plain(text: str) -> str:
    """Nothing that an alert says may drive the terminal."""
    return "".join(c if c.isprintable() else " " for c in text)
