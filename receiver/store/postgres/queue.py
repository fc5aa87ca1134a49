"""The two connections of a receiver to PostgreSQL: one that writes, in a thread of its own, and one that only reads.

Receivers take turns: each transaction that writes first takes one lock of the whole database, so that what SQLite's one
writer guarantees holds for several receivers as well (ADR 19). A transaction makes up to 32 changes.

A connection that breaks is opened anew. Nothing has happened if it broke before COMMIT was sent. If it broke later,
each transaction has left its number in the table `last_commit`, and who has the lock reads there what became of it:
also after a crash or a failover, when pg_xact_status may speak of another transaction of that number.
"""

import asyncio
import contextlib
import logging
import os
import re
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import psycopg
from psycopg import errors

from receiver.store.base import Outage, RejectedError, StoreError, StoreOutageError
from receiver.store.postgres.connection import PostgresConnection
from receiver.store.postgres.schema import VERSION, refuse_newer
from receiver.store.sql.ahead import Ahead
from receiver.store.sql.connection import Connection
from receiver.store.sql.queue import Change, GroupCommit, log_turn

T = TypeVar("T")
Connect = Callable[[], PostgresConnection]

log = logging.getLogger(__name__)

HANGS = 5.0  # seconds in which a change is not answered, after which nobody should be sent to this receiver
DEADLINE = 8.0  # seconds in which a change is answered: a standby that hangs keeps COMMIT waiting for ever
_IN_ORDER = 60.0  # the same for what changes all that is open: the clock was set
_IN_DOUBT = 3.0  # seconds in which we find out what became of a transaction
_FULL_FOR = 5.0  # seconds for which a disk counts as full: small changes may still find room where webhooks find none
_STILL = 2.0  # seconds in which who has the lock sends something
ENDING = 2.0  # seconds in which what is under way may end when the receiver stops
LOCK = "SELECT pg_advisory_xact_lock('incident'::regclass::oid::int, 0)"
# Every transaction writes this: it also makes one that has changed nothing wait for a synchronous standby, which what a
# repeated request is answered for may not have reached yet.
_NUMBER = """
INSERT INTO last_commit VALUES (?, ?, extract(epoch FROM clock_timestamp())::float8)
ON CONFLICT (owner) DO UPDATE SET number = excluded.number, at = excluded.at
"""
_NUMBERED = "SELECT pg_is_in_recovery(), (SELECT number FROM last_commit WHERE owner = ?)"
# Whoever sends what it cannot write down has this lock, and everybody who writes looks whether it is free.
SENDS_UNWRITTEN = "SELECT pg_try_advisory_lock('incident'::regclass::oid::int, 1)"
STILL_SENDS_UNWRITTEN = SENDS_UNWRITTEN.replace("pg_try_", "pg_")
HAS_WRITTEN = "SELECT pg_advisory_unlock('incident'::regclass::oid::int, 1)"
_IS_WRITTEN = "SELECT pg_try_advisory_xact_lock_shared('incident'::regclass::oid::int, 1)"
# Who holds the lock and sends nothing for a while is stopped or cut off. No timeout of the server ends it in the
# middle of a pipeline: idle_in_transaction_session_timeout begins only when the server waits after a Sync.
_FREE = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity JOIN pg_locks USING (pid)
WHERE locktype = 'advisory' AND granted AND classid = 'incident'::regclass::oid AND objid = 0 AND objsubid = 2
    AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND wait_event = 'ClientRead' AND state_change < clock_timestamp() - make_interval(secs => ?)
