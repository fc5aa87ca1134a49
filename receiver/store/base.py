"""What a store promises, whichever database it is in."""

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Protocol

import msgspec

from receiver.incident.event import AlertsReceived
from receiver.incident.heartbeat import Watch
from receiver.incident.model import (
    DEFAULT_SOURCE,
    Clocks,
    Decision,
    Entry,
    Failure,
    Incident,
    Notification,
    Pause,
    Plan,
    Priority,
    State,
)
from receiver.incident.policy import Policy
from receiver.store.remembered import Remembered

LINES_SHOWN = 200  # of a timeline, that are read with an incident

Decide = Callable[[Incident], Decision]


class StoreError(Exception):
    """The change could not be made durable (disk full, database locked): the caller must not say that it was."""


class Outage(StrEnum):
    """Why nothing can be made durable for now; a label of a metric."""

    FULL = "full"
    LOCKED = "locked"  # by another program
    READ_ONLY = "read_only"
    IO_ERROR = "io_error"
    CORRUPT = "corrupt"
    UNREACHABLE = "unreachable"  # the database's server does not answer
    REFUSED = "refused"  # the server answers, and does not let us in or do something
    SLOW = "slow"  # the server has ended a statement or a transaction that took too long
    REPLACED = "replaced"  # the file or tables are gone or are others: what is written would be lost with this process


class RejectedError(StoreError):
    """The database refuses this very change, and nothing has happened; others may be made."""


class StoreOutageError(StoreError):
    """It is the machine and not the change that is at fault: it may work again by itself, and others fail alike."""

    def __init__(self, outage: Outage, text: str) -> None:
        super().__init__(text)
        self.outage = outage


class Claimed(msgspec.Struct, frozen=True):
    """A notification leased to this process; ``attempt`` fences it: only the holder of this attempt may settle."""

    id: int
    incident: Incident
    notification: Notification
    timeline: tuple[Entry, ...]
    attempt: int
    created_at: datetime
    thread: str  # the ref of the first message that was sent on this lane
    priority: Priority = Priority.P2  # of the incident when this was owed
    tries: int = 0  # attempts that failed
    spent: float = 0.0  # seconds of patience that they have used up
    elsewhere: bool = False  # another way to the person has been looked for
    generation: int = 0  # ends that were owed to its lane before, where the provider keeps incidents
    bundle: int = 0  # the umbrella that its incident is a member of on this lane; 0 if it stands alone


class Member(msgspec.Struct, frozen=True):
    """An incident that a provider's incident stands for: by which lane, and which of the lane's incidents there."""

    incident: int
    lane: str
    generation: int


class Standing(msgspec.Struct, frozen=True):
    """What an answer must know beside the incident: ``ends`` were owed to the lane that it came by.

    ``newest`` is the newest incident of the same group: another one if the group fires in that by now.
    """

    ends: int
    newest: int
    parent: Incident | None = None  # the incident that this one is to be attached to
    siblings: int = 0  # how many are attached to that
    repeated: bool = False  # the same form has been sent before


class Trace(msgspec.Struct, frozen=True):
    """Who acts, by which way: what the audit log says beside the act itself.

    ``form`` is unique to one form or request, so that one which is sent twice acts once; "" if there is none.
    """

    actor: str = ""
    via: str = ""
    ip: str = ""
    act: str = ""
    form: str = ""


class Wanted(msgspec.Struct, frozen=True):
    """Which of the rows that are owed: any that is due, or what waits for one ``address``, parked or not.

    ``urgent``: nothing but P1, or everything but P1. ``kind`` and ``early`` narrow and widen what is given for an
    address: ``early`` rows wait to be retried. ``trial`` gives the one row by which to try whether an address works.
    """

    address: str = ""
    kind: str = ""
    urgent: bool | None = None
    early: bool = False
    trial: bool = False


ANY = Wanted()


class Ask(msgspec.Struct, frozen=True):
    """So many rows at most."""

    limit: int
    wanted: Wanted = ANY


class Given(msgspec.Struct, frozen=True):
    """What was asked for and leased."""

    ask: Ask
    claims: list[Claimed]


class Sent(msgspec.Struct, frozen=True):
    """A notification that was sent: what the provider calls it, and, if it was a page, what that means."""

    claimed: Claimed
    ref: str
    decide: Decide


# Asks for one thing after the other: the ranks of what waits for some addresses, and what was given so far.
Asking = Callable[[Mapping[str, int], Sequence[Given]], Iterator[Ask]]


class Taker(Protocol):
    """A dispatcher that may be given the first pages of a P1 as soon as its incident is opened, leased already."""

    @property
    def lease(self) -> float:
        """For how many seconds."""

    def takes(self, address: str, beside: int) -> bool:
        """Say whether it would send to an address at once, and as many ``beside``; asked in another thread."""

    def take(self, claims: Sequence[Claimed]) -> None:
        """Send them, or put them back; one that stops leaves them to the next process."""


class Listed(msgspec.Struct, frozen=True):
    """Of an alert, whether it fires."""

    firing: bool


class Outline(msgspec.Struct, frozen=True):
    """As much of an open incident as tells whether a loop has anything to do in it: a part of its stored document."""

    id: int
    source: str = DEFAULT_SOURCE
    receiver: str = ""
    alerts: dict[str, Listed] = {}  # msgspec copies a mutable default
    ended: dict[str, datetime] = {}
    ended_ahead: dict[str, datetime] = {}
    truncated: int = 0
    paused: Pause | None = None
    held: bool = False


WantedOpen = Callable[[Outline], bool] | None


class OpenIncident(msgspec.Struct, frozen=True):
    """What a list of open incidents shows of one: a part of its stored document, so names and defaults are the same."""

    id: int
    state: State
    priority: Priority = Priority.P4
    title: str = ""
    team: str = ""
    labels: dict[str, str] = {}  # msgspec copies a mutable default
    opened_at: datetime | None = None
    acknowledged_by: str = ""


class Awaited(msgspec.Struct, frozen=True):
    """What says how long nobody has acknowledged an incident: a part of the stored document, as above."""

    opened_at: datetime | None = None
    paused: Pause | None = None
    held_at: datetime | None = None
    attached_to: int = 0
    plan: Plan = Plan()
    clocks: Clocks = Clocks()

    @property
    def since(self) -> datetime | None:
        """Say since when it has waited, if its response time counts; None if it stands still and waits for nobody.

        The response time may count in some hours only: what is left of it is subtracted from its end.
        """
        if self.paused or self.held_at or self.attached_to or self.clocks.quiet_until:
            return None
        due = self.clocks.answer_due_at
        return due - timedelta(seconds=self.plan.response_time) if due else self.clocks.started_at or self.opened_at

    @property
    def due(self) -> datetime | None:
        """Say when somebody was to acknowledge it; None if it waits for nobody, or has no response time."""
        since, patience = self.since, self.plan.response_time
        return since + timedelta(seconds=patience) if since is not None and patience else None


class PastIncident(msgspec.Struct, frozen=True):
    """What is compared of incidents that were called the same: a part of the stored document, as above."""

    id: int
    state: State
    priority: Priority = Priority.P4
    title: str = ""
    labels: dict[str, str] = {}  # msgspec copies a mutable default
    opened_at: datetime | None = None
    acknowledged_by: str = ""
    resolved_at: datetime | None = None
    resolved_by: str = ""
    drill: bool = False


class Backlog(msgspec.Struct, frozen=True):
    """What the metrics say of the store."""

    open_incidents: dict[tuple[str, str], int]  # (state, priority) -> how many
    oldest_unacknowledged: dict[str, datetime]  # priority -> since when the one waits that has waited longest
    first_due: dict[str, datetime]  # priority -> when the one was to be acknowledged that is most overdue, or next due
    oldest_owed: dict[str, datetime]  # channel -> when its oldest unsent notification became due
    heartbeats: dict[str, datetime]  # source -> last seen
    most_urgent: tuple[OpenIncident, ...] = ()  # of the open incidents, the oldest of a priority first


class ChannelState(msgspec.Struct, frozen=True):
    """What waits on a channel, and the newest error of what has failed there."""

    channel: str
    owed: int = 0
    oldest: datetime | None = None  # of what is owed
    last_error: str = ""  # the channel's own text
    given_up_at: datetime | None = None  # the newest that will never be sent


class SentPage(msgspec.Struct, frozen=True):
    """One page that reached a person, by whichever channel was first."""

    at: datetime
    person: str


class IncidentFilter(msgspec.Struct, frozen=True):
    """Which incidents are listed, newest first: ``before`` is the number that the list goes on from."""

    limit: int
    before: int | None = None
    state: State | None = None
    priority: Priority | None = None
    team: str | None = None
    since: Annotated[datetime, msgspec.Meta(tz=True)] | None = None  # when they were opened


class IncidentPage(msgspec.Struct, frozen=True):
    """Part of a list, and the ``before`` by which it goes on; None at its end.

    It may hold fewer than asked for, also none, before the end: only so many are looked at in one reading.
    """

    incidents: list[Incident]
    next: int | None = None


class IncidentHistory(msgspec.Struct, frozen=True):
    """An incident with what is counted of its past.

    ``acknowledged_at`` is the first acknowledgement, also of one that was reopened since.
    """

    incident: Incident
    acknowledged_at: datetime | None = None
    breached: bool = False  # its response time, at least once
    reopened: int = 0
    pages: tuple[SentPage, ...] = ()


class Undelivered(msgspec.Struct, frozen=True):
    """How many notifications of a period were given up; ``person`` is empty for a team's address."""

    channel: str
    person: str
    count: int


class History(Protocol):
    """What reports read, a page at a time, so that a long report keeps nobody waiting."""

    def opened_between(self, start: datetime, end: datetime) -> AsyncIterator[IncidentHistory]:
        """Give the incidents that opened from ``start`` until before ``end``, drills too, by when they opened.

        Raises:
            StoreError: they cannot be read.
        """

    async def undelivered(self, start: datetime, end: datetime) -> list[Undelivered]:
        """Count what was given up from ``start`` until before ``end``, most first; StoreError as above."""


class Outbox(Protocol):
    """What a dispatcher needs: what is owed, and what became of it."""

    async def claim(self, channel: str, now: datetime, lease: float, limit: int, wanted: Wanted = ANY) -> list[Claimed]:
        """Lease what is owed on a channel now, P1 first, in order within each lane: a row waits for the one before."""

    async def in_turn(self, claimed: Claimed) -> None:
        """Wait until nothing else of its lane is being sent: only what went out without a lease can be."""

    def holds(self, claimed: Claimed) -> bool:
        """Say whether the lease on it lasts as far as is known here: we may have been stopped for longer."""

    async def settle(self, claimed: Claimed, ref: str, decide: Decide, now: datetime) -> None:
        """It was sent; if it was a page, ``decide`` is applied in the same transaction."""

    async def settle_and_claim(
        self,
        sent: Sequence[Sent],
        channel: str,
        now: datetime,
        lease: float,
        addresses: Collection[str],
        asking: Asking,
    ) -> Sequence[Given]:
        """Settle what was sent and claim what comes next in one transaction, which costs one commit.

        ``asking`` gets the ranks of the most urgent rows that wait for these addresses. It runs inside the transaction,
        perhaps again, and must be pure. No claim is of more than what is there: what has waited behind a row that is
        settled here may be given.
        """

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
        """They were tried and not sent; try again at ``when``, unless they have become pointless.

        What ``unreached`` gives is applied in the same transaction: it may find another way to the person. It is not
        while another page may still reach them (``delivery.may_still_reach``). ``spent`` is the patience in seconds
        that this attempt has used up.
        """

    async def park(self, address: str, claims: Sequence[Claimed], channel: str) -> None:
        """Nothing for this address is claimed any more but by its name; ``claims`` go back untried."""

    async def release(self, channel: str, address: str, now: datetime, *, forward: bool) -> None:
        """End ``park``; with ``forward`` everything that waits there to be retried is due now."""

    async def most_urgent(self, channel: str, addresses: Sequence[str]) -> dict[str, int]:
        """Give the rank (``delivery.rank``) of the most urgent row that waits for each address, if any does."""

    async def digest(self, ref: str) -> list[tuple[Notification, Incident]]:
        """Give the pages that went out in one message of many incidents, with the incidents as they are.

        The ``thread`` of a redraw is its ref, which begins with *, where the lane was told first in such a message.
        """

    async def late_pages(self, channel: str, before: datetime, limit: int) -> list[Claimed]:
        """Give unsettled pages owed before a moment that have not looked for another way; nothing is leased."""

    async def look_elsewhere(self, claimed: Claimed, unreached: Decide, now: datetime) -> None:
        """Apply ``unreached`` to a page that is still owed; each page looks for another way once."""

    async def dead(
        self,
        claimed: Claimed,
        failure: Failure,
        error: str,
        unreached: Decide,
        undelivered: Decide,
        now: datetime,
    ) -> None:
        """It will never be sent: ``unreached`` is applied, and when its whole round is dead, ``undelivered``.

        ``unreached`` is not while another page may still reach the person (``delivery.may_still_reach``).

        The timeline gets ``failure``, and ``error``, the channel's own text, as its detail.
        """


class Store(History, Outbox, Protocol):
    """Incidents and what they owe. Every method is one transaction; all may be called concurrently.

    ``decide`` runs inside the transaction and must be pure: it may run again if the transaction is retried. Any method
    that writes may raise StoreOutageError, and then nothing of it has happened; reading goes on as long as it can. A
    database on another machine may leave open whether it has happened: so callers repeat what does no harm twice, and
    tell people that it may have been saved.
    """

    @property
    def outage(self) -> Outage | None:
        """Say why nothing can be written, as far as was seen at the last attempt."""

    def give_first_pages(self, channel: str, taker: Taker, clock: Callable[[], datetime]) -> None:
        """Give a channel's first pages of P1 to a taker, where this process is the only one that has the database."""

    async def update(self, event: AlertsReceived, policy: Policy, now: datetime) -> Incident | None:
        """Apply the event to the incident that ``matching.choose`` gives; None if none was opened.

        On return state, timeline and outbox are on disk. StoreError: nothing has changed.
        """

    async def apply(self, incident_id: int, decide: Decide, now: datetime) -> Incident | None:
        """Apply ``decide`` to this very incident, resolved or not; None if there is no such incident."""

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
        """As ``apply``, for an answer that came by ``lane``: how things stand is read in the same transaction.

        What changes something is written into the audit log as ``trace`` says. ``parent``: see ``Standing``.
        """

    async def raise_by_hand(
        self, decide: Callable[[Incident, Standing], Decision], now: datetime, trace: Trace
    ) -> Incident | None:
        """Open an incident that no alert has made; None if ``decide`` refuses. A form sent twice gives the first."""

    async def due(self, now: datetime, limit: int = 100) -> list[int]:
        """Give the incidents that have a clock at its time, longest overdue first."""

    async def readable(
        self,
        channel: str,
        now: datetime,
        limit: int,
        wanted: Wanted,
        *,
        held: Collection[int],
        settled: Collection[int],
    ) -> list[Claimed]:
        """Read what ``claim`` would lease, parked or not, and lease nothing: for when nothing can be written.

        Rows in ``held`` are left out; no row waits for one of ``settled``.
        """

    async def owe_end_again(self, incident_id: int, channel: str, now: datetime) -> int:
        """Owe once more what told this channel of the incident's end, whatever became of it; gives how many."""

    async def owe_acknowledgement_again(self, incident_id: int, channel: str, now: datetime) -> int:
        """Owe once more what told this channel that somebody has it, where that was the last word; gives how many."""

    async def umbrella(self, number: int) -> tuple[Member, ...]:
        """Give the incidents whose pages went out under an umbrella."""

    async def channels_owed(self) -> set[str]:
        """Name the channels on which something is owed, configured or not."""

    async def served_elsewhere(self) -> set[str]:
        """Name the channels that other receivers on this store send by: their configuration may be a newer one."""

    async def same_config(self, digest: str) -> bool:
        """Say whether all receivers on this store that live have said the same here."""

    async def incident(self, incident_id: int) -> tuple[Incident, tuple[Entry, ...]] | None:
        """Give one incident and the last lines of its timeline."""

    async def lines(self, incident_id: int, skip: int, limit: int) -> tuple[Entry, ...]:
        """Give older lines of a timeline, oldest first: those before its last ``skip``, ``limit`` of them at most."""

    async def incidents(self, state: str | None, limit: int) -> list[Incident]:
        """Give the newest incidents, all or those in ``state``."""

    async def listed(self, wanted: IncidentFilter) -> IncidentPage:
        """Give part of a list."""

    async def alike(self, alertname: str, team: str, limit: int) -> list[PastIncident]:
        """Give the newest incidents of a team that were opened by alerts of one name."""

    async def still_open(self, wanted: WantedOpen = None, remembered: Remembered | None = None) -> list[Incident]:
        """Give the incidents that are not resolved, oldest first: all, or those that are ``wanted``.

        ``wanted`` is asked about each, in this order and in another thread: it must take microseconds. With what a
        reader has ``remembered`` of its last reading, an incident that has not changed since is the same object.
        """

    async def resolved_since(self, start: datetime, limit: int) -> list[Incident]:
        """Give the incidents that were resolved at this moment or later, newest first."""

    async def resolved_before(self, before: datetime, limit: int) -> list[tuple[Incident, tuple[Entry, ...]]]:
        """Give incidents that were resolved before a moment, oldest first, with their whole timelines."""

    async def pack(self, before: datetime, limit: int) -> int:
        """Save room in the next incidents that were resolved before a moment; gives how many, 0 when all are done."""

    async def delete(self, numbers: list[int]) -> None:
        """Delete resolved incidents, with all that belongs to them."""

    async def share(self, name: str, content: bytes) -> bytes:
        """Agree on a small file with all receivers of this store; gives what the first of them had of this name."""

    async def check(self) -> None:
        """Look whether everything that is stored can be read; StoreError names the damage."""

    async def alive(self, now: datetime) -> None:
        """Remember that this receiver ran at this moment."""

    async def last_alive(self) -> datetime | None:
        """Say when a receiver on this store was last known to run."""

    async def heartbeats(self) -> dict[str, datetime]:
        """Say when the Watchdog of each source was last heard."""

    async def clock_set(self, by: timedelta, now: datetime) -> None:
        """Move all that waits along with a clock that was set by ``by``, and is ``now``.

        That is after every change that was asked for before this, and before all others.
        """

    async def installation(self) -> int:
        """Give the random number of this database, under 2**52; another database has another one."""

    async def beat(self, source: str, now: datetime) -> None:
        """Remember that the Watchdog of ``source`` was heard."""

    async def job_beat(self, name: str, now: datetime) -> None:
        """Remember that a job was heard; on return it is on disk."""

    async def watch_jobs(self, decide: Callable[[Watch], Watch]) -> Watch:
        """Apply ``decide`` to what is known of the jobs' heartbeats, and keep and give what it gives."""

    async def forget_job(self, name: str) -> None:
        """Forget what is known of one job."""

    async def handed_over(self, role: str) -> datetime | None:
        """Say of which change of a role a summary was sent last; None if of none."""

    async def hand_over(self, role: str, at: datetime) -> None:
        """Remember that the summary of this change of the role was sent."""

    @property
    def leads(self) -> bool:
        """Say whether this receiver, of those that share the store, is to do now what only one is to do."""

    @property
    def term(self) -> int | None:
        """Number the time for which this receiver leads, None while it does not.

        What it remembers of an earlier term is out of date: another may have led in between.
        """

    async def backlog(self) -> Backlog:
        """Read what the metrics show."""

    async def channel_states(self) -> list[ChannelState]:
        """Say how sending goes on each channel that anything is owed on, or was given up on of late."""

    async def close(self) -> None:
        """Finish what is under way and let go of the database; call it last."""
