"""Opens the SQLite file: one process at a time, WAL, every commit on the disk, schema up to date."""

import errno
import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from receiver.store.base import StoreError
from receiver.store.sqlite.migrations import SCHEMA_VERSION, upgrade
from receiver.store.unreadable import Unreadable

log = logging.getLogger(__name__)

PATIENT = 5000  # milliseconds that a change waits for another program's lock

MOVED = 1_000_000  # and the version of the schema, in its place
_FIRST_MOVED = 8  # the schema whose receivers wrote no version there
CHECKED_FIRST = 64 * 1024 * 1024  # bytes that are looked at for damage before the start: a tenth of a second


class Hold:
    """Holds the database for this process; two receivers on one file would page twice.

    The file itself is locked as well as the `.lock` beside it, which anybody may delete. SQLite's own locks are of
    another kind (fcntl) and would be lost if the file were closed before SQLite has closed it: ``close`` comes last.
    """

    def __init__(self, path: Path) -> None:
        """Take it; StoreError when another process has it."""
        self._path, self._log_path = str(path), f"{path}-wal"  # asked for at each commit, and a Path takes longer
        self._held: list[int] = []
        self._own: tuple[int, int] | None = None
        self._log: tuple[int, int] | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._take(path.with_name(path.name + ".lock"), os.O_NOFOLLOW)
            self._take(path, 0)
            own = os.fstat(self._held[-1])
            self._own = own.st_dev, own.st_ino
        except BaseException:
            self.close()
            raise

    def _take(self, path: Path, flags: int) -> None:
        try:
            held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | flags, 0o600)  # incidents name people
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise StoreError(f"{path}: is a symbolic link; delete it") from error
            text = f"{self._path}: cannot be used ({error.strerror}); set `database` to a writable place"
            raise StoreError(text) from error
        self._held.append(held)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            text = f"{self._path}: another receiver uses this file; stop it, or set another `database`"
            raise StoreError(text) from error

    @property
    def is_new(self) -> bool:
        """Say whether the database is still to be written."""
        return os.fstat(self._held[-1]).st_size == 0

    def is_replaced(self) -> bool:
        """Say whether the file, or the log of its latest commits, is gone or is another one by now."""
        if _identity(self._path) != self._own:
            return True
        log = _identity(self._log_path)
        if self._log is None:
            self._log = log
        return log != self._log

    def close(self) -> None:
        """Let go of it."""
        for held in self._held:
            os.close(held)
        self._held.clear()


class SQLiteConnection(sqlite3.Connection):
    """See receiver.store.sql.connection.Connection."""

    ahead = None

    def __init__(self, *args: Any, **named: Any) -> None:  # noqa: ANN401  # as of sqlite3
        super().__init__(*args, **named)
        self.unreadable = Unreadable()
        self.text_factory = _TEXT

    def execute_each(self, sql: str, parameters: Iterable[Any], /) -> list[list[Any]]:
        return [self.execute(sql, each).fetchall() for each in parameters]

    @contextmanager
    def without_trigger(self, _table: str, name: str) -> Iterator[None]:
        made = self.execute("SELECT sql FROM sqlite_master WHERE name = ?", (name,)).fetchone()
        if made is not None:
            self.execute(f"DROP TRIGGER {name}")
        yield
        if made is not None:  # nobody else has seen the table without it: that is one transaction
            self.execute(made[0])


# A damaged text is read as far as it goes: as an error of the statement it would take all other rows with it.
_TEXT = partial(str, encoding="utf-8", errors="replace")


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116  # see Hold
    except OSError:
        return None
    return status.st_dev, status.st_ino


def connect(path: Path, now: datetime, keys: Mapping[str, str], *, new: bool) -> SQLiteConnection:
    """Open and upgrade the file. What a dead process had leased is released: the lock says that nobody sends it."""
    try:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=SQLiteConnection)
    except sqlite3.Error as error:
        raise StoreError(f"{path}: cannot be used as the database ({error})") from error
    try:
        if new:
            _sync_folder(path.parent)
        _prepare(db, path, now, keys)
    except sqlite3.Error as error:
        db.close()
        if type(error) is sqlite3.DatabaseError:  # SQLITE_CORRUPT and SQLITE_NOTADB have no class of their own
            raise StoreError(_corrupt(path, str(error))) from error
        raise StoreError(f"{path}: cannot be used as the database ({error})") from error
    except StoreError:
        db.close()
        raise
    return db


def connect_to_read(path: Path) -> SQLiteConnection:
    """Open the file once more, only to read."""
    url = f"{path.absolute().as_uri()}?mode=ro"
    db = sqlite3.connect(url, uri=True, isolation_level=None, check_same_thread=False, factory=SQLiteConnection)
    db.execute("PRAGMA temp_store=MEMORY")
    return db