"""
_REJECTED = {"22", "23", "P0"}  # classes: a value or a row that the tables do not take, or a trigger
_NOT_OURS = {"26000", "42P05"}  # a prepared statement that a pooler has lost, or given to two
_STALE = {*_NOT_OURS, "0A000"}  # or that an upgrade of the tables has made useless
# https://www.postgresql.org/docs/current/errcodes-appendix.html; of a class, those that are not named by themselves.
_OUTAGES = {
    "53100": Outage.FULL,
    "25006": Outage.READ_ONLY,
    "55P03": Outage.LOCKED,  # lock_timeout
    "40": Outage.LOCKED,  # a deadlock
    "57014": Outage.SLOW,  # statement_timeout, or somebody has cancelled it
    "25P03": Outage.SLOW,  # idle_in_transaction_session_timeout
    "58": Outage.IO_ERROR,
    "XX001": Outage.CORRUPT,
    "XX002": Outage.CORRUPT,
    "28": Outage.REFUSED,  # the password
    "3D": Outage.REFUSED,  # there is no such database
    "42501": Outage.REFUSED,  # a right is missing
    "53": Outage.REFUSED,  # connections or memory
    "3F": Outage.REPLACED,  # there is no such schema
    "42P01": Outage.REPLACED,  # table
    "42703": Outage.REPLACED,  # column
    "42883": Outage.REPLACED,  # function
}
# Of who gets no connection psycopg knows no code: what the server has said begins with its severity, which may be in
# another language, and two spaces (pqBuildErrorMessage3 in src/interfaces/libpq/fe-protocol3.c).
_SAID_BY_SERVER = re.compile(r"failed: \S+:  ")


class Line:
    """A connection that is opened when it is needed, and again after it broke. Used by one thread."""

    def __init__(self, name: str, connect: Connect) -> None:
        self.name, self._connect = name, connect
        self._connection: PostgresConnection | None = None
        self._since: float | None = None  # when what is under way has begun
        self.has_ended = False
        self.patience = DEADLINE

    def open(self) -> PostgresConnection:
        """Give a connection that works as far as is known; StoreOutageError."""
        if self._connection is not None and self._connection.raw.broken:
            self.drop()
        if self._connection is None:
            if self.has_ended:
                raise StoreOutageError(Outage.UNREACHABLE, f"{self.name}: the receiver ends")
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

    def end(self) -> None:
        """Cut the connection, from another thread, and open no other."""
        self.has_ended = True
        self.cut()

    def finish(self) -> None:
        """Let go of the connection, and open no other."""
        self.has_ended = True
        self.drop()

    @contextlib.contextmanager
    def under_way(self) -> Iterator[None]:
        """Something is done by the connection inside."""
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._since = None

    def cut_if_stuck(self) -> None:
        """Cut what takes too long, now or as soon as it does: others that are only slow are not cut by who gives up."""
        since = self._since
        if since is None:
            return
        left = since + self.patience - time.monotonic()
        if left > 0:
            asyncio.get_running_loop().call_later(left, self._cut_what_began, since)
        else:
            self.cut()

    def _cut_what_began(self, since: float) -> None:
        if self._since == since:
            self.cut()

    def read(self, work: Callable[[Connection], T]) -> T:
        """Read; once more on a new connection if this one broke. StoreError."""
        for attempt in (1, 2):
            try:
                with self.under_way():
                    return work(self.open())
            except psycopg.Error as error:
                wrong = named(self.name, error)
                if attempt == 2 or not (is_gone(error) or error.sqlstate in _STALE):  # noqa: PLR2004
                    raise wrong from error
                self.drop()
        raise AssertionError


class Begun(Protocol):
    """Begins a transaction: ``others_send`` what they cannot write down.

    ``is_sure``: nobody can have done so before without our notice.
    """

    def __call__(self, db: Connection, *, others_send: bool, is_sure: bool) -> None:
        """Begin it."""


def _nothing(db: Connection, *, others_send: bool, is_sure: bool) -> None:
    pass


class Reader:
    """See receiver.store.sql.connection.Reader."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="postgres-reader")

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Read."""
        asked = _Asked(work)
        return await asked.answer(self._line, asyncio.wrap_future(self._thread.submit(self._line.read, asked)))

    async def close(self) -> None:
        """Finish what is under way, and let the thread end."""
        await _ended(self._line, asyncio.wrap_future(self._thread.submit(self._line.finish)))
        self._thread.shutdown()


class Writer:
    """See receiver.store.sql.connection.Writer.

    ``owner`` is this receiver's name in `last_commit`. ``begun`` is called at the beginning of each transaction.
    ``elapsed`` is a clock that nobody sets.
    """

    def __init__(
        self,
        line: Line,
        owner: str,
        begun: "Begun | None" = None,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._line, self._begun, self._elapsed = line, begun or _nothing, elapsed
        self._wrote_by: PostgresConnection | None = None
        self._owner, self._count = owner, 0
        self._changes = GroupCommit("postgres", self._transact)
        self._failed: Outage | None = None
        self._failed_at = 0.0
        self._asked = dict[object, float]()  # change that is not answered yet -> when it was asked for, in that order

    @property
    def outage(self) -> Outage | None:
        """Give what became of the last attempt to write; one that hangs has failed, whatever becomes of it."""
        oldest = next(iter(self._asked.values()), None)
        if self._failed is None and oldest is not None and self._elapsed() - oldest > HANGS:
            return Outage.UNREACHABLE
        return self._failed

    async def commit(
        self, change: Callable[[Connection], T], *, urgent: bool = False, ask: Callable[[Ahead], None] | None = None
    ) -> T:
        """Make a change; it is on the disk when this returns."""
        asked = _Asked(change, ask=ask)
        return await self._answer(asked, self._changes.commit(asked, urgent=urgent))

    async def commit_in_order(self, change: Callable[[Connection], T]) -> T:
        """See receiver.store.sql.connection.Writer."""
        asked = _Asked(change, _IN_ORDER)
        self._line.patience = _IN_ORDER
        try:
            return await self._answer(asked, self._changes.commit_in_order(asked))
        finally:
            self._line.patience = DEADLINE

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Read by the connection that writes."""
        asked = _Asked(work)
        return await self._answer(asked, self._changes.call(partial(self._line.read, asked)))

    async def prepare(self, work: Callable[[PostgresConnection], None]) -> None:
        """Do what takes as long as it takes, before anything else; StoreError."""

        def prepared() -> None:
            try:
                work(self._line.open())
            except BaseException as error:
                self._line.drop()
                if isinstance(error, psycopg.Error):
                    raise named(self._line.name, error) from error
                raise

        await self._changes.call(prepared)

    async def close(self) -> None:
        """Finish what is under way, and let the thread end."""
        await _ended(self._line, asyncio.ensure_future(self._changes.call(self._line.finish)))
        self._changes.shutdown()

    async def _answer(self, asked: "_Asked[T]", work: Awaitable[T]) -> T:
        """Wait for a change, which may stand behind a read that hangs as well."""
        own = object()
        self._asked[own] = self._elapsed()
        try:
            return await asked.answer(self._line, asyncio.ensure_future(work))
        except TimedOutError as error:
            self._turn(error)
            raise
        finally:
            del self._asked[own]

    def _transact(self, choose: Callable[[], list[Change]]) -> list[Any]:
        try:
            with self._line.under_way():
                done = self._committed(choose)
        except StoreOutageError as error:
            self._turn(error)
            raise
        self._turn(None)
        return done

    def _committed(self, choose: Callable[[], list[Change]]) -> list[Any]:
        """Make changes in one transaction; once more if nothing of it has happened by no fault of theirs."""
        for attempt in (1, 2):
            self._count += 1
            tried = _Attempt(self._line.name, self._owner, self._count, self._begun)
            try:
                db = self._line.open()
                # An outage that we have noticed, or a crash of the server, which has ended everybody's locks.
                tried.is_sure = self._failed is None and db is self._wrote_by
                done, self._wrote_by = tried.make(db, choose), db
            except psycopg.Error as error:
                again = self._may_be_made_again(error, is_new=attempt > 1)
                if is_gone(error) and tried.is_in_doubt and self._has_committed(tried):
                    return tried.done
                if attempt == 2 or not again:  # noqa: PLR2004
                    raise named(self._line.name, error) from error
            except BaseException:
                self._roll_back()
                raise
            else:
                return done
        raise AssertionError

    def _may_be_made_again(self, error: psycopg.Error, *, is_new: bool) -> bool:
        """End the transaction; after a failover the next connection finds the new primary.

        A new one that may only read is kept: with it, what it has locked.
        """
        may_only_read = isinstance(error, errors.ReadOnlySqlTransaction) and not is_new
        if is_gone(error) or may_only_read or error.sqlstate in _STALE:
            self._line.drop()
            return True
        self._roll_back()
        if isinstance(error, errors.LockNotAvailable):
            return self._free()
        return isinstance(error, errors.DeadlockDetected | errors.SerializationFailure)

    def _roll_back(self) -> None:
        try:
            self._line.open().raw.rollback()
        except (psycopg.Error, StoreError) as error:
            log.debug("cannot roll back: %s", error)
            self._line.drop()

    def _free(self) -> bool:
        """End the transaction of a receiver that has stopped in the middle of it; say whether there was one."""
        try:
            ended = self._line.open().execute(_FREE, (_STILL,)).fetchall()
        except (psycopg.Error, StoreError) as error:
            log.debug("cannot look who has the lock: %s", error)
            return False
        if ended:
            log.warning("another receiver stood still in a transaction, which was ended")
        return bool(ended)

    def _has_committed(self, tried: "_Attempt") -> bool:
        """Say what became of a transaction whose COMMIT was not answered; StoreOutageError if nobody can say."""
        until = time.monotonic() + _IN_DOUBT
        while True:
            try:
                db = self._line.open()
                with db.raw.transaction():
                    db.execute(LOCK)  # it has ended when we have this
                    is_standby, number = db.execute(_NUMBERED, (self._owner,)).fetchone()
                if not is_standby:
                    return bool(number == tried.number)
            except (psycopg.Error, StoreOutageError) as error:
                log.debug("cannot look what was committed: %s", error)
            self._line.drop()
            if time.monotonic() > until or self._line.has_ended:
                raise StoreOutageError(Outage.UNREACHABLE, f"{self._line.name}: nobody knows yet what was committed")
            time.sleep(0.1)

    def _turn(self, error: StoreOutageError | None) -> None:
        """Take in whether something could be written."""
        if error is not None:
            self._failed_at = self._elapsed()
        elif self._failed is Outage.FULL and self._elapsed() - self._failed_at < _FULL_FOR:
            return
        before, self._failed = self._failed, error.outage if error else None
        log_turn(before, error, "webhooks get 503")


