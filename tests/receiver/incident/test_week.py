"""Weeks of incidents against an independent model: no notification lost, early, doubled or out of order.

The model is written from the document's table and the decisions of docs/adr, in minutes, and shares nothing with
the receiver but names. The receiver is the real one: SQLite, escalator and dispatcher, killed in between.
"""

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from receiver.channels.base import Failure, Message, Receipt, SendError
from receiver.incident.event import Acknowledge, AlertsReceived, Event, Paused, Resolve, Resumed
from receiver.incident.machine import transition
from receiver.incident.model import AlertGroup, Origin, Pause, PauseKind
from receiver.metrics import Metrics
from receiver.oncall.contact_rules import Contact
from receiver.policy.routing import Routing
from receiver.workers.dispatcher import Dispatcher
from receiver.workers.escalator import Escalator
from receiver.workers.retry import RetryPolicy
from receiver.workers.stuck import Stuck
from tests.receiver.example_site import (
    START,
    Clock,
    a_watch,
    an_alert,
    as_message,
    the_current,
    the_routing,
)
from tests.receiver.stores import the_store

TABLE = {  # the document's: minutes after the beginning, and who is told
    "critical": [(0, "linh"), (15, "marek"), (30, "aisha"), (60, "peter")],
    "warning": [(0, "linh"), (30, "marek"), (60, "aisha")],
    "info": [(15, "linh"), (60, "marek")],
    "none": [(60, "linh")],
}
DWELL, WINDOW, QUIET, HOUR = 5, 10, 15, 60
KEYS = st.sampled_from(["api", "database", "payments"])
SEVERITIES = st.sampled_from(list(TABLE))


@dataclass
class Trouble:
    """What the model knows of one key."""

    severity: str
    begun: float  # the minute that the row counts from; it moves on by every pause
    taken: int = 0  # steps of the row that have been taken
    last: float = -1e9  # when the last one was
    floor: float = -1e9  # the next one comes no sooner
    firing: bool = True
    acknowledged: bool = False
    by_hand: bool = False
    paused: float | None = None
    over: float | None = None
    quiet_until: float | None = None
    reopened: list[float] = field(default_factory=list)
    flapping: bool = False

    def due(self) -> float | None:
        row = TABLE[self.severity]
        if self.acknowledged or self.over is not None or self.paused is not None or self.quiet_until is not None:
            return None
        if self.taken >= len(row):
            return None
        after = row[self.taken][0]
        due = max(self.begun + after, self.floor)
        if self.taken:
            due = max(due, self.last + min(DWELL, after - row[self.taken - 1][0]))
        return due


class Model:
    """The school's on-call duty as the document has it, for any number of keys."""

    def __init__(self) -> None:
        self.minute = 0
        self.troubles: dict[str, Trouble] = {}
        self.pages: list[tuple[int, str, str]] = []

    def fire(self, key: str, severity: str) -> None:
        now, trouble = self.minute, self.troubles.get(key)
        if trouble is None or (trouble.over is not None and now - trouble.over > WINDOW):
            self.troubles[key] = Trouble(severity, now)
        elif trouble.over is not None:
            self._reopen(key, trouble, severity)
        else:
            self._go_on(trouble, severity)
        self._page(key)

    def _reopen(self, key: str, old: Trouble, severity: str) -> None:
        again = [at for at in old.reopened if self.minute - at < HOUR] + [self.minute]
        worse = severity == "critical" != old.severity
        if old.acknowledged and not old.by_hand and not worse:
            old.over, old.firing = None, True
            old.severity = min(old.severity, severity, key=list(TABLE).index)
        else:
            assert old.over is not None
            begun = self.minute if old.last >= 0 else old.begun + self.minute - old.over  # nobody has heard of it
            old = self.troubles[key] = Trouble(severity, begun)
        old.reopened, old.flapping = again, len(again) >= 3

    def _go_on(self, trouble: Trouble, severity: str) -> None:
        if trouble.quiet_until is not None:
            self._move_on(trouble, self.minute - (trouble.quiet_until - QUIET))
            trouble.quiet_until = None
        if trouble.paused is not None:
            self._resume(trouble)
        trouble.firing = True
        if severity == "critical" and trouble.severity != "critical":
            trouble.severity, trouble.begun, trouble.taken, trouble.last = severity, self.minute, 0, -1e9
            trouble.floor, trouble.acknowledged = -1e9, False

    def clear(self, key: str) -> None:
        trouble = self.troubles[key]
        trouble.firing = False
        if trouble.flapping:
            trouble.quiet_until = self.minute + QUIET
        else:
            trouble.over, trouble.paused = self.minute, None

    def resume(self, key: str) -> None:
        self._resume(self.troubles[key])
        self._page(key)

    def _resume(self, trouble: Trouble) -> None:
        assert trouble.paused is not None
        away, trouble.paused = self.minute - trouble.paused, None
        if trouble.last < 0:  # nobody has heard of it: the row begins now
            trouble.begun = self.minute
        else:
            self._move_on(trouble, away)

    def _move_on(self, trouble: Trouble, away: float) -> None:
        trouble.begun += away
        row = TABLE[trouble.severity]
        if trouble.taken < len(row):
            gap = row[trouble.taken][0] - (row[trouble.taken - 1][0] if trouble.taken else 0)
            trouble.floor = self.minute + (min(DWELL, gap) if trouble.taken else 0)

    def pass_minute(self) -> None:
        self.minute += 1
        for key, trouble in self.troubles.items():
            if trouble.quiet_until is not None and trouble.quiet_until <= self.minute:
                trouble.quiet_until, trouble.over = None, self.minute
            self._page(key)

    def _page(self, key: str) -> None:
        trouble = self.troubles[key]
        due = trouble.due()
        if due is not None and due <= self.minute:
            self.pages.append((self.minute, key, TABLE[trouble.severity][trouble.taken][1]))
            trouble.taken, trouble.last, trouble.floor = trouble.taken + 1, self.minute, -1e9


