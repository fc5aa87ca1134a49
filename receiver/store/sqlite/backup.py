"""Copies the SQLite file while a receiver writes to it, and puts a copy in its place while none does."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

from receiver.store.base import StoreError
from receiver.store.sqlite.file import Hold, copy_to, replace
from receiver.store.sqlite.migrations import SCHEMA_VERSION

_BUSY_TIMEOUT = 10.0  # seconds
_BESIDE = ("", "-wal", "-shm")


def backup(path: Path, copy: Path) -> int:
    """Write what is committed now to ``copy``, checked and on the disk; gives its bytes.

    The copy is a whole database without a log of its own. StoreError if there is one already, or the file is none.
    """
    if copy.exists():
        raise StoreError(f"{copy}: exists; name another file, or move it away")
    with _reading(path) as db:
        copy_to(db, copy)
    return copy.stat().st_size


def restore(copy: Path, path: Path, now: datetime) -> Path | None:
    """Put a copy in the place of the database, which is kept under another name; gives that name, None without one.

    StoreError while a receiver runs, and for a copy that is damaged or of a newer receiver. Until the last step the
    database is as it was.
    """
    held = Hold(path)
    is_new = held.is_new
    try:
        return _put(copy, path, now, is_new=is_new)
    except BaseException as error:
        if is_new:  # what holds a database that was not there: an empty one would be taken for it, maybe root's
            path.unlink(missing_ok=True)
            path.with_name(path.name + ".lock").unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise StoreError(f"{path}: cannot be restored ({error.strerror})") from error
        raise
    finally:
        held.close()


def _put(copy: Path, path: Path, now: datetime, *, is_new: bool) -> Path | None:
    part = path.with_name(path.name + ".restored")
    with _reading(copy) as db:
        copy_to(db, part)
    owner = path.parent.stat() if is_new else path.stat()
    for owned in (part, path.with_name(path.name + ".lock")):
        os.chown(owned, owner.st_uid, owner.st_gid)  # whoever restores may be root, and the receiver is not
    kept = None
    if is_new:
        path.unlink()
    else:
        kept = path.with_name(f"{path.name}.before-{now:%Y%m%dT%H%M%SZ}")
        # The log first: without it the file is a little older, but the log alone is nothing.
        for suffix in reversed(_BESIDE):
            if path.with_name(path.name + suffix).exists():
                path.with_name(path.name + suffix).rename(kept.with_name(kept.name + suffix))
    replace(part, path)
    return kept


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a receiver's database to read it; StoreError if it is none that we can use."""
    if not path.is_file():
        raise StoreError(f"{path}: there is no such database")
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_TIMEOUT)) as db:
            schema = db.execute("PRAGMA user_version").fetchone()[0]
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'incident'").fetchone():
                raise StoreError(f"{path}: is no receiver's database")
            if schema > SCHEMA_VERSION:
                raise StoreError(f"{path}: written by a newer receiver (schema {schema}); use that one")
            yield db
    except sqlite3.Error as error:
        raise StoreError(f"{path}: cannot be read as a database ({error})") from error
