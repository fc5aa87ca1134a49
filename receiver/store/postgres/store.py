"""The store in a PostgreSQL database, which several receivers may share: what is due is done once, by any of them."""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Protocol

import msgspec
from psycopg.errors import LockNotAvailable

from receiver.incident.delivery import Handling
from receiver.incident.model import Failure, Incident
from receiver.oncall.cover import Changed, Cover
from receiver.store.access import Erased
from receiver.store.audit import Act
from receiver.store.base import (
    ANY,
    Ask,
    Asking,
    Claimed,
    Decide,
    Given,
    Outage,
    Sent,
    StoreError,
    StoreOutageError,
    Wanted,
)
from receiver.store.duty import MadeWindow
from receiver.store.postgres import turns
from receiver.store.postgres.clock import PERIOD, DatabaseClock
from receiver.store.postgres.command import NAME
from receiver.store.postgres.connection import Login, PostgresConnection
from receiver.store.postgres.leases import LENGTH, RENEWED_EVERY, Leases
from receiver.store.postgres.listen import Hint, Listener
from receiver.store.postgres.migrate import upgrade
from receiver.store.postgres.queue import (
    ENDING,
    HAS_WRITTEN,
    SENDS_UNWRITTEN,
    STILL_SENDS_UNWRITTEN,
    Line,
    Reader,
    Writer,
)
from receiver.store.sql import outbox
from receiver.store.sql.access import SQLAccess
from receiver.store.sql.connection import OWN, Connection
from receiver.store.sql.duty import SQLDuty
from receiver.store.sql.erase import committed
from receiver.store.sql.outbox import HandlingOf
from receiver.store.sql.silences import SQLSilences
from receiver.store.sql.store import Rounds, SQLStore, Watcher, unwatched
from receiver.store.unreadable import Unreadable

_PRESENT_EVERY = 3.0  # seconds
_AT_ONCE = 0.1  # seconds until what must be done soon is tried again
_PRESENT = "receiver"  # how the turn is called that says that a receiver lives, by which channels it sends
_SERVED = "SELECT name FROM turn WHERE substr(name, 1, 9) = 'receiver ' AND until >= ? AND owner <> ?"
_CONFIG = "config"  # the same, that says which configuration each has
_CONFIGS = "SELECT name FROM turn WHERE substr(name, 1, 7) = 'config '"
_FORGET_CONFIGS = """
DELETE FROM turn WHERE substr(name, 1, 7) = 'config ' AND (owner = ? OR owner NOT IN
    (SELECT owner FROM turn WHERE substr(name, 1, 9) = 'receiver ' AND until >= ?))
"""
_LEADING, _SILENCES = "leading", "silences"
_OF_EVERYBODY = {Outage.FULL, Outage.READ_ONLY}  # the others may be ours alone
_ALONE = "SELECT NOT pg_is_in_recovery() AND EXISTS (SELECT 1 FROM turn WHERE name = ? AND owner = ?)"
_LED_BY_ANOTHER = "SELECT 1 FROM turn WHERE name = ? AND owner <> ? AND until > ?"
_GONE = "DELETE FROM turn WHERE substr(name, 1, 9) = 'receiver ' AND until < ? RETURNING name"
_SERVED_ALONE = "UPDATE outbox SET parked = 0 WHERE parked = 1"
_FORGOTTEN = "DELETE FROM last_commit WHERE at < ?"
_IN_DOUBT_FOR = 86400.0  # seconds after which nobody asks any more what became of a commit
_LOOKED_AT = 200  # rows that are read at once when all are looked at
# The last byte is known when the whole of a value was read, as its length is not.
_LOOKS = tuple(
    f"SELECT max(number), sum(get_byte(value, octet_length(value) - 1)) FROM ({part}) part"  # noqa: S608  # our own text
    for part in (
        "SELECT id AS number, doc AS value FROM incident WHERE id > ? ORDER BY id LIMIT ?",
        "SELECT id AS number, notification AS value FROM outbox WHERE id > ? ORDER BY id LIMIT ?",
        "SELECT seq AS number, convert_to(data, 'UTF8') AS value FROM timeline WHERE seq > ? ORDER BY seq LIMIT ?",
    )
)
_SET_ONCE = 60.0  # seconds after a step of the database's clock in which others notice it, too


class Heard(Protocol):
    """Takes in what another receiver has committed.

    These incidents have changed, None if nobody knows which; ``duty``: people have changed who serves.
    """

    def __call__(self, incidents: Collection[int] | None, *, duty: bool) -> None:
        """Take it in."""


def _deaf(incidents: Collection[int] | None, *, duty: bool) -> None:
    pass


