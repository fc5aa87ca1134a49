"""What can happen to an incident. Pure values; `machine.py` says what each does."""

from datetime import datetime

import msgspec

from receiver.incident.model import (
    AlertGroup,
    EntryKind,
    Failure,
    Incident,
    Opening,
    Origin,
    Pause,
    Priority,
    Target,
)


class AlertsReceived(msgspec.Struct, frozen=True):
    """Alertmanager sent the group, or its API showed it: then ``drift`` is how it differed from the incident.

    ``blind``: the Watchdog of this source is overdue, so that a resolve may only mean that Prometheus is dead.
    ``recorded``: it was over before we could tell anybody, so nobody is told.
    ``confirmed``: the API itself says that these alerts fire, so that an episode which we thought over is not.
    """

    group: AlertGroup
    drift: EntryKind | None = None
    blind: bool = False
    confirmed: bool = False
    recorded: bool = False


class TimeDue(msgspec.Struct, frozen=True):
    """The escalator found one of the incident's clocks run to its time."""


class Delivered(msgspec.Struct, frozen=True):
    """A page of this round has arrived, at this person if it was for one."""

    round: int
    person: str = ""


class Unreached(msgspec.Struct, frozen=True):
    """This way to somebody does not work (now): ``failure`` says why."""

    target: Target
    round: int
    failure: Failure


class Undelivered(msgspec.Struct, frozen=True):
    """Every notification of this round is dead: nobody was told."""

    round: int


class Acknowledge(msgspec.Struct, frozen=True):
    """A person takes the incident; ``origin`` says how the answer reached us.

    ``seen``: what the person has answered to, None if that is not known.
    """

    actor: str
    origin: Origin
    seen: Opening | None = None


class Resolve(msgspec.Struct, frozen=True):
    """A person says that it is over; it holds for the episodes that fire now.

    ``firing`` and ``begun``: how many alerts the person knows to fire, and how many had ever begun (``Incident.begun``)
    by then. It is not resolved if more fire, or another has begun. None: the person was not asked.
    """

    actor: str
    origin: Origin
    seen: Opening | None = None
    firing: int | None = None
    begun: int | None = None


class UndoResolve(msgspec.Struct, frozen=True):
    """A person takes a resolve by hand back: the one of ``resolved_at``, or the last one if that is not known."""

    actor: str
    origin: Origin
    seen: Opening | None = None
    resolved_at: datetime | None = None


class Unacknowledge(msgspec.Struct, frozen=True):
    """Whoever has it gives it back, or somebody does so for them."""

    actor: str
    origin: Origin
    seen: Opening | None = None


class Snooze(msgspec.Struct, frozen=True):
    """A person takes the incident, and wants to hear no more of it ``until`` then."""

    actor: str
    origin: Origin
    until: datetime
    seen: Opening | None = None


class TakeOver(msgspec.Struct, frozen=True):
    """A person takes the incident, from whoever has it."""

    actor: str
    origin: Origin
    seen: Opening | None = None


class HandOver(msgspec.Struct, frozen=True):
    """Ask a ``person`` to take it over, or give it to a ``team``: one of the two."""

    actor: str
    origin: Origin
    person: str = ""
    team: str = ""
    seen: Opening | None = None


class EscalateNow(msgspec.Struct, frozen=True):
    """Page the next step's people at once. ``step``: the next step as the person has seen it, None if not known."""

    actor: str
    origin: Origin
    step: int | None = None
    seen: Opening | None = None


class Note(msgspec.Struct, frozen=True):
    """A person writes into the timeline; ``tell`` those who were told, too."""

    actor: str
    origin: Origin
    text: str
    tell: bool = False
    seen: Opening | None = None


class Silence(msgspec.Struct, frozen=True):
    """A person has made silence ``silence`` in Alertmanager; ``muted`` are the alerts that fire here and it covers."""

    actor: str
    origin: Origin
    silence: str
    until: datetime
    matchers: str = ""
    comment: str = ""
    muted: frozenset[str] = frozenset()
    seen: Opening | None = None