def check(db: sqlite3.Connection, path: Path) -> None:
    """Look for damage in all of the file: some seconds for each gigabyte. StoreError names it."""
    wrong = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if wrong != "ok":
        raise StoreError(_corrupt(path, wrong))


def mark_moved(db: sqlite3.Connection) -> None:
    """Let no receiver start on the file any more: what is in it goes on elsewhere."""
    db.execute(f"PRAGMA user_version={MOVED + SCHEMA_VERSION}")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _prepare(db: sqlite3.Connection, path: Path, now: datetime, keys: Mapping[str, str]) -> None:
    # What is sorted stays in memory: a full disk shall not stop us from reading.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={PATIENT}", "foreign_keys=ON"):
        db.execute(f"PRAGMA {pragma}")  # synchronous=NORMAL would lose the last commits with the power
    db.execute("PRAGMA temp_store=MEMORY")
    schema = db.execute("PRAGMA user_version").fetchone()[0]
    _refuse_others(path, schema)
    if path.stat().st_size <= CHECKED_FIRST:  # a larger one is looked at while pages go out: see SQLiteStore.check
        check(db, path)
    if 0 < schema < SCHEMA_VERSION:
        _keep(db, path, schema)
    try:
        with transaction(db):
            upgrade(db, schema, keys)
            # What the dead process had leased is free: the lock says that nobody sends it.
            db.execute("UPDATE outbox SET lease_until = ? WHERE state = 'sending'", (now.timestamp() - 1,))
            db.execute("UPDATE outbox SET parked = 0 WHERE parked = 1")  # whether an address works is found out anew
    except sqlite3.OperationalError as error:
        if schema != SCHEMA_VERSION:
            raise
        # Full, or locked by another program: what is owed can be read and sent, and its leases end by themselves.
        log.error("%s: cannot be written (%s)", path, error)  # noqa: TRY400  # its text says it all


def _refuse_others(path: Path, schema: int) -> None:
    if schema >= MOVED:
        text = f"{path}: was moved to PostgreSQL: set `postgres` in place of `database`"
        back = f"PRAGMA user_version={schema - MOVED or _FIRST_MOVED}"
        raise StoreError(f"{text}, or {back} in the file to go on from what it had then")
    if schema > SCHEMA_VERSION:
        raise StoreError(f"{path}: written by a newer receiver (schema {schema}); run that one")


def _keep(db: sqlite3.Connection, path: Path, schema: int) -> None:
    """Copy the file before its upgrade, so that the receiver that wrote it can be put back."""
    copy = path.with_name(f"{path.name}.schema-{schema}")
    copy_to(db, copy)
    log.info("upgrading the database from schema %d to %d; a copy of it is %s", schema, SCHEMA_VERSION, copy)


def copy_to(db: sqlite3.Connection, copy: Path) -> None:
    """Write all that is committed to a file, which only its owner may read; StoreError if that fails, or it is damaged.

    Others may write meanwhile: it is read in one transaction.
    """
    part = copy.with_name(copy.name + ".part")
    try:
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with closing(sqlite3.connect(part, isolation_level=None)) as target:
            db.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")  # one file; whoever opens it for good sets WAL again
            wrong = target.execute("PRAGMA quick_check(1)").fetchone()[0]
        if wrong != "ok":
            raise StoreError(f"{copy}: the copy is damaged, because the database is ({' '.join(wrong.split())})")
        replace(part, copy)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{copy}: cannot copy the database there ({error}); free space, or repair it") from error
    finally:
        part.unlink(missing_ok=True)


def replace(part: Path, path: Path) -> None:
    """Give a finished file its name, on the disk."""
    handle = os.open(part, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    part.replace(path)
    _sync_folder(path.parent)


def _corrupt(path: Path, wrong: str) -> str:
    beside = f"{path.name}-wal and {path.name}-shm"
    fix = f"stop the receiver, move {path.name}, {beside} away, and put a copy in their place, or none to start anew"
    return f"{path}: the database is corrupt ({' '.join(wrong.split())}); {fix}"


class transaction:  # noqa: N801  # it is called like a function
    """BEGIN IMMEDIATE: what is read inside cannot change before it is written."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._db.commit()
        except BaseException:
            self._roll_back()
            raise
        if kind is not None:
            self._roll_back()

    def _roll_back(self) -> None:
        # After a full disk, SQLite may have rolled back by itself (sqlite.org/lang_transaction.html).
        if self._db.in_transaction:
            self._db.rollback()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)  # else the new file's name may be lost with the power
    finally:
        os.close(handle)