class PostgresStore(SQLStore):
    """See receiver.store.base.Store, and SQLStore for the parameters.

    ``elapsed`` is the clock of this machine that nobody sets. ``heard`` is called in the event loop. ``channels`` are
    those that this receiver sends by.
    """

    def __init__(
        self,
        login: Login,
        changed: Callable[[], None],
        *,
        clock: DatabaseClock,
        elapsed: Callable[[], float],
        watch: Watcher = unwatched,
        handling: HandlingOf = lambda _channel: Handling(),
        heard: Heard = _deaf,
        channels: Iterable[str] = (),
    ) -> None:
        self.owner = secrets.token_hex(8)
        self._present = " ".join((_PRESENT, self.owner, *channels))
        self.clock, self._elapsed, self._leads_until, self._term = clock, elapsed, 0.0, 0
        self._own_watch, self._own_heard = watch, heard
        self._loop: asyncio.AbstractEventLoop | None = None
        unreadable = Unreadable()
        connect = partial(PostgresConnection, login, unreadable=unreadable)
        self._writing = Line(NAME, partial(self._connected, connect))
        self._reading = Line(NAME, partial(connect, read_only=True))
        self._database_writer = Writer(self._writing, self.owner, self._begun)
        self._database_reader = Reader(self._reading)
        self._unwritten_by: PostgresConnection | None = None  # that has the lock of who sends so
        self._leaves = False  # what is owed to another receiver, in the present transaction
        super().__init__(self._database_writer, self._database_reader, changed, watch=self._saw, handling=handling)
        self.unreadable = unreadable
        self._listener = Listener(Line(NAME, connect), self.owner, self._hear)
        self._leases = Leases(self.clock)
        self.access = SharedAccess(self._database_writer, self._database_reader, self._listener)
        self.duty = SharedDuty(self._database_writer, self._database_reader, self._listener)
        self.erasing = SharedErase(self._database_writer, self._erases)
        self.silences = SharedSilences(self._database_writer, self._database_reader, self.owner)

    async def open(self, _now: datetime, _keys: Mapping[str, str] | None = None) -> None:
        """Connect, and make or upgrade the tables; StoreError says what is in the way."""
        self._loop = asyncio.get_running_loop()

        def work(db: PostgresConnection) -> None:
            upgrade(db)
            self.clock.look(db)

        await self._database_writer.prepare(work)
        await self.be_present()
        await self._look_back(self.clock())
        self._listener.start()

    async def close(self) -> None:
        """Finish what is under way and let go of the connections."""
        if self._loop is None:
            return
        self._loop = None
        await asyncio.to_thread(self._listener.close)
        leaving = self._database_writer.commit(lambda db: turns.leave(db, self.owner))
        with contextlib.suppress(StoreError, TimeoutError):  # else they end by themselves
            await asyncio.wait_for(leaving, ENDING)
        await self._database_reader.close()
        await self._database_writer.close()

    def rounds(self) -> Rounds:
        """Give what is to be done every so many seconds while this receiver runs, by name."""
        return {
            "database clock": (self.look_at_clock, PERIOD),
            "leases": (partial(self._insisting, self.renew_leases), RENEWED_EVERY),
            "presence": (partial(self._insisting, self.be_present), _PRESENT_EVERY),
        }

    async def look_at_clock(self) -> None:
        """Follow the database's clock."""
        await self._database_reader.run(self.clock.look)

    async def share(self, name: str, content: bytes) -> bytes:
        def change(db: Connection) -> bytes:
            db.execute("INSERT INTO shared_file VALUES (?, ?) ON CONFLICT DO NOTHING", (name, content))
            return bytes(db.execute("SELECT content FROM shared_file WHERE name = ?", (name,)).fetchone()[0])

        return await self._database_writer.commit(change)

    async def _insisting(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do what must be done soon: who waits for its turn has it before others claim what seems to be left."""
        begun = self._elapsed()
        while True:
            try:
                await work()
            except StoreOutageError as error:
                if error.outage is not Outage.LOCKED or self._elapsed() - begun > LENGTH:
                    raise
                await asyncio.sleep(_AT_ONCE)
            else:
                return

    async def renew_leases(self) -> None:
        """Keep what is being sent."""
        await self._leases.renew(partial(self._database_writer.commit, urgent=True))

    async def be_present(self) -> None:
        """Say that this receiver lives; what one that has died has served by itself is everybody's again."""
        asked = self._elapsed()
        # What was noted at the last time: our dispatchers had as long to lease what they have sent.
        await self._has_written()

        def change(db: Connection) -> tuple[bool, bool]:
            now = self.clock()
            turns.take(db, self._present, self.owner, now)
            gone = bool(db.execute(_GONE, (now.timestamp(),)).fetchall())
            if gone:
                db.execute(_SERVED_ALONE)
                db.execute(_FORGOTTEN, (now.timestamp() - _IN_DOUBT_FOR,))
            return turns.take(db, _LEADING, self.owner, now), gone

        leads, gone = await self._knowing(change, urgent=True)
        if leads and not self.leads:
            self._term += 1
        self._leads_until = asked + turns.LENGTH if leads else 0.0
        if gone:  # it may not have told what it committed last
            self._listener.tell(None, owes=True, duty=True)
            self._take_in(None)

    @property
    def term(self) -> int | None:
        return self._term if self._elapsed() < self._leads_until else None

    async def served_elsewhere(self) -> set[str]:
        values = (self.clock().timestamp(), self.owner)
        rows = await self._database_reader.run(lambda db: db.execute(_SERVED, values).fetchall())
        return {channel for (name,) in rows for channel in name.split()[2:]}

    async def same_config(self, digest: str) -> bool:
        def change(db: Connection) -> bool:
            now = self.clock()
            db.execute(_FORGET_CONFIGS, (self.owner, now.timestamp()))
            turns.take(db, f"{_CONFIG} {digest} {self.owner}", self.owner, now)
            return all(name.split()[1] == digest for (name,) in db.execute(_CONFIGS).fetchall())

        return await self._database_writer.commit(change)

    async def claim(self, channel: str, now: datetime, lease: float, limit: int, wanted: Wanted = ANY) -> list[Claimed]:
        claims = await super().claim(channel, now, min(lease, LENGTH), limit, wanted)
        self._leases.keep(claims, lease, now)
        return claims

    async def readable(  # see the protocol
        self,
        channel: str,
        now: datetime,
        limit: int,
        wanted: Wanted,
        *,
        held: Collection[int],
        settled: Collection[int],
    ) -> list[Claimed]:
        """Give nothing unless nobody can write, and then only to who led last: others would send the same."""
        if self.outage not in _OF_EVERYBODY or not self._leads_until:
            return []
        return await super().readable(channel, now, limit, wanted, held=held, settled=settled)

    def holds(self, claimed: Claimed) -> bool:
        return self._leases.hold(claimed)

    async def settle(self, claimed: Claimed, ref: str, decide: Decide, now: datetime) -> None:
        await super().settle(claimed, ref, decide, now)
        self._leases.end([claimed])

    async def settle_and_claim(
        self,
        sent: Sequence[Sent],
        channel: str,
        now: datetime,
        lease: float,
        addresses: Collection[str],
        asking: Asking,
    ) -> Sequence[Given]:
        given = await super().settle_and_claim(sent, channel, now, min(lease, LENGTH), addresses, asking)
        self._leases.end([one.claimed for one in sent])
        self._leases.keep([claimed for each in given for claimed in each.claims], lease, now)
        return given

    async def retry_at(
        self,
        claims: Sequence[Claimed],
        when: datetime,
        error: str,
        now: datetime,
        *,
        spent: float,
        unreached: Callable[[Claimed], Decide | None],
    ) -> None:
        await super().retry_at(claims, when, error, now, spent=spent, unreached=unreached)
        self._leases.end(claims)

    async def park(self, address: str, claims: Sequence[Claimed], channel: str) -> None:
        await super().park(address, claims, channel)
        self._leases.end(claims)

    async def dead(
        self, claimed: Claimed, failure: Failure, error: str, unreached: Decide, undelivered: Decide, now: datetime
    ) -> None:
        await super().dead(claimed, failure, error, unreached, undelivered, now)
        self._leases.end([claimed])

    async def pack(self, before: datetime, limit: int) -> int:  # noqa: ARG002
        return 0  # PostgreSQL compresses large values by itself

    async def check(self) -> None:
        for look in _LOOKS:
            last: int | None = 0
            while last is not None:
                values = (look, (last, _LOOKED_AT))
                last = await self._database_reader.run(lambda db, values=values: db.execute(*values).fetchone()[0])  # type: ignore[misc]

    def _moves(self, db: Connection, now: datetime) -> bool:
        """Every receiver sees that the database's clock was set: the first that notices moves everything."""
        moved = db.execute("SELECT value FROM own WHERE name = 'clock set'").fetchone()
        if moved is not None and abs(now.timestamp() - moved[0]) < _SET_ONCE:
            return False
        db.execute(OWN, ("clock set", now.timestamp()))
        return True

    def _sends_unwritten(self, db: PostgresConnection) -> bool:  # type: ignore[override]  # our writer's
        """Take the lock by which all others know; nobody may have taken the lead, and a standby is not the database."""
        if not db.execute(_ALONE, (_LEADING, self.owner)).fetchone()[0]:
            return False
        if self._unwritten_by is not db and db.execute(SENDS_UNWRITTEN).fetchone()[0]:
            self._unwritten_by = db
        return self._unwritten_by is db

    def _connected(self, connect: Callable[[], PostgresConnection]) -> PostgresConnection:
        """Connect to write; a lock ends with its connection, and each attempt to write in vain may have ended that."""
        db = connect()
        if self._unwritten_by is not None and self._in_doubt:
            with contextlib.suppress(LockNotAvailable):  # another one has begun to send
                db.execute(STILL_SENDS_UNWRITTEN)  # the session before may take a moment to end
                self._unwritten_by = db
        return db

    async def _has_written(self) -> None:
        def end(db: PostgresConnection) -> None:
            if self._unwritten_by is db and not self._in_doubt:
                self._unwritten_by = None
                db.execute(HAS_WRITTEN)

        if self._unwritten_by is not None:
            with contextlib.suppress(StoreError):  # with the connection the lock has gone
                await self._writer.run(end)  # type: ignore[arg-type]

    def _begun(self, db: Connection, *, others_send: bool, is_sure: bool) -> None:
        """Note what another receiver may have sent, and leave what is owed to one that sends as long as it leads."""
        self._leaves = False
        if is_sure and not others_send:
            return
        now = self.clock()
        outbox.tried(db, outbox.in_doubt(db, self._handling, now))
        if others_send:
            led = db.execute(_LED_BY_ANOTHER, (_LEADING, self.owner, now.timestamp())).fetchone()
            self._leaves = led is not None

    def _leased(self, db: Connection, channel: str, now: datetime, lease: float, ask: Ask) -> list[Claimed]:
        return [] if self._leaves else super()._leased(db, channel, now, lease, ask)

    def _erases(self) -> None:
        self.access.ended()
        self._listener.tell(ended=True, duty=True)

    def _saw(self, before: Incident, after: Incident) -> None:
        self._own_watch(before, after)
        self._listener.tell({after.id}, owes=True)

    def _hear(self, hint: Hint | None) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._take_in, hint)

    def _take_in(self, hint: Hint | None) -> None:
        if hint is None:
            self._changed()
            self._own_heard(None, duty=True)
            self.access.ended()
            return
        if hint.ended:
            self.access.ended()
        if hint.owes:
            self._changed()
        self._own_heard(hint.incidents, duty=hint.duty)


