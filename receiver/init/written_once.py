"""Writes new files whole, or not at all, and never over one that is there."""

import os
import secrets
from enum import StrEnum
from pathlib import Path


class Outcome(StrEnum):
    """What became of a file."""

    WRITTEN = "written"
    UNCHANGED = "unchanged"
    KEPT = "exists and differs; left as it is"


def write_new(path: Path, text: str, mode: int = 0o644) -> Outcome:
    """Write it, unless there is one already. OSError if that cannot be done; then nothing is left behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(temporary)  # unlike a rename, this fails if there is one
    except FileExistsError:
        return Outcome.UNCHANGED if path.read_bytes() == text.encode() else Outcome.KEPT
    finally:
        temporary.unlink()
    return Outcome.WRITTEN
