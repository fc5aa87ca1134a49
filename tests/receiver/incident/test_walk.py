"""Anything may follow on anything: random walks over all acts, alerts, pauses and hours never leave a hole.

Three incidents live through them together, so that one may speak for another. What must hold after each step is what
console.md, section 3, asks for: nobody waits for an incident that nobody has and no clock runs in.
"""

from datetime import timedelta
from functools import partial

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from receiver.incident.event import (
    Acknowledge,
    AlertsReceived,
    Attach,
    Delivered,
    Detach,
    EscalateNow,
    Event,
    HandOver,
    Note,
    Paused,
    Raise,
    Resolve,
    Resumed,
    Snooze,
    TakenAwake,
    TakeOver,
    TimeDue,
    Unacknowledge,
    Undelivered,
    UndoResolve,
    Unproved,
    Unreached,
)
from receiver.incident.group import maintenance
from receiver.incident.machine import transition
from receiver.incident.model import (
    AlertGroup,
    Decision,
    Failure,
    Incident,
    Kind,
    Origin,
    Pause,
    PauseKind,
    Priority,
    State,
)
from receiver.incident.pause import stands_still
from receiver.incident.timers import clock_set
from receiver.oncall.hours import parse as hours
from receiver.policy.maintenance import Window
from receiver.policy.matcher import parse as matcher
from receiver.policy.routing import Routing
from tests.receiver.example_site import MINUTE, START, Clock, an_alert, the_current, the_routing

NUMBERS = (1, 2, 3)
UPGRADE = Window("upgrade", (matcher('severity="warning"'),), START + 30 * MINUTE, START + 90 * MINUTE)
PEOPLE = ("linh", "marek", "a stranger")
API = Origin.API
BY_ITSELF = (TimeDue, AlertsReceived, Resumed, Delivered, Undelivered, Unproved)
OPEN = {State.TRIGGERED, State.ACKNOWLEDGED}


def a_site(acknowledge_for: float, repeat_every: float, only: str = "", windows: tuple[Window, ...] = ()) -> Routing:
    """``only`` limits all but the first row to office hours."""
    routing = the_routing()
    plans = {
        priority: replace(
            plan,
            acknowledge_for=acknowledge_for,
            repeat_every=repeat_every,
            steps=(*plan.steps[:1], *(replace(row, hours=only) for row in plan.steps[1:])),
        )
        for priority, plan in routing.plans.items()
    }
    return replace(routing, plans=plans, windows=windows, hours={"office": hours("09:00-18:00", [], "UTC")})


class World:
    """Three incidents, and what the store does with what is decided: ripples belong into the same transaction."""

    def __init__(self, routing: Routing) -> None:
        self.clock, self.policy = Clock(), the_current(routing).routing
        self.incidents = {number: Incident(id=number, key=f"key-{number}") for number in NUMBERS}
        self.begun = 0

    def tell(self, number: int, event: Event) -> None:
        if isinstance(event, Attach):
            siblings = sum(one.attached_to == event.to for one in self.incidents.values())
            event = replace(event, parent=self.incidents[event.to], siblings=siblings)
        self.apply(number, event)

    def apply(self, number: int, event: Event) -> None:
        before = self.incidents[number]
        decision = transition(before, event, self.policy, self.clock.now)
        self.save(before, decision)
        if isinstance(event, BY_ITSELF) and before.attached_to:
            paged = [n for n in decision.notifications if n.kind is Kind.PAGE and n.target.person]
            assert not paged, "attached, it pages by itself"
        if isinstance(event, BY_ITSELF) and maintenance(decision.incident, self.policy, self.clock.now) is not None:
            assert not any(n.kind is Kind.PAGE for n in decision.notifications), "it pages in maintenance"
        self.check()

    def save(self, before: Incident, decision: Decision) -> None:
        if decision.ignored is not None:
            assert decision == Decision(before, ignored=decision.ignored)
            return
        if decision.incident.state is State.RESOLVED:
            assert not [n for n in decision.notifications if n.kind is Kind.PAGE], "it is over, and pages"
        self.incidents[before.id] = decision.incident
        for ripple in decision.ripples:
            attached = [n for n, one in self.incidents.items() if one.attached_to == before.id]
            for number in [ripple.number] if ripple.number else attached:
                other = self.incidents[number]
                self.save(other, ripple.decide(other))

    def fires(self, number: int, severity: str, *, blind: bool = False, firing: bool = True) -> None:
        self.begun += firing
        alert = an_alert(
            f"{number}-{severity}",
            firing=firing,
            starts_at=self.clock.now + timedelta(milliseconds=self.begun) if firing else self.clock.now,
            ends_at=None if firing else self.clock.now + timedelta(milliseconds=self.begun + 1),
            severity=severity,
        )
        alerts = (
            (alert,)
            if firing
            else tuple(
                replace(one, firing=False, ends_at=self.clock.now + MINUTE) for one in self.incidents[number].firing
            )
        )
        if alerts:
            self.apply(number, AlertsReceived(AlertGroup(f"key-{number}", alerts), blind=blind))

    def wait(self, minutes: int) -> None:
        """Let time pass as the escalator does: whatever clock has run to its time is heard."""
        end = self.clock.now + minutes * MINUTE
        while due := [n for n, one in self.incidents.items() if one.wake_at is not None and one.wake_at <= end]:
            number = min(due, key=lambda n: (self.incidents[n].wake_at, n))
            before = self.incidents[number]
            assert before.wake_at is not None
            self.clock.now = max(self.clock.now, before.wake_at)
            self.apply(number, TimeDue())
            assert self.incidents[number] != before, "a clock that does not move on"
        self.clock.now = end

    def set_clock(self, minutes: int) -> None:
        by = minutes * MINUTE
        self.clock.now += by
        for number, before in self.incidents.items():
            self.incidents[number] = clock_set(before, by, self.clock.now).incident
        self.check()

    def check(self) -> None:
        for incident in self.incidents.values():
            if incident.state is State.TRIGGERED:
                self.check_triggered(incident)
            elif incident.state is State.ACKNOWLEDGED:
                check_acknowledged(incident)
            elif incident.state is State.RESOLVED:
                assert incident.wake_at is None, "it is over, and a clock runs"
            self.check_attached(incident)

    def check_triggered(self, incident: Incident) -> None:
        assert incident.acknowledged_by == "", "an owner, though nobody has it"
        assert incident.snoozed_until is None
        plan = incident.plan
        goes_on = incident.next_step < len(plan.steps) or plan.repeat_every
        if goes_on:
            assert incident.clocks.next_due_at is not None, "nobody has it, and nobody is paged next"
        if goes_on and not stands_still(incident) and incident.held_at is None:
            assert incident.wake_at is not None
            assert incident.wake_at <= incident.clocks.next_due_at  # type: ignore[operator]

    def check_attached(self, incident: Incident) -> None:
        if not incident.attached_to or incident.state not in OPEN:
            return
        parent = self.incidents[incident.attached_to]
        assert parent.state in OPEN, "what speaks for it is over"
        assert parent.attached_to == 0, "attached to what is attached"
        assert not incident.priority.more_urgent_than(parent.priority), "its parent hides how urgent it is"
        assert incident.attached_at is not None


def check_acknowledged(incident: Incident) -> None:
    clocks = incident.clocks
    assert incident.acknowledged_by, "acknowledged by nobody"
    assert clocks.next_due_at is None
    if incident.plan.acknowledge_for or incident.snoozed_until is not None:
        assert clocks.acknowledged_until is not None, "acknowledged for ever"
        if not stands_still(incident) and incident.held_at is None:
            assert incident.wake_at is not None
    if incident.snoozed_until is not None:
        assert clocks.acknowledged_until is not None
        assert clocks.acknowledged_until >= incident.snoozed_until
        assert clocks.remind_due_at is None
    if incident.taken_awake:
        assert clocks.acknowledged_until is not None, "taken for ever by who was awake"


