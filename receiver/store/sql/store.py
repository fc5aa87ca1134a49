"""What a store does, by the statements of this folder; its writer and its reader execute them, wherever that is."""

import asyncio
import logging
import math
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import msgspec

from receiver.incident import timers
from receiver.incident.delivery import Handling, is_urgent, pointless, umbrella_follows
from receiver.incident.event import AlertsReceived
from receiver.incident.heartbeat import Watch
from receiver.incident.machine import transition
from receiver.incident.matching import choose
from receiver.incident.model import (
    BY_HAND,
    Data,
    Decision,
    Entry,
    EntryKind,
    Failure,
    Incident,
    Kind,
    Notification,
    Priority,
    State,
)
from receiver.incident.policy import Policy
from receiver.incident.undo import UNDO_FOR
from receiver.store.base import (
    ANY,
    Ask,
    Asking,
    Backlog,
    ChannelState,
    Claimed,
    Decide,
    Given,
    IncidentFilter,
    IncidentHistory,
    IncidentPage,
    Member,
    Outage,
    PastIncident,
    RejectedError,
    Sent,
    Standing,
    StoreError,
    StoreOutageError,
    Taker,
    Trace,
    Undelivered,
    Wanted,
    WantedOpen,
)
from receiver.store.erase import EraseStore
from receiver.store.remembered import Remembered
from receiver.store.sql import act, duty, heartbeat, history, outbox, row
from receiver.store.sql.access import SQLAccess
from receiver.store.sql.ahead import Ahead
from receiver.store.sql.connection import OWN, Connection, Reader, Writer
from receiver.store.sql.duty import SQLDuty
from receiver.store.sql.first_pages import FirstPages
from receiver.store.sql.hooks import SQLHooks
from receiver.store.sql.past import SQLPast
from receiver.store.sql.push import SQLPush
from receiver.store.sql.silences import SQLSilences
from receiver.store.unreadable import Table, Unreadable

log = logging.getLogger(__name__)

T = TypeVar("T")
Watcher = Callable[[Incident, Incident], None]
Changed = row.Saved | None
Rounds = dict[str, tuple[Callable[[], Awaitable[object]], float]]

_BEAT = "INSERT INTO heartbeat VALUES (?, ?) ON CONFLICT (source) DO UPDATE SET last_seen_at = excluded.last_seen_at"
_HANDED_OVER = "handover "
_MOST_UNDONE = 500  # incidents that were resolved within the last minute, and may be undone
_SET_ASIDE_FOR = timedelta(minutes=5)  # until what cannot be sent, for its incident cannot be read, is looked at again
_FEW_UPDATES = 4  # of groups at once: no more of them give their pages away
_CHUNK = 250  # open incidents that are read at once: a few milliseconds


def nothing() -> None:
    """Do nothing."""


def unwatched(_before: Incident, _after: Incident) -> None:
    """Look at no change."""


