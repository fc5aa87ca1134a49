"""What can happen to an incident. Pure values; `machine.py` says what each does."""

from datetime import datetime

import msgspec

from receiver.incident.model import AlertGroup, EntryKind, Failure, Opening, Origin, Pause, Target


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


class StillFiring(msgspec.Struct, frozen=True):
    """The API shows that ``count`` alerts fire on long after a person has resolved the incident."""

    count: int


class Paused(msgspec.Struct, frozen=True):
    """Everything that fires has been silenced, or is under maintenance."""

    pause: Pause


class Resumed(msgspec.Struct, frozen=True):
    """The silence or the maintenance is over."""


Answer = Acknowledge | Resolve | UndoResolve
Event = AlertsReceived | TimeDue | Delivered | Unreached | Undelivered | Answer | StillFiring | Paused | Resumed