class _Attempt:
    """One transaction: what it has given, and whether its COMMIT was sent.

    ``begun`` is called at its beginning; see Begun.
    """

    def __init__(self, name: str, owner: str, number: int, begun: "Begun") -> None:
        self.name, self.owner, self.number, self._begun = name, owner, number, begun
        self.done = list[Any]()
        self.is_in_doubt = self.is_sure = False

    def make(self, db: PostgresConnection, choose: Callable[[], list[Change]]) -> list[Any]:
        """Make changes and commit them; a statement that fails keeps the server from reading COMMIT.

        Which changes is chosen when the turn has come: what has come while others had theirs is made in this one.
        """
        with db.pipelined():
            db.execute("BEGIN")
            locked, version, written = (db.execute(each) for each in (LOCK, VERSION, _IS_WRITTEN))
            locked.fetchone()
            refuse_newer(self.name, version.fetchone()[0])
            self._begun(db, others_send=not written.fetchone()[0], is_sure=self.is_sure)
            self.done = _made(db, choose())
            db.execute(_NUMBER, (self.owner, self.number))
            self.is_in_doubt = True
            ended = db.execute("COMMIT")
        if ended.status != "COMMIT":
            raise errors.InFailedSqlTransaction("the transaction was rolled back")
        return self.done