class SQLStore:
    """See receiver.store.base.Store.

    ``changed`` is called in the event loop after each commit that may owe something, ``watch`` with each incident
    before and after its change. ``handling`` says how a channel gathers what is no P1.
    """

    def __init__(
        self,
        writer: Writer,
        reader: Reader,
        changed: Callable[[], None],
        *,
        watch: Watcher = unwatched,
        handling: outbox.HandlingOf = lambda _channel: Handling(),
    ) -> None:
        self._changed, self._watch, self._handling = changed, watch, handling
        self._writer, self._reader = writer, reader
        self.access = SQLAccess(writer, reader)
        self.duty = SQLDuty(writer, reader)
        self.push = SQLPush(writer, reader)
        self.silences = SQLSilences(writer, reader)
        self.past = SQLPast(writer)
        self.hooks = SQLHooks(writer, reader)
        self.unreadable = Unreadable()
        self._takers: dict[str, Taker] = {}
        self._lease_clock: Callable[[], datetime] | None = None
        self._updates = Counter[str]()  # under way, by the key of their group
        self._installation = 0
        self._in_doubt = set[int]()  # rows that may have been sent though nobody could write that down
        self._moved = timedelta(0)  # by which the clock was set since this process began

    erasing: EraseStore

    async def open(self, now: datetime, keys: Mapping[str, str] | None = None) -> None:
        """Make it ready; StoreError says what is in the way. ``keys``: see SQLiteStore."""
        raise NotImplementedError

    async def close(self) -> None:
        """Finish what is under way and let go of the database; call it last."""
        raise NotImplementedError

    def rounds(self) -> Rounds:
        """Give what is to be done every so many seconds while this receiver runs, by name."""
        return {}

    async def share(self, name: str, content: bytes) -> bytes:  # noqa: ARG002
        return content  # nobody else has the file

    async def check(self) -> None:
        """Look whether everything that is stored can be read; StoreError names the damage."""
        raise NotImplementedError

    @property
    def outage(self) -> Outage | None:
        return self._writer.outage

    async def update(self, event: AlertsReceived, policy: Policy, now: datetime) -> Incident | None:
        self._refuse()
        self._updates[event.group.key] += 1
        try:
            incident = await self._update(event, policy, now)
        finally:
            self._ended(event.group.key)
        self._refuse()  # it may have gone since somebody looked last
        return incident

    def _ended(self, key: str) -> None:
        self._updates[key] -= 1
        if not self._updates[key]:
            del self._updates[key]

    async def _update(self, event: AlertsReceived, policy: Policy, now: datetime) -> Incident | None:
        first: FirstPages | None = None
        leased_at = self._lease_clock() if self._lease_clock else now  # a body may have taken its time since ``now``

        def change(db: Connection, error: Exception | None = None) -> Changed:
            nonlocal first
            before = choose(event, row.Known(db), policy, now)
            if error is not None and before.state is not State.NEW:
                log.error("incident %d takes in nothing: another one is opened", before.id, exc_info=error)
                before = row.set_aside(db, before, event.group.key, now)
            decision = transition(before, event, policy, now)
            first = self._first_pages(event, before, decision, leased_at)
            return row.save(db, before, decision, self._handling, now, first)

        def hand_over() -> None:
            if first is not None:  # as soon as whoever has sent the webhook is answered
                asyncio.get_running_loop().call_soon(first.hand_over)

        decided = partial(self._decide, urgent=True, committed=hand_over)
        try:
            return await decided(change, ask=partial(row.ask, event.group))
        except Exception as error:
            is_outage = isinstance(error, StoreError) and not isinstance(error, RejectedError)
            if is_outage or not any(alert.firing for alert in event.group.alerts):
                raise
            # Whoever sent it would send it again and again, and nobody would hear of what fires.
            return await decided(partial(change, error=error))

    def give_first_pages(self, channel: str, taker: Taker, clock: Callable[[], datetime]) -> None:  # noqa: ARG002
        return  # a lease is its holder's, who may have lost it by now

    def _first_pages(
        self, event: AlertsReceived, before: Incident, decision: Decision, now: datetime
    ) -> FirstPages | None:
        """Say who may send the pages of a P1 that opens; in a storm, many are claimed by one commit.

        What a change of it means for itself may still cancel them: whoever is awake takes it. So may other news of its
        group, which may be in the same transaction: what is over when it is committed pages nobody.
        """
        opens = before.state is State.NEW and decision.incident.priority is Priority.P1 and not decision.ripples
        few = self._updates[event.group.key] == 1 and len(self._updates) <= _FEW_UPDATES
        return FirstPages(self._takers, decision, now) if self._takers and opens and few else None

    async def apply(self, incident_id: int, decide: Decide, now: datetime) -> Incident | None:
        def change(db: Connection) -> Changed:
            before = row.incident(db, incident_id)
            return row.save(db, before, decide(before), self._handling, now) if before else None

        return await self._decide(change, urgent=True)

    async def answer(
        self,
        incident_id: int,
        decide: Callable[[Incident, Standing], Decision],
        now: datetime,
        lane: str = "",
        *,
        parent: int = 0,
        trace: Trace | None = None,
    ) -> Incident | None:
        def change(db: Connection) -> Changed:
            before = row.incident(db, incident_id)
            if before is None:
                return None
            newest = row.Known(db).newest(before.key)
            standing = Standing(
                ends=outbox.ends(db, incident_id, lane)[0],
                newest=newest.id if newest else incident_id,
                parent=row.legible(db, parent) if parent else None,
                siblings=len(row.attached(db, parent)) if parent else 0,
                repeated=trace is not None and act.sent_before(db, trace.form) is not None,
            )
            return self._traced(db, before, decide(before, standing), trace, now)

        return await self._decide(change, urgent=True)

    async def raise_by_hand(
        self, decide: Callable[[Incident, Standing], Decision], now: datetime, trace: Trace
    ) -> Incident | None:
        def change(db: Connection) -> Changed:
            earlier = act.sent_before(db, trace.form)
            known = row.incident(db, earlier) if earlier is not None else None
            number = row.Known(db).next_number()
            before = known or Incident(id=number, key=f"{BY_HAND}{number}")
            decision = decide(before, Standing(0, before.id, repeated=known is not None))
            return self._traced(db, before, decision, trace, now)

        return await self._decide(change, urgent=True)

    def _traced(
        self, db: Connection, before: Incident, decision: Decision, trace: Trace | None, now: datetime
    ) -> row.Saved:
        """Save what was decided, and say in the audit log who has changed what."""
        saved = row.save(db, before, decision, self._handling, now)
        if saved.after is not None and trace is not None and decision.changes(before):
            act.write(db, trace, before, saved.after, now)
        return saved

    async def due(self, now: datetime, limit: int = 100) -> list[int]:
        query = "SELECT id FROM incident WHERE wake_at <= ? ORDER BY wake_at LIMIT ?"
        return await self._writer.run(lambda db: [f[0] for f in db.execute(query, (now.timestamp(), limit))])

    async def claim(self, channel: str, now: datetime, lease: float, limit: int, wanted: Wanted = ANY) -> list[Claimed]:
        first, moved = None, self._moved
        if not wanted.address:
            looked_at = now
            first = await self._writer.run(lambda db: outbox.first_due(db, channel, looked_at))
            if first is None:
                return []
            now += self._moved - moved  # else a lease of the old time would be over at once
        urgent = wanted.urgent is True or (first is not None and is_urgent(first))

        ask = Ask(limit, wanted)
        return await self._writer.commit(lambda db: self._leased(db, channel, now, lease, ask), urgent=urgent)

    def _leased(self, db: Connection, channel: str, now: datetime, lease: float, ask: Ask) -> list[Claimed]:
        """Lease what is owed and still worth sending."""
        whole = not ask.wanted.kind  # of a bundle nobody reads timelines
        claims: list[Claimed] = []
        while True:
            until, room = now.timestamp() + lease, ask.limit - len(claims)
            rows = outbox.lease(db, channel, now, until, room, ask.wanted)
            leased = self._claimed(db, rows, whole=whole)
            for row_id, attempt in {columns[0]: columns[3] for columns in rows}.items():
                if row_id not in {claimed.id for claimed in leased}:
                    outbox.set_aside(db, row_id, attempt, now + _SET_ASIDE_FOR)
            current = [claimed for claimed in leased if not _dropped(db, claimed, now)]
            current = [claimed for claimed in current if not _left_to_others(db, claimed, now)]
            claims += current
            if len(current) == len(rows):  # else others of their lanes may be sent now
                return claims

    async def readable(  # as ``claim``, and what is left out
        self,
        channel: str,
        now: datetime,
        limit: int,
        wanted: Wanted,
        *,
        held: Collection[int],
        settled: Collection[int],
    ) -> list[Claimed]:
        def read(db: Connection) -> list[Claimed]:
            if not self._sends_unwritten(db):
                return []
            rows = outbox.readable(db, channel, now, limit, wanted, held, settled)
            claimed = self._claimed(db, rows, whole=not wanted.kind)
            current = [c for c in claimed if not pointless(c.notification.kind, c.created_at, c.incident)]
            given = [c for c in current if _umbrella_follows(db, c)]
            self._in_doubt |= {each.id for each in given}  # here, so that whatever is changed from now on knows it
            return given

        return await self._writer.run(read)

    async def in_turn(self, claimed: Claimed) -> None:  # noqa: ARG002
        return  # who has a lease has its turn

    def holds(self, claimed: Claimed) -> bool:  # noqa: ARG002
        return True  # nobody else sends

    async def settle(self, claimed: Claimed, ref: str, decide: Decide, now: datetime) -> None:
        await self._decide(lambda db: self._settled(db, [Sent(claimed, ref, decide)], now)[0])
        self._changed()  # whatever waits behind it in its lane may be sent

    async def settle_and_claim(
        self,
        sent: Sequence[Sent],
        channel: str,
        now: datetime,
        lease: float,
        addresses: Collection[str],
        asking: Asking,
    ) -> Sequence[Given]:
        def change(db: Connection) -> tuple[list[Changed], list[Given]]:
            saved, given = self._settled(db, sent, now), list[Given]()
            for ask in asking(outbox.best_ranks(db, channel, addresses), given):
                may_be_due = ask.wanted.address or outbox.first_due(db, channel, now) is not None
                given.append(Given(ask, self._leased(db, channel, now, lease, ask) if may_be_due else []))
            return saved, given

        numbers = [one.claimed.incident.id for one in sent if one.claimed.notification.kind is Kind.PAGE]
        made = self._knowing(change, ask=partial(row.ask_for, numbers))
        (outcome,) = await asyncio.gather(made, return_exceptions=True)
        if isinstance(outcome, BaseException):
            if not isinstance(outcome, StoreOutageError):
                alone = (self.settle(one.claimed, one.ref, one.decide, now) for one in sent)
                await asyncio.gather(*alone, return_exceptions=True)
            raise outcome
        saved, given = outcome
        if any(one is not None and one.owes for one in saved):
            self._changed()
        for one in saved:
            self._watched(one)
        return given

    def _settled(self, db: Connection, sent: Sequence[Sent], now: datetime) -> list[Changed]:
        leased = [(one.claimed.id, one.claimed.attempt, one.ref) for one in sent]
        finished = outbox.finish_sent(db, leased, now)  # all of them, before the answer to the first is waited for
        return [
            self._told(db, one, now) if rows.rowcount == 1 else None  # else another attempt holds the lease by now
            for one, rows in zip(sent, finished, strict=True)
        ]

    def _told(self, db: Connection, sent: Sent, now: datetime) -> Changed:
        claimed = sent.claimed
        if not claimed.notification.is_redraw:
            row.write(db, claimed.incident.id, Entry(now, EntryKind.TOLD, _sending(claimed.notification)))
        return self._consider(db, claimed, sent.decide, now) if claimed.notification.kind is Kind.PAGE else None

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
        def put_off(db: Connection, claimed: Claimed, decide: Decide | None) -> Changed:
            elsewhere = decide is not None
            if not outbox.retry(db, claimed.id, claimed.attempt, when, error, spent, elsewhere=elsewhere):
                return None
            before = row.legible(db, claimed.incident.id)
            if before is None:
                return None
            _dropped(db, msgspec.structs.replace(claimed, incident=before), now)
            if decide is None or outbox.another_may_reach(db, before.id, claimed.notification, claimed.id):
                return None
            return row.save(db, before, decide(before), self._handling, now)

        changes = await self._writer.commit(lambda db: [put_off(db, each, unreached(each)) for each in claims])
        self._changed()
        for saved in changes:
            self._watched(saved)

    async def park(self, address: str, claims: Sequence[Claimed], channel: str) -> None:
        leased = [(claimed.id, claimed.attempt) for claimed in claims]
        await self._writer.commit(lambda db: outbox.park(db, channel, address, leased))

    async def release(self, channel: str, address: str, now: datetime, *, forward: bool) -> None:
        await self._writer.commit(lambda db: outbox.release(db, channel, address, forward=forward, now=now))

    async def most_urgent(self, channel: str, addresses: Sequence[str]) -> dict[str, int]:
        return await self._writer.run(lambda db: outbox.best_ranks(db, channel, addresses))

    async def digest(self, ref: str) -> list[tuple[Notification, Incident]]:
        def read(db: Connection) -> list[tuple[Notification, Incident]]:
            pages = outbox.digest(db, ref)
            found = ((page, row.legible(db, number)) for number, page in pages)
            return [(page, incident) for page, incident in found if incident is not None]

        return await self._reader.run(read)

    async def late_pages(self, channel: str, before: datetime, limit: int) -> list[Claimed]:
        def read(db: Connection) -> tuple[list[int], list[Claimed]]:
            numbers = outbox.late_pages(db, channel, before, limit)
            return numbers, self._claimed(db, [outbox.read(db, number) for number in numbers], whole=False)

        numbers, late = await self._writer.run(read)
        lost = set(numbers) - {claimed.id for claimed in late}
        if lost:  # else they would be looked at again, in place of others
            await self._writer.commit(lambda db: [outbox.mark_elsewhere(db, number) for number in lost])
        return late

    async def look_elsewhere(self, claimed: Claimed, unreached: Decide, now: datetime) -> None:
        def change(db: Connection) -> Changed:
            return self._consider(db, claimed, unreached, now) if outbox.mark_elsewhere(db, claimed.id) else None

        await self._decide(change)

    async def umbrella(self, number: int) -> tuple[Member, ...]:
        return await self._writer.run(lambda db: outbox.umbrella(db, number))

    async def owe_end_again(self, incident_id: int, channel: str, now: datetime) -> int:
        count = await self._writer.commit(lambda db: outbox.owe_end_again(db, incident_id, channel, now))
        self._changed()
        return count

    async def owe_acknowledgement_again(self, incident_id: int, channel: str, now: datetime) -> int:
        count = await self._writer.commit(lambda db: outbox.owe_acknowledgement_again(db, incident_id, channel, now))
        self._changed()
        return count

    async def channels_owed(self) -> set[str]:
        return await self._writer.run(outbox.channels)

    async def served_elsewhere(self) -> set[str]:
        return set()

    async def same_config(self, digest: str) -> bool:  # noqa: ARG002
        return True

    async def dead(  # the failure, and what becomes of it
        self,
        claimed: Claimed,
        failure: Failure,
        error: str,
        unreached: Decide,
        undelivered: Decide,
        now: datetime,
    ) -> None:
        def change(db: Connection) -> Changed:
            if not outbox.finish(db, claimed.id, claimed.attempt, "dead", now, error=error):
                return None  # another attempt holds the lease by now
            number, sending = claimed.incident.id, _sending(claimed.notification)
            data = msgspec.structs.replace(sending, failure=failure, detail=error)
            if not claimed.notification.is_redraw:
                row.write(db, number, Entry(now, EntryKind.DEAD, data))
            if claimed.notification.kind is not Kind.PAGE:
                return None
            if outbox.another_may_reach(db, number, claimed.notification, claimed.id):
                return None
            saved = self._consider(db, claimed, unreached, now)
            if outbox.round_is_dead(db, number, claimed.notification.round):
                return self._consider(db, claimed, undelivered, now)
            return saved

        await self._decide(change)
        self._changed()

    async def incident(self, incident_id: int) -> tuple[Incident, tuple[Entry, ...]] | None:
        def read(db: Connection) -> tuple[Incident, tuple[Entry, ...]] | None:
            stored = row.incident(db, incident_id)
            return (stored, row.timeline(db, incident_id)) if stored else None

        return await self._reader.run(read)

    async def lines(self, incident_id: int, skip: int, limit: int) -> tuple[Entry, ...]:
        return await self._reader.run(lambda db: row.timeline(db, incident_id, limit, skip))

    async def incidents(self, state: str | None, limit: int) -> list[Incident]:
        return await self._reader.run(lambda db: row.newest(db, state, limit))

    async def listed(self, wanted: IncidentFilter) -> IncidentPage:
        return await self._reader.run(lambda db: row.listed(db, wanted))

    async def alike(self, alertname: str, team: str, limit: int) -> list[PastIncident]:
        return await self._reader.run(lambda db: row.alike(db, alertname, team, limit))

    async def still_open(self, wanted: WantedOpen = None, remembered: Remembered | None = None) -> list[Incident]:
        numbers, incidents = await self._reader.run(row.still_open), list[Incident]()
        for start in range(0, len(numbers), _CHUNK):
            some = numbers[start : start + _CHUNK]
            read = partial(row.read_open, numbers=some, wanted=wanted, remembered=remembered)
            incidents += await self._reader.run(read)
        if remembered is not None:
            still_open = {incident.id for incident in incidents}
            await self._reader.run(lambda _: remembered.keep_only(still_open))  # in the thread that reads
        return incidents

    async def resolved_since(self, start: datetime, limit: int) -> list[Incident]:
        return await self._reader.run(lambda db: row.resolved_since(db, start, limit))

    async def resolved_before(self, before: datetime, limit: int) -> list[tuple[Incident, tuple[Entry, ...]]]:
        return await self._reader.run(lambda db: row.resolved_before(db, before, limit))

    async def pack(self, before: datetime, limit: int) -> int:
        return await self._writer.commit(lambda db: row.pack(db, before, limit))

    async def delete(self, numbers: list[int]) -> None:
        await self._writer.commit(lambda db: row.delete(db, numbers))

    def opened_between(self, start: datetime, end: datetime) -> AsyncIterator[IncidentHistory]:
        return history.opened_between(self._reader.run, start, end)

    async def undelivered(self, start: datetime, end: datetime) -> list[Undelivered]:
        return await self._reader.run(lambda db: history.undelivered(db, start, end))

    async def heartbeats(self) -> dict[str, datetime]:
        return await self._writer.run(row.heartbeats)

    async def clock_set(self, by: timedelta, now: datetime) -> None:
        def change(db: Connection) -> list[Changed]:
            if not self._moves(db, now):
                return []
            outbox.clock_set(db, by)
            db.execute("UPDATE heartbeat SET last_seen_at = last_seen_at + ?", (by.total_seconds(),))
            heartbeat.clock_set(db, by)
            duty.clock_set(db, by)
            return [
                row.save(db, incident, timers.clock_set(incident, by, now), self._handling, now)
                for incident in row.waiting(db, now - by - UNDO_FOR, _MOST_UNDONE)
            ]

        self._moved += by
        try:
            changes = await self._writer.commit_in_order(change)
        except StoreError:
            self._moved -= by
            raise
        for saved in changes:
            self._watched(saved)

    async def beat(self, source: str, now: datetime) -> None:
        await self._writer.commit(lambda db: db.execute(_BEAT, (source, now.timestamp())))

    async def job_beat(self, name: str, now: datetime) -> None:
        self._refuse()
        await self._writer.commit(lambda db: heartbeat.beat(db, name, now), urgent=True)
        self._refuse()

    async def watch_jobs(self, decide: Callable[[Watch], Watch]) -> Watch:
        def change(db: Connection) -> Watch:
            before = heartbeat.read(db)
            after = decide(before)
            heartbeat.keep(db, before, after)
            return after

        return await self._writer.commit(change)

    async def forget_job(self, name: str) -> None:
        await self._writer.commit(lambda db: heartbeat.forget(db, name))

    async def alive(self, now: datetime) -> None:
        await self._writer.commit(lambda db: db.execute(OWN, ("alive", now.timestamp())))

    async def installation(self) -> int:
        def known(db: Connection) -> int:
            columns = db.execute("SELECT value FROM own WHERE name = 'installation'").fetchone()
            if columns and not math.isfinite(columns[0]):
                raise StoreError("own.installation: cannot be read: restore a backup, or all links lead nowhere")
            return int(columns[0]) if columns else 0

        def change(db: Connection) -> int:
            number = 1 + secrets.randbelow(2**52 - 1)
            db.execute("INSERT INTO own VALUES ('installation', ?) ON CONFLICT DO NOTHING", (float(number),))
            return known(db)

        # It never changes, and each link, button and answer asks for it: a commit each would be an fsync each.
        # Read first: a process must also start while nothing can be written.
        self._installation = self._installation or await self._writer.run(known) or await self._writer.commit(change)
        return self._installation

    async def last_alive(self) -> datetime | None:
        query = "SELECT value FROM own WHERE name = 'alive'"
        columns = await self._writer.run(lambda db: db.execute(query).fetchone())
        return self._remembered("alive", columns)

    async def handed_over(self, role: str) -> datetime | None:
        query = "SELECT value FROM own WHERE name = ?"
        row = await self._reader.run(lambda db: db.execute(query, (_HANDED_OVER + role,)).fetchone())
        return self._remembered(_HANDED_OVER + role, row)

    def _remembered(self, name: str, columns: tuple[float] | None) -> datetime | None:
        if columns is None:
            return None
        return self.unreadable.read(Table.OWN, name, lambda: datetime.fromtimestamp(columns[0], UTC))

    async def hand_over(self, role: str, at: datetime) -> None:
        await self._writer.commit(lambda db: db.execute(OWN, (_HANDED_OVER + role, at.timestamp())))

    @property
    def leads(self) -> bool:
        return self.term is not None

    @property
    def term(self) -> int | None:
        return 1

    async def backlog(self) -> Backlog:
        return await self._reader.run(row.backlog)

    async def channel_states(self) -> list[ChannelState]:
        return await self._reader.run(outbox.channel_states)

    def _moves(self, db: Connection, now: datetime) -> bool:  # noqa: ARG002
        """Say whether this receiver is the one that moves what waits along with a clock that was set."""
        return True

    def _sends_unwritten(self, db: Connection) -> bool:  # noqa: ARG002
        """Say whether this receiver is the one that sends what it cannot write down."""
        return True

    def _erases(self) -> None:
        """The sessions and tokens of somebody have ended."""
        self.access.tell_ended()

    def _refuse(self) -> None:
        """Refuse what would be lost although it is committed; StoreOutageError."""

    def _consider(self, db: Connection, claimed: Claimed, decide: Decide, now: datetime) -> Changed:
        before = row.legible(db, claimed.incident.id)
        return row.save(db, before, decide(before), self._handling, now) if before else None

    async def _look_back(self, now: datetime) -> None:
        """See what may have been sent by the process before, which ended while nothing could be written."""
        self._in_doubt |= set(await self._reader.run(lambda db: outbox.in_doubt(db, self._handling, now)))

    async def _knowing(
        self,
        change: Callable[[Connection], T],
        *,
        urgent: bool = False,
        ask: Callable[[Ahead], None] | None = None,
    ) -> T:
        """Make a change that knows what may have been sent: else an answer would follow no page that seems in time."""
        noted = set[int]()

        def knowing(db: Connection) -> T:
            if self._in_doubt:
                noted.update(self._in_doubt)
                outbox.tried(db, noted)
            return change(db)

        done = await self._writer.commit(knowing, urgent=urgent, ask=ask)
        self._in_doubt -= noted
        return done

    async def _decide(
        self,
        change: Callable[[Connection], Changed],
        *,
        urgent: bool = False,
        ask: Callable[[Ahead], None] | None = None,
        committed: Callable[[], None] = nothing,
    ) -> Incident | None:
        saved = await self._knowing(change, urgent=urgent, ask=ask)
        committed()
        if saved is not None and saved.owes:
            self._changed()
        return self._watched(saved)

    def _claimed(self, db: Connection, rows: list[tuple[Any, ...]], *, whole: bool) -> list[Claimed]:
        """Build what the dispatcher gets of some rows, but of those whose incident cannot be read."""
        incidents = row.incidents(db, [columns[1] for columns in rows])
        claimed = (
            self._one_claimed(db, columns, incidents[columns[1]], whole=whole)
            for columns in rows
            if columns[1] in incidents
        )
        return [one for one in claimed if one is not None]

    def _one_claimed(
        self, db: Connection, columns: tuple[Any, ...], incident: Incident, *, whole: bool
    ) -> Claimed | None:
        row_id, number, doc, attempt, created_at, lane, priority, tries, spent, elsewhere, bundle, *rest = columns
        owed_at = db.unreadable.read(Table.NOTIFICATION, row_id, lambda: datetime.fromtimestamp(created_at, UTC))
        if owed_at is None:
            return None
        notification = outbox.notification(db, row_id, doc, rest)
        keeps = self._handling(notification.target.channel).keeps_incidents
        generation, begins_after = outbox.ends(db, number, lane, row_id) if keeps else (0, 0)
        if bundle is None and notification.kind is not Kind.PAGE:
            bundle = outbox.umbrella_of(db, number, lane, begins_after, row_id)
        thread = outbox.card(db, number, lane) if notification.is_redraw else ""
        if whole and not notification.is_redraw:
            thread = outbox.thread(db, number, lane, begins_after)
        return Claimed(
            id=row_id,
            incident=incident,
            notification=notification,
            timeline=row.timeline(db, number) if whole else (),
            attempt=attempt,
            created_at=owed_at,
            thread=thread,
            priority=Priority(priority),
            tries=tries,
            spent=spent,
            elsewhere=bool(elsewhere),
            generation=generation,
            bundle=bundle or 0,
        )

    def _watched(self, saved: Changed) -> Incident | None:
        if saved is None or saved.after is None:
            return None
        if saved.after is not saved.before:
            self._watch(saved.before, saved.after)
        for other in saved.others:
            self._watched(other)
        return saved.after


def _dropped(db: Connection, claimed: Claimed, now: datetime) -> bool:
    """Cancel what was answered while its sender died or failed: in doubt it was sent, and now it is pointless."""
    notification = claimed.notification
    if notification.is_redraw or not pointless(notification.kind, claimed.created_at, claimed.incident):
        return False
    outbox.cancel(db, claimed.id, now)
    return True


def _left_to_others(db: Connection, claimed: Claimed, now: datetime) -> bool:
    """Cancel what an umbrella is not told yet: the last of its members tells it for all."""
    if _umbrella_follows(db, claimed):
        return False
    outbox.cancel(db, claimed.id, now)
    return True


def _umbrella_follows(db: Connection, claimed: Claimed) -> bool:
    kind, number = claimed.notification.kind, claimed.bundle
    if not number or kind not in {Kind.ACKNOWLEDGED, Kind.RESOLVED}:
        return True
    follows = umbrella_follows(kind, outbox.umbrella_states(db, number))
    return follows and not outbox.umbrella_is_told_later(db, number, kind, claimed.id)


def _sending(notification: Notification) -> Data:
    target = notification.target
    return Data(notification=notification.kind, channel=target.channel, address=target.address, person=target.person)
