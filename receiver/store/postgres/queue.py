"""The two connections of a receiver to PostgreSQL: one that writes, in a thread of its own, and one that only reads.

Receivers take turns: each transaction that writes first takes one lock of the whole database, so that what SQLite's one
writer guarantees holds for several receivers as well (ADR 19). A transaction makes up to 32 changes.

A connection that breaks is opened anew. Nothing has happened if it broke before COMMIT; if it broke while COMMIT was
under way, the new connection asks what became of the transaction (pg_xact_status).
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import psycopg
from psycopg import errors

from receiver.store.base import Outage, StoreError, StoreOutageError
from receiver.store.postgres.connection import PostgresConnection
from receiver.store.sql.connection import Connection
from receiver.store.sql.queue import Change, GroupCommit

T = TypeVar("T")
Connect = Callable[[], PostgresConnection]

log = logging.getLogger(__name__)

HANGS = 5.0  # seconds in which a change is not answered, after which nobody should be sent to this receiver
DEADLINE = 8.0  # seconds in which a change is answered: a standby that hangs keeps COMMIT waiting for ever
_IN_DOUBT = 3.0  # seconds in which we find out what became of a transaction
LOCK = "SELECT pg_advisory_xact_lock('incident'::regclass::oid::int, 0)"
# The message makes a transaction that has changed nothing wait for a synchronous standby as well: what a repeated
# request is answered for may not have reached it yet.
_XID = "SELECT pg_current_xact_id()::text, pg_logical_emit_message(true, 'receiver', '')"
_STATUS = "SELECT pg_xact_status(?::text::xid8)"
_OUTAGES: tuple[tuple[type[psycopg.Error], Outage], ...] = (
    (errors.DiskFull, Outage.FULL),
    (errors.ReadOnlySqlTransaction, Outage.READ_ONLY),
    (errors.LockNotAvailable, Outage.LOCKED),
    (errors.DeadlockDetected, Outage.LOCKED),
    (errors.QueryCanceled, Outage.LOCKED),
    (errors.IoError, Outage.IO_ERROR),
    (errors.DataCorrupted, Outage.CORRUPT),
    (errors.IndexCorrupted, Outage.CORRUPT),
    (psycopg.OperationalError, Outage.UNREACHABLE),
    (psycopg.InterfaceError, Outage.UNREACHABLE),
)


class Line:
    """A connection that is opened when it is needed, and again after it broke. Used by one thread."""

    def __init__(self, name: str, connect: Connect) -> None:
        self.name, self._connect = name, connect
        self._connection: PostgresConnection | None = None

    def open(self) -> PostgresConnection:
        """Give a connection that works as far as is known; StoreOutageError."""
        if self._connection is not None and self._connection.raw.broken:
            self.drop()
        if self._connection is None:
            try:
                self._connection = self._connect()
            except psycopg.Error as error:
                raise named(self.name, error) from error
        return self._connection

    def drop(self) -> None:
        """Let go of the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def cut(self) -> None:
        """Break the connection, from another thread: whoever waits for its answer gets an error."""
        connection = self._connection
        if connection is None or connection.raw.closed:
            return
        try:
            with socket.socket(fileno=os.dup(connection.raw.fileno())) as line:
                line.shutdown(socket.SHUT_RDWR)
        except (OSError, psycopg.Error) as error:
            log.debug("the connection is gone already: %s", error)

    def read(self, work: Callable[[Connection], T]) -> T:
        """Read; once more on a new connection if this one broke. StoreError."""
        for attempt in (1, 2):
            try:
                return work(self.open())
            except psycopg.Error as error:
                wrong = named(self.name, error)
                if not is_gone(error) or attempt == 2:  # noqa: PLR2004
                    raise wrong from error
                self.drop()
        raise AssertionError


class Reader:
    """See receiver.store.sql.connection.Reader."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="postgres-reader")

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Read."""
        return await _in_time(self._line, asyncio.wrap_future(self._thread.submit(self._line.read, work)))

    async def close(self) -> None:
        """Finish what is under way, and let the thread end."""
        await asyncio.wrap_future(self._thread.submit(self._line.drop))
        self._thread.shutdown()


class Writer:
    """See receiver.store.sql.connection.Writer; ``elapsed`` is a clock that nobody sets."""

    def __init__(self, line: Line, elapsed: Callable[[], float] = time.monotonic) -> None:
        self._line, self._elapsed = line, elapsed
        self._changes = GroupCommit("postgres", self._transact)
        self._failed: Outage | None = None
        self._asked = dict[object, float]()  # change that is not answered yet -> when it was asked for, in that order

    @property
    def outage(self) -> Outage | None:
        """Give what became of the last attempt to write; one that hangs has failed, whatever becomes of it."""
        oldest = next(iter(self._asked.values()), None)
        if self._failed is None and oldest is not None and self._elapsed() - oldest > HANGS:
            return Outage.UNREACHABLE
        return self._failed

    async def commit(self, change: Callable[[Connection], T], *, urgent: bool = False) -> T:
        """Make a change; it is on the disk when this returns."""
        return await self._answered(self._changes.commit(change, urgent=urgent))

    async def commit_in_order(self, change: Callable[[Connection], T]) -> T:
        """See receiver.store.sql.connection.Writer."""
        return await self._answered(self._changes.commit_in_order(change))

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Read by the connection that writes."""
        return await _in_time(self._line, asyncio.ensure_future(self._changes.call(partial(self._line.read, work))))

    async def close(self) -> None:
        """Finish what is under way, and let the thread end."""
        await self._changes.call(self._line.drop)
        self._changes.shutdown()

    async def _answered(self, answer: Coroutine[Any, Any, T]) -> T:
        """Wait for a change, which may stand behind a read that hangs as well."""
        own = object()
        self._asked[own] = self._elapsed()
        try:
            return await _in_time(self._line, asyncio.ensure_future(answer))
        except StoreOutageError as error:
            self._turn(error)
            raise
        finally:
            del self._asked[own]

    def _transact(self, changes: list[Change]) -> list[Any]:
        try:
            done = self._committed(changes)
        except StoreOutageError as error:
            self._turn(error)
            raise
        self._turn(None)
        return done

    def _committed(self, changes: list[Change]) -> list[Any]:
        """Make changes in one transaction; once more if the connection broke before its end."""
        for attempt in (1, 2):
            xid = ""
            try:
                db = self._line.open()
                done, xid = _made(db, changes)
                db.execute("COMMIT")
            except psycopg.Error as error:
                gone = is_gone(error) or isinstance(error, errors.ReadOnlySqlTransaction)
                self._undo(gone=gone)  # after a failover the next connection finds the new primary
                if gone and xid and self._was_committed(xid):
                    return done
                if not gone or attempt == 2:  # noqa: PLR2004
                    raise named(self._line.name, error) from error
            except BaseException:
                self._undo(gone=False)
                raise
            else:
                return done
        raise AssertionError

    def _undo(self, *, gone: bool) -> None:
        try:
            if not gone:
                self._line.open().raw.rollback()
                return
        except (psycopg.Error, StoreError) as error:
            log.debug("cannot roll back: %s", error)
        self._line.drop()

    def _was_committed(self, xid: str) -> bool:
        """Say what became of a transaction whose COMMIT was not answered; StoreOutageError if nobody can say."""
        until = time.monotonic() + _IN_DOUBT
        while True:
            try:
                status = self._line.open().execute(_STATUS, (xid,)).fetchone()[0]
            except psycopg.Error as error:
                raise named(self._line.name, error) from error
            if status != "in progress":
                return bool(status == "committed")
            if time.monotonic() > until:
                raise StoreOutageError(Outage.UNREACHABLE, f"{self._line.name}: nobody knows yet what was committed")
            time.sleep(0.05)

    def _turn(self, error: StoreOutageError | None) -> None:
        """Take in whether something could be written."""
        before, self._failed = self._failed, error.outage if error else None
        if (before is None) == (error is None):
            return
        if error is not None:
            log.error("the database cannot be written; webhooks get 503: %s", error)
        else:
            log.warning("the database can be written again")


def _made(db: PostgresConnection, changes: list[Change]) -> tuple[list[Any], str]:
    """Make changes; gives what each gave, and the transaction's number. What is left is to commit."""
    with db.pipelined():
        db.execute("BEGIN")
        db.execute(LOCK)
        done = [change(db) for change in changes]
        xid = db.execute(_XID)
        return done, str(xid.fetchone()[0])


async def _in_time(line: Line, answer: "asyncio.Future[T]") -> T:
    """Wait no longer than we may; StoreOutageError, and then nobody knows whether it happens."""
    done, _ = await asyncio.wait([answer], timeout=DEADLINE)
    if not done:
        line.cut()
        answer.add_done_callback(lambda late: late.cancelled() or late.exception())  # nobody waits for it any more
        raise StoreOutageError(Outage.UNREACHABLE, f"{line.name}: no answer within {DEADLINE:.0f} seconds")
    return answer.result()


def is_gone(error: psycopg.Error) -> bool:
    """Say whether the connection is lost: by class 08 (connection), 57P (the server stops) or without any state."""
    state = error.sqlstate or ""
    lost = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and not state
    return lost or state.startswith(("08", "57P")) or state == "25P03"


def named(name: str, error: psycopg.Error) -> StoreError:
    """Give our error for one of PostgreSQL's; its texts hold no password."""
    text = f"{name}: {' '.join(str(error).split())}"
    for kind, outage in _OUTAGES:
        if isinstance(error, kind):
            return StoreOutageError(outage, text)
    if error.sqlstate == "25P03":  # the server ended a transaction that was idle for too long
        return StoreOutageError(Outage.UNREACHABLE, text)
    return StoreError(text)