class Unmuted(msgspec.Struct, frozen=True):
    """What Alertmanager no longer mutes after a silence was ended or changed: ``alerts``, by fingerprint.

    ``paused``: why the incident stood still before Alertmanager was asked.
    """

    alerts: frozenset[str]
    paused: Pause


class ExtendSilence(msgspec.Struct, frozen=True):
    """A person has given a silence another end, or other matchers, by which it may have become another one."""

    actor: str
    origin: Origin
    silence: str
    until: datetime
    matchers: str = ""
    before: str = ""  # what it was called until now
    unmuted: Unmuted | None = None
    seen: Opening | None = None


class EndSilence(msgspec.Struct, frozen=True):
    """A person has ended a silence early."""

    actor: str
    origin: Origin
    silence: str
    unmuted: Unmuted | None = None
    seen: Opening | None = None


class SilenceOver(msgspec.Struct, frozen=True):
    """A silence that ``made_by`` made from this incident has come to its end; ``matched``: alerts that it covered."""

    silence: str
    made_by: str
    matchers: str
    matched: frozenset[str]


class Attach(msgspec.Struct, frozen=True):
    """Let incident ``to`` speak for this one.

    ``parent`` is that incident as it is in this transaction, None if it is not there, with ``siblings`` attached to it.
    """

    actor: str
    origin: Origin
    to: int
    seen: Opening | None = None
    parent: Incident | None = None
    siblings: int = 0


class Detach(msgspec.Struct, frozen=True):
    """Let it speak for itself again."""

    actor: str
    origin: Origin
    seen: Opening | None = None


class Raise(msgspec.Struct, frozen=True):
    """A person pages a ``person`` or a ``team`` with a ``text``; without either, the default team.

    A ``drill`` is for that person alone: it goes to no step of the matrix, and is over after an hour.
    """

    actor: str
    origin: Origin
    text: str
    person: str = ""
    team: str = ""
    priority: Priority = Priority.P1
    seen: Opening | None = None  # there is nothing to see yet
    drill: bool = False


class TakenAwake(msgspec.Struct, frozen=True):
    """Somebody who is awake ``until`` then, and has said so, takes quietly what would page them."""

    person: str
    until: datetime


class Adopted(msgspec.Struct, frozen=True):
    """Incident ``child`` is attached to this one: ``newly``, or it has become more urgent or has opened again."""

    child: int
    priority: Priority
    title: str = ""
    newly: bool = False


class ParentEnded(msgspec.Struct, frozen=True):
    """The incident that spoke for this one is over."""

    parent: int


class ParentMoved(msgspec.Struct, frozen=True):
    """The incident that spoke for this one is attached to incident ``to``, which speaks for both now."""

    to: int
    actor: str
    origin: Origin


class StillFiring(msgspec.Struct, frozen=True):
    """The API shows that ``count`` alerts fire on long after a person has resolved the incident."""

    count: int


class Unproved(msgspec.Struct, frozen=True):
    """Long after a resolve was held back, nothing can say whether it is over, though its source lives."""


class Paused(msgspec.Struct, frozen=True):
    """Everything that fires has been silenced, or is under maintenance.

    ``since``: when that began, if it was before anybody could hear of it.
    """

    pause: Pause
    since: datetime | None = None


class Resumed(msgspec.Struct, frozen=True):
    """The silence or the maintenance is over."""


Answer = (
    Acknowledge
    | Resolve
    | UndoResolve
    | Unacknowledge
    | Snooze
    | TakeOver
    | HandOver
    | EscalateNow
    | Note
    | Attach
    | Detach
    | Raise
    | Silence
    | ExtendSilence
    | EndSilence
)
Sent = Delivered | Unreached | Undelivered
Event = (
    AlertsReceived
    | TimeDue
    | Sent
    | Answer
    | StillFiring
    | Unproved
    | Paused
    | Resumed
    | SilenceOver
    | TakenAwake
    | Adopted
    | ParentEnded
    | ParentMoved
)
