"""What the receiver's tests start from: the document's matrix, people, alerts, and a clock that is told the time."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import msgspec

from receiver.channels.base import Message, Receipt, SendError
from receiver.incident.event import AlertsReceived, Event
from receiver.incident.machine import transition
from receiver.incident.model import (
    Alert,
    AlertGroup,
    Entry,
    EntryKind,
    Ignored,
    Incident,
    Kind,
    Notification,
    Plan,
    Priority,
    State,
    Step,
)
from receiver.oncall.contact_rules import Contact, Person
from receiver.policy.current import Current
from receiver.policy.routing import Routing
from receiver.store.base import Claimed, Decide, Store
from receiver.store.sql.connection import Connection
from receiver.store.sql.store import SQLStore
from receiver.store.sqlite.file import SQLiteConnection
from receiver.workers.clock_watch import ClockWatch, WatchedClock
from tests.receiver import stores
from tests.receiver.stores import the_store

START = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
KEY = 'receiver|{}:{alertname="HighErrorRate"}'
MINUTE = timedelta(minutes=1)

P1, P2, P3, P4, P5 = Priority


class Clock:
    """Time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now, self._set_by = START, 0.0

    def __call__(self) -> datetime:
        return self.now

    def elapsed(self) -> float:
        """The clock that nobody sets."""
        return self.now.timestamp() - self._set_by

    def forward(self, **delta: float) -> None:
        self.now += timedelta(**delta)

    def set(self, **delta: float) -> None:
        """Somebody sets the clock: no time passes."""
        self.now += timedelta(**delta)
        self._set_by += timedelta(**delta).total_seconds()


def steps(*cells: tuple[float, str]) -> tuple[Step, ...]:
    return tuple(Step(minutes * 60, (role,)) for minutes, role in cells)


def person(name: str) -> Person:
    return Person(name.title(), (Contact("pagerduty", "staff"), Contact("email", f"{name}@example.com")))


def the_routing() -> Routing:
    """The document's matrix, one person a role."""
    return Routing(
        severities={"critical": P1, "warning": P2, "info": P3, "none": P4},
        unknown_severity=P2,
        plans={
            P1: Plan(
                steps((0, "on-call-engineer"), (15, "tech-lead"), (30, "engineering-manager"), (60, "cto")), 900.0
            ),
            P2: Plan(steps((0, "on-call-engineer"), (30, "tech-lead"), (60, "engineering-manager")), 1800.0),
            P3: Plan(steps((15, "on-call-engineer"), (60, "tech-lead")), 7200.0),
            P4: Plan(steps((60, "on-call-engineer")), 86400.0),
        },
        dwell=300.0,
        roles={
            "on-call-engineer": ("linh",),
            "tech-lead": ("marek",),
            "engineering-manager": ("aisha",),
            "cto": ("peter",),
        },
        people={name: person(name) for name in ("linh", "marek", "aisha", "peter")},
        teams={"default": (Contact("slack", "#alerts"),), "backend": (Contact("slack", "#alerts-backend"),)},
    )


def with_p5() -> Routing:
    """The same with a fifth column."""
    routing = the_routing()
    fifth = Plan(steps((0, "on-call-engineer")), 3 * 86400.0)
    return msgspec.structs.replace(routing, plans={**routing.plans, P5: fifth})


def an_alert(
    fingerprint: str = "a",
    *,
    firing: bool = True,
    starts_at: datetime = START,
    ends_at: datetime | None = None,
    **labels: str,
) -> Alert:
    if not firing and ends_at is None:
        ends_at = starts_at + MINUTE
    return Alert(
        fingerprint=fingerprint,
        firing=firing,
        starts_at=starts_at,
        ends_at=ends_at,
        labels={"alertname": "HighErrorRate", "severity": "critical", "team": "backend", **labels},
        annotations={"summary": "High error rate detected", "description": "12% of requests fail."},
    )


def labelled(alert: Alert, **labels: str) -> Alert:
    return msgspec.structs.replace(alert, labels={**alert.labels, **labels})


def received(*alerts: Alert, truncated: int = 0) -> AlertsReceived:
    return AlertsReceived(AlertGroup(KEY, alerts, truncated))


def the_current(routing: Routing | None = None) -> Current:
    """What the workers hold: the routing, and since when the process runs."""
    return Current(routing or the_routing(), START)


def the_policy(routing: Routing | None = None) -> Routing:
    """What one event is decided by."""
    return the_current(routing).routing


def of_group(event: AlertsReceived, key: str = KEY) -> AlertGroup:
    """The group of an event, under a key."""
    return msgspec.structs.replace(event.group, key=key)


THE_GROUP = AlertGroup(KEY, ())