def _made(db: PostgresConnection, changes: list[Change]) -> list[Any]:
    """Make changes: first those that say what they will read, which is asked for all of them at once."""
    asks = {at: change.ask for at, change in enumerate(changes) if isinstance(change, _Asked) and change.ask}
    done = dict[int, Any]()
    with db.asking_ahead() as ahead:
        for ask in asks.values():
            ask(ahead)
        for at in asks:
            done[at] = changes[at](db)
            db.push()
    for at, change in enumerate(changes):
        if at not in asks:
            done[at] = change(db)
    return [done[at] for at in range(len(changes))]


class TimedOutError(StoreOutageError):
    """Nobody has answered in time."""


class _Asked(Generic[T]):
    """What somebody asks for, who goes away after a while: then it is not begun any more."""

    def __init__(
        self,
        work: Callable[[Connection], T],
        deadline: float | None = None,
        ask: Callable[[Ahead], None] | None = None,
    ) -> None:
        self._work, self._deadline, self.ask = work, deadline or DEADLINE, ask
        self._has_begun = self._is_given_up = False

    def __call__(self, db: Connection) -> T:
        """Do it, in the thread of the connection."""
        if self._is_given_up:
            return None  # type: ignore[return-value]  # nobody reads it
        self._has_begun = True
        return self._work(db)

    async def answer(self, line: Line, answer: "asyncio.Future[T]") -> T:
        """Wait no longer than we may; StoreOutageError, and if it has begun, nobody knows whether it happens."""
        answer.add_done_callback(lambda late: late.cancelled() or late.exception())  # also if nobody waits any more
        done, _ = await asyncio.wait([answer], timeout=self._deadline)
        if done:
            return answer.result()
        self._is_given_up = True
        line.cut_if_stuck()
        said = "and nobody knows whether it has happened" if self._has_begun else "and nothing has happened"
        answer.cancel()  # what has not begun takes no room any more
        raise TimedOutError(Outage.UNREACHABLE, f"{line.name}: no answer within {self._deadline:.0f} seconds, {said}")