class Wire:
    """The mail server: it notes what arrives, and can be away."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.away = clock, False
        self.arrived: list[tuple[int, Message]] = []

    async def send(self, message: Message) -> Receipt:
        if self.away:
            raise SendError("away", Failure.NETWORK)
        self.arrived.append((int((self.clock.now - START) / timedelta(minutes=1)), message))
        return Receipt(message.id)


class Weeks(RuleBasedStateMachine):
    """The receiver and the model live through the same."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.runner, self.clock, self.model = asyncio.Runner(), Clock(), Model()
        self.wire, self.current = Wire(self.clock), the_current(_by_mail_only())
        self.disturbed = False  # by a provider that was away: pages come later than the model knows
        self.episodes: dict[str, tuple[str, datetime]] = {}
        self.episode = 0
        self._start()

    def _start(self) -> None:
        self.store = the_store(Path(self.folder.name), lambda: self.clock.now, lambda: None)
        self.runner.run(self.store.open(self.clock.now))
        self.escalator = Escalator(
            self.store,
            self.current,
            self.clock,
            watch=a_watch(self.store, self.clock, self.current),
            stuck=Stuck(self.clock.elapsed, lambda _: None),
        )
        self.dispatcher = Dispatcher(
            "email",
            self.wire,
            self.store,
            current=self.current,
            retry=RetryPolicy(first=5, longest=60, give_up=1e9, elsewhere=1e9),
            render=as_message,
            metrics=Metrics(["email"]),
            clock=self.clock,
            elapsed=self.clock.elapsed,
            jitter=lambda: 0.0,
        )

    def teardown(self) -> None:
        self.wire.away = False
        self._settle(5)
        self._check()
        self.runner.run(self.store.close())
        self.runner.close()
        self.folder.cleanup()

    def _settle(self, minutes: int) -> None:
        for _ in range(minutes):
            self.clock.forward(minutes=1)
            self.model.pass_minute()
            self._look()

    def _look(self) -> None:
        async def look() -> None:
            await self.escalator.run_once()
            while await self.dispatcher.run_once():
                if self.wire.away:
                    break

        self.runner.run(look())

    def _tell(self, key: str, event: Event) -> None:
        now = self.clock.now
        if isinstance(event, AlertsReceived):
            self.runner.run(self.store.update(event, self.current.routing, now))
        else:
            (number,) = (i.id for i in self.runner.run(self.store.still_open()) if i.key == key)
            decide = partial(transition, event=event, policy=self.current.routing, now=now)
            self.runner.run(self.store.apply(number, decide, now))
        self._look()

    def _alerts(self, key: str, severity: str, *, firing: bool) -> AlertsReceived:
        if firing:
            self.episode += 1
            self.episodes[key] = (severity, self.clock.now + timedelta(milliseconds=self.episode))
        starts_at = self.episodes[key][1]
        alert = an_alert(
            key, firing=firing, starts_at=starts_at, ends_at=None if firing else self.clock.now, severity=severity
        )
        return AlertsReceived(AlertGroup(key, (alert,), receiver="receiver"))

    def _open(self, key: str, allowed: Callable[[Trouble], bool]) -> Trouble | None:
        trouble = self.model.troubles.get(key)
        return trouble if trouble is not None and trouble.over is None and allowed(trouble) else None

    @rule(key=KEYS, severity=SEVERITIES)
    def fire(self, key: str, severity: str) -> None:
        trouble = self.model.troubles.get(key)
        if trouble is not None and trouble.over is None and (trouble.firing and trouble.paused is None):
            severity = "critical"  # of what fires already only a rise is news
            if trouble.severity == "critical":
                return
        elif trouble is not None and trouble.over is None and severity != "critical":
            severity = trouble.severity
        self.model.fire(key, severity)
        self._tell(key, self._alerts(key, severity, firing=True))

    @rule(key=KEYS)
    def clear(self, key: str) -> None:
        if self._open(key, lambda t: t.firing):
            self.model.clear(key)
            self._tell(key, self._alerts(key, self.episodes[key][0], firing=False))

    @rule(key=KEYS)
    def acknowledge(self, key: str) -> None:
        trouble = self._open(key, lambda t: not t.acknowledged)
        if trouble:
            trouble.acknowledged = True
            self._tell(key, Acknowledge("linh", Origin.LINK))

    @rule(key=KEYS)
    def resolve(self, key: str) -> None:
        trouble = self._open(key, lambda _t: True)
        if trouble:
            trouble.over, trouble.paused, trouble.quiet_until = self.model.minute, None, None
            trouble.by_hand = True
            self._tell(key, Resolve("linh", Origin.LINK))

    @rule(key=KEYS)
    def silence(self, key: str) -> None:
        trouble = self._open(key, lambda t: t.firing and t.paused is None and not t.flapping)
        if trouble:
            trouble.paused = self.model.minute
            self._tell(key, Paused(Pause(PauseKind.SILENCE, "s")))

    @rule(key=KEYS)
    def end_silence(self, key: str) -> None:
        if self._open(key, lambda t: t.paused is not None):
            self.model.resume(key)
            self._tell(key, Resumed())

    @rule(minutes=st.sampled_from([1, 2, 4, 9, 14, 16, 31, 61, 240]))
    def time_passes(self, minutes: int) -> None:
        self._settle(minutes)
        self._check()

    @rule()
    def killed_and_started(self) -> None:
        self.runner.run(self.store.close())
        self._start()

    @rule(minutes=st.integers(1, 4))
    def the_provider_is_away(self, minutes: int) -> None:
        self.disturbed = True
        self.wire.away = True
        self._settle(minutes)
        self.wire.away = False
        self._settle(3)

    def _check(self) -> None:
        arrived = [
            (minute, m) for minute, m in self.wire.arrived if m.kind == "page" and m.address != "team@example.com"
        ]
        pages = [(minute, m.subject.partition(":")[0], m.address.partition("@")[0]) for minute, m in arrived]
        if not self.disturbed:
            ours = sorted((minute, name) for minute, _, name in pages)
            theirs = sorted((minute, name) for minute, _, name in self.model.pages)
            assert ours == theirs, "lost, early, late or doubled"
        ids = [m.id for _, m in self.wire.arrived]
        assert len(ids) == len(set(ids)), "nothing is told twice"
        lanes: dict[tuple[str, str], list[int]] = {}
        for _, m in self.wire.arrived:
            lanes.setdefault((m.incident, m.lane), []).append(int(m.id))
        assert all(order == sorted(order) for order in lanes.values()), "one lane keeps its order"


def _by_mail_only() -> Routing:
    routing = the_routing()
    people = {
        key: msgspec.structs.replace(person, contacts=(Contact("email", f"{key}@example.com"),))
        for key, person in routing.people.items()
    }
    teams = {name: (Contact("email", "team@example.com"),) for name in routing.teams}
    quiet = {priority: msgspec.structs.replace(plan, response_time=1e7) for priority, plan in routing.plans.items()}
    return msgspec.structs.replace(routing, people=people, teams=teams, plans=quiet)


@pytest.mark.parametrize(
    ("examples", "steps"), [(15, 40), pytest.param(60, 120, marks=pytest.mark.slow)], ids=["days", "weeks"]
)
def test_what_is_told_is_what_the_model_says(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        Weeks,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            phases=(Phase.reuse, Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )
