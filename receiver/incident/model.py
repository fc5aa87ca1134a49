"""What an incident is, what it owes to people, and what a change of it gives. Pure values.

`machine.py` and what it calls make new ones of them; nothing else in this program changes an incident.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from operator import attrgetter
from typing import Any

import msgspec
from msgspec.structs import replace


class State(StrEnum):
    """NEW has not been opened yet: it exists only inside the transaction that may open it."""

    NEW = "new"
    TRIGGERED = "triggered"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class Priority(StrEnum):
    """What people answer to; P1 is the most urgent. A site has those that its matrix names, P1 to P4 as a rule."""

    P1 = "P1"
    P2 = "P2"
    P3 = "P3"
    P4 = "P4"
    P5 = "P5"

    def more_urgent_than(self, other: "Priority") -> bool:
        """P1 is more urgent than P2; nothing is more urgent than itself."""
        return self.value < other.value


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """One cell of the matrix: ``roles`` are told once an incident stood unacknowledged for ``after`` seconds.

    ``hours`` names the hours in which the step may be taken; outside them it waits for their beginning.
    """

    after: float
    roles: tuple[str, ...]
    hours: str = ""


class Plan(msgspec.Struct, frozen=True, omit_defaults=True):
    """The column of the matrix and the delays of one priority; seconds, 0 for never.

    An incident keeps its plan until its priority rises, whatever becomes of the configuration meanwhile.
    """

    steps: tuple[Step, ...] = ()
    response_time: float = 0.0
    warn_after: float = 0.0  # when those who were told hear that the response time is running out
    repeat_every: float = 0.0  # how often the last step is taken again
    acknowledge_for: float = 0.0  # how long an acknowledgement holds


_STARTS_AT = attrgetter("starts_at")
UNKNOWN_START = datetime(1970, 1, 1, tzinfo=UTC)  # the sender did not say since when an alert fires


_MARK = "\t"  # around a source's name in a key: no key of the default source begins with it
BY_HAND = "manual:"  # at the beginning of the key of an incident that a person has raised
DEFAULT_SOURCE = "alertmanager"  # what is not sent to a path of its own


class Alert(msgspec.Struct, frozen=True):
    """One alert of a group; (fingerprint, starts_at) is its episode."""

    fingerprint: str
    firing: bool
    starts_at: datetime
    ends_at: datetime | None
    labels: dict[str, str]
    annotations: dict[str, str]
    generator_url: str = ""


class Ending(msgspec.Struct, frozen=True):
    """An episode that is over: when it had begun, and when we heard of its end."""

    starts_at: datetime
    at: datetime


class AlertGroup(msgspec.Struct, frozen=True):
    """What Alertmanager says of one group; ``truncated`` alerts of it are not listed."""

    key: str
    alerts: tuple[Alert, ...]
    truncated: int = 0
    receiver: str = ""  # Alertmanager's name for the route that led here
    labels: dict[str, str] = {}  # what the group is grouped by; msgspec copies a mutable default
    dropped: int = 0  # alerts of the message that nobody could read
    source: str = DEFAULT_SOURCE  # which Alertmanager; group keys and fingerprints mean something only within it


def of_source(group: AlertGroup, source: str) -> AlertGroup:
    """Say which source a group is of; its key then differs from every other source's."""
    if source == DEFAULT_SOURCE:
        return replace(group, key=group.key.lstrip(_MARK), receiver=group.receiver.lstrip(_MARK))
    return replace(group, key=f"{_MARK}{source}{_MARK}{group.key}", source=source)


def merged_into(receiver: str, merged: tuple[str, ...]) -> str:
    """Give the receiver that stands for this one: the first of those that are merged."""
    return merged[0] if receiver in merged else receiver


def route_of(group: "AlertGroup | Incident") -> str:
    """Name the route that a group or an incident came by, over all sources."""
    return group.receiver if group.source == DEFAULT_SOURCE else f"{_MARK}{group.source}{_MARK}{group.receiver}"


class Target(msgspec.Struct, frozen=True):
    """Where a notification goes; ``lane`` is what must stay in order and in one thread."""

    channel: str
    address: str
    lane: str
    person: str = ""
    role: str = ""


class Kind(StrEnum):
    """What a notification says."""

    PAGE = "page"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    UPDATE = "update"  # something that those who were told should know, and need not answer
    REMINDER = "reminder"  # an answer is late, or is about to be


class Failure(StrEnum):
    """Why an attempt to send failed: the closed vocabulary of the log, the timeline and the metric label `reason`."""

    TIMEOUT = "timeout"
    NETWORK = "network"
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    AUTH = "auth"
    BAD_ADDRESS = "bad_address"
    REFUSED = "refused"  # the provider understood the message and rejected it
    CIRCUIT_OPEN = "circuit_open"  # the address or its host failed several times in a row and is paused
    NOT_CONFIGURED = "not_configured"  # the channel has left the configuration
    INTERNAL = "internal"  # our own mistake


SOMEBODY = "somebody"  # who answered, when nobody knows who it was


class Origin(StrEnum):
    """How a person's answer reached us."""

    ALERTMANAGER = "alertmanager"  # a silence was changed there
    API = "api"
    AWAKE = "awake"  # by who has said that they are awake
    CONSOLE = "console"
    LINK = "link"
    SLACK = "slack"
    PAGERDUTY = "pagerduty"
    PUSH = "push"
    SMS = "sms"
    CALL = "call"
    TEST = "test"  # the command `test`


class PauseKind(StrEnum):
    """Why an incident waits."""

    SILENCE = "silence"
    INHIBITION = "inhibition"
    MUTE_TIME = "mute time"
    MAINTENANCE = "maintenance"  # a window of receiver.yml; the three before are Alertmanager's
    OUTAGE = "outage"  # of this receiver: the alert fired and resolved meanwhile


class Pause(msgspec.Struct, frozen=True):
    """Why an incident waits, and until when if that is known."""

    kind: PauseKind
    name: str = ""
    author: str = ""
    until: datetime | None = None
    since: datetime | None = None
    comment: str = ""


class EntryKind(StrEnum):
    """What a line of the timeline records; docs/receiver.md lists the fields of each."""

    OPENED = "opened"
    ALERT_FIRING = "alert_firing"
    ALERT_RESOLVED = "alert_resolved"
    ALERTS_FIRING = "alerts_firing"  # more of them in one webhook
    ALERTS_RESOLVED = "alerts_resolved"
    ALERTS_TRUNCATED = "alerts_truncated"
    ALERTS_DROPPED = "alerts_dropped"
    # The Alertmanager API and the webhooks differed.
    MISSED = "missed"
    COMPLETED = "completed"
    CONFIRMED = "confirmed"
    VANISHED = "vanished"
    # A label was missing or unknown.
    SEVERITY_MISSING = "severity_missing"
    SEVERITY_UNKNOWN = "severity_unknown"
    PRIORITY_UNKNOWN = "priority_unknown"
    TEAM_MISSING = "team_missing"
    TEAM_UNKNOWN = "team_unknown"
    TEAMS_MIXED = "teams_mixed"  # one group has alerts of several teams
    PRIORITY_RAISED = "priority_raised"
    PRIORITY_KEPT = "priority_kept"
    PAGED = "paged"
    NOBODY = "nobody"
    LATE = "late"
    STEP_DELAYED = "step_delayed"
    REPEAT = "repeat"
    FALLBACK = "fallback"
    UNDELIVERED = "undelivered"
    TOLD = "told"
    DEAD = "dead"
    ACKNOWLEDGED = "acknowledged"
    JOINED = "joined"
    RENEWED = "renewed"
    ACKNOWLEDGED_LATE = "acknowledged_late"
    RESOLVED_LATE = "resolved_late"
    WARNED = "warned"
    BREACHED = "breached"
    REMINDED = "reminded"
    EXPIRED = "expired"
    RECORDED = "recorded"
    PAUSED = "paused"
    RESUMED = "resumed"
    HELD = "held"
    UNPROVED = "unproved"  # and nothing can say for too long whether it is over
    REOPENED = "reopened"
    FLAPPING = "flapping"
    RESOLVED = "resolved"
    RESOLVED_QUIET = "resolved_quiet"
    RESOLVED_BY_HAND = "resolved_by_hand"
    RESOLVE_UNDONE = "resolve_undone"
    UNACKNOWLEDGED = "unacknowledged"
    SNOOZED = "snoozed"
    SNOOZE_OVER = "snooze_over"
    TAKEN_OVER = "taken_over"
    ASKED = "asked"  # somebody is asked to take it over
    UNANSWERED = "unanswered"  # and has not answered
    MOVED = "moved"  # handed over to another team
    ESCALATED_NOW = "escalated_now"
    NOTED = "noted"
    ATTACHED = "attached"
    DETACHED = "detached"
    PARENT_ENDED = "parent_ended"
    ADOPTED = "adopted"  # another incident is attached to it
    RAISED = "raised"  # by hand
    SILENCED = "silenced"  # in Alertmanager, by a person, from here
    SILENCE_EXTENDED = "silence_extended"
    SILENCE_ENDED = "silence_ended"  # early, by a person
    SILENCE_OVER = "silence_over"  # and its alerts still fire
    STILL_NEEDED = "still_needed"
    ACTED_LATE = "acted_late"  # any other act after the resolve
    STILL_FIRING = "still_firing"  # what a person has resolved goes on firing
    CLOCK_FORWARD = "clock_forward"  # somebody set the receiver's clock
    CLOCK_BACK = "clock_back"
    REMARK = "remark"  # written by receivers up to schema 4, and only readable as text


class Reason(StrEnum):
    """Why a page, a reminder or an update is sent."""

    OPENED = "opened"
    ESCALATED = "escalated"
    UNREACHED = "unreached"  # nobody of the step before could be reached
    PRIORITY_RAISED = "priority_raised"
    REPEATED = "repeated"
    EXPIRED = "expired"
    REOPENED = "reopened"
    NO_DRILL = "no_drill"  # a real alert joined a drill
    WARNED = "warned"
    BREACHED = "breached"
    EXPIRING = "expiring"
    PAUSED = "paused"
    RESUMED = "resumed"
    ALERTS_JOINED = "alerts_joined"
    RESOLVE_UNDONE = "resolve_undone"
    GIVEN_BACK = "given_back"
    SNOOZED = "snoozed"
    SNOOZE_OVER = "snooze_over"
    TAKEN_OVER = "taken_over"
    ASKED = "asked"
    UNANSWERED = "unanswered"
    MOVED = "moved"
    ESCALATED_NOW = "escalated_now"
    NOTED = "noted"
    ATTACHED = "attached"
    PARENT_ENDED = "parent_ended"
    RAISED = "raised"
    SILENCE_OVER = "silence_over"
    STILL_NEEDED = "still_needed"
    REDRAWN = "redrawn"  # nobody is told: what shows the incident shows how it stands now


class Ignored(StrEnum):
    """Why an event changes nothing."""

    NOT_OPENED = "not opened"  # only alerts that fire open an incident
    OVER = "over"  # what fires long after the resolve opens an incident of its own
    ANSWERED = "answered"  # who takes it has heard of it: what becomes of its pages matters no more
    FIRED_AGAIN = "fired again"  # it was answered as it stood before that
    UNCONFIRMED = "unconfirmed"  # more alerts fire than whoever resolves it has seen
    TOO_LATE = "too late"  # there is no resolve that can be undone, or not any more
    ENDED = "ended"  # its alerts have ended meanwhile, so there is nothing to go back to
    OPEN = "open"  # it is not resolved
    REPEATED = "repeated"  # it is so already
    OUT_OF_BOUNDS = "out of bounds"  # a snooze ends within 24 hours, of a P1 within 4
    NOBODY = "nobody"  # there is no such person or team, or no way to reach them
    NOT_ATTACHABLE = "not attachable"  # the other incident is over, is attached itself, or is this very one
    NEVER_SENT = "never sent"  # no event means this in this state


class Holder(msgspec.Struct, frozen=True):
    """Somebody who is paged, and for which role."""

    person: str
    role: str


class Data(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an entry or a notification is about; each kind fills the fields that its phrase needs."""

    priority: Priority | None = None
    before: Priority | None = None  # the priority before it was raised
    team: str = ""
    teams: tuple[str, ...] = ()
    title: str = ""
    alert: str = ""  # an alert's name
    where: str = ""  # its instance or job
    count: int = 0
    total: int = 0
    named: str = ""  # the value of a label that is not known
    roles: tuple[str, ...] = ()
    people: tuple[Holder, ...] = ()
    notification: Kind | None = None
    channel: str = ""
    address: str = ""
    person: str = ""
    channels: tuple[str, ...] = ()  # what is tried instead
    failure: Failure | None = None
    detail: str = ""  # the channel's own error text, for operators
    origin: Origin | None = None
    due: datetime | None = None
    seconds: float = 0.0
    pause: Pause | None = None
    text: str = ""  # what a person wrote
    act: str = ""  # what a person wanted to do
    incident: int = 0  # another one
    silence: str = ""  # its id in Alertmanager


class Fact(msgspec.Struct, frozen=True):
    """One thing worth a line in the timeline, before it is known of which incident and when."""

    kind: EntryKind
    data: Data = Data()


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of an incident's timeline; ``text`` is what receivers up to schema 4 wrote in place of ``data``."""

    at: datetime
    kind: EntryKind
    data: Data = Data()
    actor: str = ""
    text: str = ""


class Notification(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is owed to one target; ``round`` counts the incident's pagings, ``roles`` says who is paged in it.

    ``reason`` and ``data`` say why, ``at`` when a page's round began; ``serial`` tells apart the news of one round.
    ``text`` is what receivers up to schema 4 wrote in place of ``reason``.
    """

    kind: Kind
    target: Target
    round: int
    roles: tuple[str, ...] = ()
    reason: Reason | None = None
    data: Data = Data()
    at: datetime | None = None
    text: str = ""
    serial: int = 0

    @property
    def is_redraw(self) -> bool:
        """Say whether it tells nobody anything: a card that was posted shows how the incident stands now."""
        return self.reason is Reason.REDRAWN


class Clocks(msgspec.Struct, frozen=True, omit_defaults=True):
    """When each clock of an incident runs to its time; None if it does not run."""

    started_at: datetime | None = None  # what the steps of the plan and the response time count from
    next_due_at: datetime | None = None  # the next step, or the next repeat of the last one
    warn_due_at: datetime | None = None
    answer_due_at: datetime | None = None
    remind_due_at: datetime | None = None  # the owner hears that the acknowledgement is about to run out
    acknowledged_until: datetime | None = None
    quiet_until: datetime | None = None  # it flaps, and is believed to be over if it stays quiet until then

    def stopped(self) -> "Clocks":
        """Stop them all; when they started stays known."""
        return Clocks(started_at=self.started_at)

    def shifted(self, by: timedelta) -> "Clocks":
        """Move on what stood still for a time, all but the next step, which knows its own, and the quiet."""

        def later(when: datetime | None) -> datetime | None:
            return when + by if when is not None else None

        return replace(
            self,
            started_at=later(self.started_at),
            warn_due_at=later(self.warn_due_at),
            answer_due_at=later(self.answer_due_at),
            remind_due_at=later(self.remind_due_at),
            acknowledged_until=later(self.acknowledged_until),
        )

    def wake_at(self, state: State, paused: Pause | None) -> datetime | None:
        """When the next of those that count in this state runs to its time; None if it waits for nothing but news."""
        if state is State.RESOLVED:
            return None
        if self.quiet_until is not None:
            return self.quiet_until
        if paused is not None:
            return paused.until
        clocks = (self.next_due_at, self.warn_due_at, self.answer_due_at)
        if state is State.ACKNOWLEDGED:
            clocks = (self.remind_due_at, self.acknowledged_until, None)
        return min((clock for clock in clocks if clock is not None), default=None)


class Delivery(msgspec.Struct, frozen=True, omit_defaults=True):
    """What has been said, to whom, and whether it arrived. A round is one paging: a step, its repeat, a rise."""

    rounds: int = 0
    round_lanes: tuple[str, ...] = ()  # of the newest round
    round_reason: Reason | None = None  # why the newest round was begun
    paged_at: datetime | None = None  # the newest round
    delivered_at: datetime | None = None  # when the first page of the newest round reached a person
    reached: tuple[str, ...] = ()  # the people whom it has reached
    serial: int = 0  # counts news, as rounds count pages
    told: tuple[Target, ...] = ()
    grown: bool = False  # the owner has heard that alerts have joined


class Asked(msgspec.Struct, frozen=True):
    """``by`` has asked ``person`` to take the incident over, and hears if they have not answered ``until`` then."""

    person: str
    by: str
    until: datetime


class Opening(msgspec.Struct, frozen=True):
    """Which trouble somebody has seen: when it opened, and when it last began to fire, in seconds since 1970."""

    opened: int
    fired: int


class Undo(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a resolve by hand has changed; it can be taken back ``until`` then."""

    until: datetime
    clocks: Clocks
    paused: Pause | None = None
    held: bool = False
    held_at: datetime | None = None
    drill: bool = False
    ended: dict[str, datetime | None] = {}  # of what fired: what `ended` said of it before
    ended_ahead: dict[str, datetime | None] = {}


class Incident(msgspec.Struct, frozen=True, omit_defaults=True):
    """One trouble that people answer to."""

    id: int
    key: str
    state: State = State.NEW
    priority: Priority = Priority.P4
    title: str = ""
    team: str = ""
    source: str = DEFAULT_SOURCE
    receiver: str = ""
    group_labels: dict[str, str] = {}  # msgspec copies a mutable default
    labels: dict[str, str] = {}  # of the alert that it is called after; see group.lead
    drill: bool = False  # every firing alert is one
    alerts: dict[str, Alert] = {}  # that fire, and the last that have resolved, in the order in which we heard so
    unlisted: int = 0  # resolved alerts that are counted and no longer listed
    real: bool = False  # one of these was no drill
    ended: dict[str, datetime] = {}  # fingerprint -> newest start of an episode that a person has ended
    ended_ahead: dict[str, datetime] = {}  # the same, where that start lay in the future when the person did so
    echoes: dict[str, Ending] = {}  # fingerprint -> the episode that a webhook has just ended
    doubted: dict[str, Alert] = {}  # fingerprint -> what was taken for an echo, and has not been called resolved since
    begun: int = 0  # how many episodes have ever begun to fire in it
    truncated: int = 0
    dropped: int = 0  # alerts of its newest message that nobody could read
    opened_at: datetime | None = None
    plan: Plan = Plan()
    next_step: int = 0  # of the plan
    clocks: Clocks = Clocks()
    delivery: Delivery = Delivery()
    acknowledged_at: datetime | None = None
    acknowledged_by: str = ""
    breached_at: datetime | None = None
    paused: Pause | None = None
    held: bool = False  # Alertmanager says resolved, and its Prometheus may be dead
    held_at: datetime | None = None  # its clocks stand still since; None if they go on all the same
    reopened: tuple[datetime, ...] = ()  # within the last hour
    flapping: bool = False
    resolved_at: datetime | None = None
    resolved_by: str = ""
    undo: Undo | None = None
    reported_at: datetime | None = None  # the timeline says since then that it fires on though a person has resolved it
    clock_moved: float = 0.0  # seconds by which somebody has set the clock while it was open
    snoozed_until: datetime | None = None  # the end of the acknowledgement is a time of the calendar
    asked: Asked | None = None
    before_answer: Clocks | None = None  # how they stood, for whoever gives it back at once
    attached_to: int = 0  # the incident that speaks for this one; 0 for none
    attached_at: datetime | None = None  # its clocks stand still since
    moved_to: str = ""  # the team that it was handed over to, whatever its alerts say
    raised_by: str = ""  # who has opened it by hand: no alert fires in it
    taken_awake: bool = False  # its owner was awake, and has not looked at it yet
    needed_at: datetime | None = None  # when its people are asked whether that is still needed

    @property
    def opening(self) -> Opening:
        """Which trouble it is now: a reopened incident is another one than before."""
        fired = self.reopened[-1] if self.reopened else self.opened_at
        at = self.opened_at
        return Opening(int(at.timestamp()) if at else 0, int(fired.timestamp()) if fired else 0)

    def open_for(self, now: datetime) -> timedelta:
        """Say how long ago it opened; a clock that was set since makes no difference."""
        opened = (self.opened_at or now) + timedelta(seconds=self.clock_moved)
        return max(timedelta(0), now - opened)

    @property
    def firing(self) -> tuple[Alert, ...]:
        """The alerts that fire now, oldest first."""
        return tuple(sorted([a for a in self.alerts.values() if a.firing], key=_STARTS_AT))

    @property
    def shown(self) -> tuple[Alert, ...]:
        """What fires now, or has fired: the alert that the incident is called after first, then oldest first."""
        return tuple(sorted(self.firing or self.alerts.values(), key=lambda alert: alert.labels != self.labels))

    @property
    def firing_count(self) -> int:
        """How many alerts fire, with those that Alertmanager left out of its message."""
        firing = sum(alert.firing for alert in self.alerts.values())
        return firing + self.truncated if firing else 0

    @property
    def wake_at(self) -> datetime | None:
        """When its next clock runs to its time; None if it waits for nothing but news."""
        if self.state is State.RESOLVED:
            return None
        clocks = (self._own_clock, self.needed_at, self.asked.until if self.asked is not None else None)
        return min((clock for clock in clocks if clock is not None), default=None)

    @property
    def _own_clock(self) -> datetime | None:
        """The next of those that stand still while it is held back, paused or attached."""
        if self.held_at is not None and self.clocks.quiet_until is None:
            return None
        if self.attached_to and self.paused is None and self.clocks.quiet_until is None:
            return None
        return self.clocks.wake_at(self.state, self.paused)


class Ripple(msgspec.Struct, frozen=True):
    """What a change of one incident means for another, or for all that are attached to it: ``number`` 0.

    It belongs into the same transaction; one that is not there any more is passed over.
    """

    number: int
    decide: Callable[[Incident], "Decision"]


class Decision(msgspec.Struct, frozen=True):
    """What an event makes of an incident: the new value, what is owed, and the lines of its timeline.

    ``ignored`` says why it changes nothing, if it does not belong into the incident's state. ``ripples``: what it means
    for other incidents.
    """

    incident: Incident
    notifications: tuple[Notification, ...] = ()
    entries: tuple[Entry, ...] = ()
    ignored: Ignored | None = None
    ripples: tuple[Ripple, ...] = ()

    def changes(self, before: Incident) -> bool:
        """Say whether there is anything to be written down."""
        return (self.incident, self.notifications, self.entries) != (before, (), ())

    def change(self, **fields: object) -> "Decision":
        """Change the incident."""
        return replace(self, incident=replace(self.incident, **fields))

    def set_clocks(self, **fields: object) -> "Decision":
        """Set some of its clocks."""
        return self.change(clocks=replace(self.incident.clocks, **fields))

    def set_delivery(self, **fields: object) -> "Decision":
        """Change what is known of its deliveries."""
        return self.change(delivery=replace(self.incident.delivery, **fields))

    def note(self, at: datetime, kind: EntryKind, actor: str = "", **data: Any) -> "Decision":  # noqa: ANN401  # the fields of Data
        """Add a line to the timeline."""
        return replace(self, entries=(*self.entries, Entry(at, kind, Data(**data), actor)))

    def owe(self, *notifications: Notification) -> "Decision":
        """Owe more."""
        return replace(self, notifications=(*self.notifications, *notifications))