class SharedAccess(SQLAccess):
    """Tells the other receivers when a session or token has ended: they may show pages to whoever had it."""

    def __init__(self, writer: Writer, reader: Reader, listener: Listener) -> None:
        super().__init__(writer, reader)
        self._listener = listener

    def tell_ended(self) -> None:
        super().tell_ended()
        self._listener.tell(ended=True)


class SharedDuty(SQLDuty):
    """Tells the other receivers when people change who serves."""

    def __init__(self, writer: Writer, reader: Reader, listener: Listener) -> None:
        super().__init__(writer, reader)
        self._listener = listener

    async def change_covers(
        self, decide: Callable[[tuple[Cover, ...]], Changed], now: datetime, act: Act, form: str = ""
    ) -> Changed:
        changed = await super().change_covers(decide, now, act, form)
        self._listener.tell(duty=True)
        return changed

    async def set_awake(self, person: str, until: datetime, act: Act) -> None:
        await super().set_awake(person, until, act)
        self._listener.tell(duty=True)

    async def add_window(self, window: MadeWindow, most: int, act: Act, form: str = "") -> MadeWindow | None:
        made = await super().add_window(window, most, act, form)
        self._listener.tell(duty=True)
        return made

    async def end_window(self, number: int, now: datetime, act: Act) -> bool:
        ended = await super().end_window(number, now, act)
        self._listener.tell(duty=True)
        return ended


class SharedSilences(SQLSilences):
    """Lets one receiver after the other ask Alertmanager for silences: a form that comes to two makes one."""

    def __init__(self, writer: Writer, reader: Reader, owner: str) -> None:
        super().__init__(writer, reader)
        self._commit, self._owner = writer.commit, owner

    async def take_turn(self, now: datetime) -> bool:
        return await self._commit(lambda db: turns.take(db, _SILENCES, self._owner, now), urgent=True)

    async def end_turn(self) -> None:
        await self._commit(lambda db: turns.end(db, _SILENCES, self._owner), urgent=True)


class SharedErase:
    """See receiver.store.erase.EraseStore; ``begun`` is called once their sessions and tokens have ended."""

    def __init__(self, writer: Writer, begun: Callable[[], None]) -> None:
        self._writer, self._begun = writer, begun

    async def erase(self, person: str, texts: Iterable[str], act: Act) -> Erased:
        erased = await committed(self._writer.commit, person, texts, act, self._begun)
        return msgspec.structs.replace(erased, tidied=True)  # autovacuum removes what was changed