def acts(world: World, number: int, who: str, other: int) -> dict[str, Event]:
    """Every act, as somebody who looks at the incident now would give it."""
    incident = world.incidents[number]
    return {
        "acknowledge": Acknowledge(who, API),
        "resolve": Resolve(who, API),
        "undo": UndoResolve(who, API),
        "give back": Unacknowledge(who, API),
        "snooze": Snooze(who, API, world.clock.now + 90 * MINUTE),
        "snooze long": Snooze(who, API, world.clock.now + 10 * 60 * MINUTE),
        "take over": TakeOver(who, API),
        "ask": HandOver(who, API, person="aisha"),
        "accept": Acknowledge("aisha", API),
        "move": HandOver(who, API, team="default" if other == 1 else "backend"),
        "escalate": EscalateNow(who, API, step=incident.next_step),
        "note": Note(who, API, "x", tell=True),
        "attach": Attach(who, API, other),
        "detach": Detach(who, API),
        "awake": TakenAwake(who, world.clock.now + 30 * MINUTE),
        "raise": Raise(who, API, "help", person="peter" if other == 1 else ""),
    }


ACTS = tuple(acts(World(the_routing()), 1, "linh", 2))
WORLD = (
    "fire",
    "clear",
    "blind",
    "silence",
    "resume",
    "delivered",
    "unreached",
    "undelivered",
    "unproved",
    "wait",
    "clock",
)
SEVERITIES = st.sampled_from(["critical", "warning", "info"])
STEPS = st.lists(
    st.tuples(
        st.sampled_from([*ACTS, *ACTS, *WORLD, "fire", "wait", "wait"]),
        st.sampled_from(NUMBERS),
        st.sampled_from(PEOPLE),
        st.sampled_from(NUMBERS),
        SEVERITIES,
        st.sampled_from([0, 1, 4, 6, 20, 100, 700]),
    ),
    min_size=10,
    max_size=60,
)


def step(world: World, what: str, number: int, who: str, other: int, severity: str, minutes: int) -> None:
    incident = world.incidents[number]
    sent = incident.delivery.rounds
    moves = {
        "fire": partial(world.fires, number, severity),
        "clear": partial(world.fires, number, severity, firing=False),
        "blind": partial(world.fires, number, severity, firing=False, blind=True),
        "wait": partial(world.wait, minutes),
        "clock": partial(world.set_clock, minutes - 10),
    }
    events: dict[str, Event] = {
        "silence": Paused(Pause(PauseKind.SILENCE, "s", until=world.clock.now + 40 * MINUTE if minutes else None)),
        "resume": Resumed(),
        "delivered": Delivered(sent, "linh"),
        "undelivered": Undelivered(sent),
        "unproved": Unproved(),
    }
    told = incident.delivery.told
    if what == "unreached" and told:
        events[what] = Unreached(told[-1], sent, Failure.REFUSED)
    if what in moves:
        moves[what]()
    elif what in events:
        world.tell(number, events[what])
    elif what in ACTS:
        world.tell(number, acts(world, number, who, other)[what])


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    steps=STEPS,
    acknowledge_for=st.sampled_from([0.0, 3600.0]),
    repeat_every=st.sampled_from([0.0, 1800.0]),
    only=st.sampled_from(["", "office"]),
)
def test_whatever_happens_somebody_has_it_or_is_paged_next(
    steps: list[tuple[str, int, str, int, str, int]], acknowledge_for: float, repeat_every: float, only: str
) -> None:
    world = World(a_site(acknowledge_for, repeat_every, only, (UPGRADE,)))
    world.fires(1, "warning")
    for one in steps:
        step(world, *one)
    world.wait(60)
    assert Priority.P1 in world.policy.plans