class Case:
    """One incident as the pure core sees it, event after event."""

    def __init__(self, routing: Routing | None = None) -> None:
        self.clock = Clock()
        self.current = the_current(routing)
        self.incident = Incident(id=1, key=KEY)
        self.timeline: list[Entry] = []
        self.notifications: tuple[Notification, ...] = ()  # what the last event owed
        self.ignored: Ignored | None = None  # why it changed nothing

    def state(self) -> State:
        return self.incident.state

    def when(self, event: Event) -> list[Notification]:
        decision = transition(self.incident, event, self.current.routing, self.clock.now)
        self.timeline += decision.entries
        self.incident, self.notifications = decision.incident, decision.notifications
        self.ignored = decision.ignored
        return list(decision.notifications)

    def noted(self, kind: EntryKind) -> list[Entry]:
        """The lines of one kind in the timeline so far."""
        return [entry for entry in self.timeline if entry.kind is kind]


def people(owed: list[Notification]) -> list[str]:
    """Whom a batch of notifications pages, once each."""
    return list(dict.fromkeys(n.target.person for n in owed if n.target.person and n.kind is Kind.PAGE))


def deciding(event: Event, now: datetime, routing: Routing | None = None) -> Decide:
    return partial(transition, event=event, policy=the_policy(routing), now=now)


async def a_store(folder: Path, clock: Clock) -> SQLStore:
    store = the_store(folder, clock)
    await store.open(clock.now)
    return store


def a_watch(store: Store, clock: Clock, current: Current) -> ClockWatch:
    """Looks at the tests' clock."""
    return ClockWatch(store, current, WatchedClock(clock, clock.elapsed), clock.elapsed, lambda _: None)


@contextmanager
def beside(folder: Path) -> Iterator[Connection]:
    """A second connection to the store of a folder, committed and closed at the end."""
    if not stores.on_postgres():
        with beside_file(folder) as file:
            yield file
        return
    yield stores.beside(folder)


@contextmanager
def beside_file(folder: Path) -> Iterator[SQLiteConnection]:
    """The same where the store is a file."""
    with closing(sqlite3.connect(folder / "receiver.sqlite3", factory=SQLiteConnection)) as other, other:
        yield other


def dumped(folder: Path) -> str:
    """Everything that is in the store of a folder."""
    if not stores.on_postgres():
        with beside_file(folder) as file:
            return "\n".join(file.iterdump())
    with beside(folder) as other:
        tables = [f'"{name}"' for (name,) in other.execute(stores.TABLES)]
        return "\n".join(
            str(row)
            for name in tables
            for row in other.execute(f"SELECT part::text FROM {name} part")  # noqa: S608  # our own names
        )


@contextmanager
def refusing(folder: Path, what: str, text: str, when: str = "true") -> Iterator[None]:
    """Let the store of a folder refuse a change inside: ``what`` is as INSERT ON outbox, ``when`` looks at NEW."""
    if stores.on_postgres():
        making = [
            f"""CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN RAISE EXCEPTION '{text}'; END $$""",
            f"CREATE TRIGGER refused BEFORE {what} FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION refuse()",
        ]
        ending = ["DROP FUNCTION refuse CASCADE"]
    else:
        making = [f"CREATE TRIGGER refused BEFORE {what} WHEN {when} BEGIN SELECT RAISE(ABORT, '{text}'); END"]
        ending = ["DROP TRIGGER refused"]
    with beside(folder) as other:
        for statement in making:
            other.execute(statement)
    yield
    with beside(folder) as other:
        for statement in ending:
            other.execute(statement)


class Taker:
    """A dispatcher that is given first pages and keeps them: nothing is sent."""

    lease = 90.0

    def __init__(self, *, takes: bool = True) -> None:
        self._takes, self.claims = takes, list[Claimed]()

    def takes(self, _address: str, _beside: int) -> bool:
        return self._takes

    def take(self, claims: Sequence[Claimed]) -> None:
        self.claims += claims


class Recorder:
    """A channel that keeps what it is given, or fails as it is told: the Channel Protocol's own seam."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.failures: list[SendError | Exception] = []

    async def send(self, message: Message) -> Receipt:
        if self.failures:
            raise self.failures.pop(0)
        self.sent.append(message)
        return Receipt(ref=f"ref-{len(self.sent)}")


def as_message(claimed: Claimed) -> Message:
    """The least that a message can be; how it reads is the business of test_render."""
    notification, incident = claimed.notification, claimed.incident
    return Message(
        id=str(claimed.id),
        kind=notification.kind,
        address=notification.target.address,
        lane=notification.target.lane,
        incident=f"heypeter-{incident.id}",
        priority=incident.priority,
        severity="critical",
        subject=incident.title,
        headline=incident.title,
        text=incident.title,
        write_html=str,
        fields=(),
        links=(),
        sent_at=START,
        thread=claimed.thread,
    )
