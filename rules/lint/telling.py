"""How a lint speaks on a terminal: all that it found on standard output, and files by their short names."""

import os
import sys
from pathlib import Path


def told(texts: list[str]) -> int:
    """Write all of it; 1 when nobody reads any more, as of `| head`."""
    try:
        sys.stdout.writelines(texts)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def short(path: Path) -> Path:
    """Give the path from here, where it lies below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