async def _ended(line: Line, ending: "asyncio.Future[None]") -> None:
    """Wait for the last work of a thread; what hangs is cut."""
    done, _ = await asyncio.wait([ending], timeout=ENDING)
    if not done:
        line.end()
    await ending


def is_gone(error: psycopg.Error) -> bool:
    """Say whether the connection is lost: by class 08 (connection), 57P (the server stops) or without any state."""
    state = error.sqlstate or ""
    aborted = isinstance(error, errors.PipelineAborted)  # by the error of an earlier statement
    lost = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and not state and not aborted
    return lost or state.startswith(("08", "57P")) or state == "25P03"


def named(name: str, error: psycopg.Error) -> StoreError:
    """Give our error for one of PostgreSQL's; its texts hold no password, but its details may hold a whole row."""
    text = f"{name}: {' '.join((error.diag.message_primary or str(error)).split())}"
    if error.sqlstate in _NOT_OURS:
        text += " (a pooler in between must pool sessions)"
    outage = _outage(error)
    if outage is Outage.REPLACED:
        text += " (the tables are gone or are others: put them back, or restart the receiver)"
    if outage is not None:
        return StoreOutageError(outage, text)
    return RejectedError(text) if (error.sqlstate or "")[:2] in _REJECTED else StoreError(text)


def _outage(error: psycopg.Error) -> Outage | None:
    """Say what is wrong with the database; None if it is the statement that is."""
    state = error.sqlstate or ""
    outage = _OUTAGES.get(state) or _OUTAGES.get(state[:2])
    if outage is not None or not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return outage
    return Outage.REFUSED if _SAID_BY_SERVER.search(str(error)) else Outage.UNREACHABLE
