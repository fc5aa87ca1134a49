"""Decides what is worth delivering: where news goes, when it is due, and what an answer has made pointless. Pure."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from receiver.incident.model import Incident, Kind, Notification, Priority, Reason, State, Target

PATIENT_TRIES = 6  # failures after which a notification no longer keeps others from trying its address
RANKS = tuple(range(2 * len(Priority)))  # what `rank` may give
_PLACES = {priority: place for place, priority in enumerate(Priority)}
UMBRELLA = 300  # members of one incident at a provider
# What whoever has acknowledged must hear, though their own page was cancelled before it was sent.
_FOR_THE_OWNER = {
    *(Reason.ALERTS_JOINED, Reason.REOPENED, Reason.PRIORITY_RAISED, Reason.EXPIRING, Reason.TAKEN_OVER),
    *(Reason.UNANSWERED, Reason.PARENT_ENDED, Reason.STILL_NEEDED),
}


class Handling(msgspec.Struct, frozen=True):
    """How a channel takes what is owed on it.

    What is no P1 is gathered for ``hold``, but for so much of a quiet address as goes ``at_once``. A notification of a
    kind that is not in ``kinds`` is not owed: there is nothing that it could be sent as. ``keeps_incidents``: the
    provider has an incident of its own, which a resolve ends for good. With ``umbrella`` the pages that wait for the
    end of one window become one incident at the provider, and stay its members. ``redraws``: what was posted can be
    changed, and shows how the incident stands.
    """

    hold: timedelta = timedelta(0)
    at_once: int = 1
    kinds: frozenset[Kind] = frozenset(Kind)
    keeps_incidents: bool = False
    umbrella: bool = False
    redraws: bool = False

    def of(self, kind: Kind) -> "Handling":
        """Say how a notification of this kind is taken: an umbrella gathers nothing but pages."""
        return self if kind is Kind.PAGE or not self.umbrella else replace(self, hold=timedelta(0))


class Window(msgspec.Struct, frozen=True):
    """The present window of one address, and how much has been owed there within it."""

    until: datetime
    count: int
    umbrella: int = 0  # the first page of the umbrella that takes members now

    def begins_umbrella(self, handling: Handling) -> bool:
        """Say whether what was counted last is the first member of an umbrella."""
        return (self.count - handling.at_once - 1) % UMBRELLA == 0

    def is_over(self, handling: Handling, now: datetime) -> bool:
        """Say whether the address is quiet again; a window that ends too late is one of a clock that was set."""
        follows = handling.hold if self.count > handling.at_once else timedelta(0)
        return now >= self.until + follows or self.until > now + handling.hold


class Status(StrEnum):
    """What has become of a notification that was owed."""

    PENDING = "pending"
    SENDING = "sending"
    SENT = "sent"
    DEAD = "dead"
    CANCELLED = "cancelled"


TELLING = frozenset({Kind.PAGE, Kind.UPDATE, Kind.REMINDER})  # what tells somebody of the trouble


def pointless(kind: Kind, owed_at: datetime, incident: Incident) -> bool:
    """Nobody is paged about what was answered; of what is over, nothing but its end is told.

    A page that is owed after the acknowledgement goes to the places of a team that joined since, and is sent.
    A reminder to answer is pointless once somebody has, and one to acknowledge again once the owner has done so.
    """
    if incident.state is State.RESOLVED:
        return kind is not Kind.RESOLVED
    if incident.state is not State.ACKNOWLEDGED:
        return False
    before = incident.acknowledged_at is None or owed_at <= incident.acknowledged_at
    if kind is Kind.REMINDER:
        return before or incident.clocks.remind_due_at is not None
    return kind is Kind.PAGE and before


def worth_owing(notification: Notification, told: Iterable[tuple[Status, int]], waiting: Iterable[Kind]) -> bool:
    """Say whether a notification is worth owing to a lane: news goes only where the trouble itself went.

    ``told`` gives the status and the attempts of the lane's pages, updates and reminders; where the provider keeps
    incidents, of those after its last end. One whose answer was lost may have arrived. ``waiting`` gives the kinds that
    are pending on the lane: an end that is still to be told need not be told twice.
    """
    kind = notification.kind
    if kind is Kind.PAGE or notification.reason in _FOR_THE_OWNER:
        return True
    if kind is Kind.RESOLVED and Kind.RESOLVED in waiting:
        return False
    return any(
        status in {Status.SENT, Status.SENDING} or (status is Status.CANCELLED and attempts > 0)
        for status, attempts in told
    )


def supersedes(kind: Kind, priority: Priority) -> bool:
    """Say whether a notification may take the place of others: see ``is_superseded``."""
    return kind is Kind.PAGE and priority is Priority.P1


def is_superseded(kind: Kind, priority: Priority, by: Kind, urgency: Priority) -> bool:
    """Say whether a page that waits on a lane need not be sent before the page of a P1, which says more."""
    return supersedes(by, urgency) and kind is Kind.PAGE and priority is not Priority.P1


def umbrella_follows(kind: Kind, members: Iterable[State]) -> bool:
    """Say whether an umbrella is told what became of one member: it is acknowledged once all are, and so resolved."""
    if kind is Kind.RESOLVED:
        return all(state is State.RESOLVED for state in members)
    return all(state is not State.TRIGGERED for state in members)


def redraws(before: Incident, after: Incident, now: datetime) -> tuple[Notification, ...]:
    """Let whatever shows an incident show how it stands now: once for each lane that was told of it.

    They count backwards, apart from the news of a round, and one change has one moment.
    """
    if before.state is State.NEW or _shown(before) == _shown(after):
        return ()
    lanes: dict[str, Target] = {}
    for target in after.delivery.told:
        lanes.setdefault(target.lane, target)
    serial = -int(now.timestamp() * 1_000_000)
    rounds = after.delivery.rounds
    return tuple(Notification(Kind.UPDATE, t, rounds, reason=Reason.REDRAWN, serial=serial) for t in lanes.values())


def _shown(incident: Incident) -> tuple[object, ...]:
    """What a card shows and an act changes; alerts that join or end bring news of their own."""
    owner = incident.acknowledged_by, incident.snoozed_until, incident.clocks.acknowledged_until, incident.asked
    stands = incident.state, incident.priority, incident.team, incident.next_step, incident.attached_to
    return (*owner, *stands, incident.paused, incident.resolved_by)


class Waiting(NamedTuple):
    """What is pending on a lane."""

    serial: int
    not_before: datetime
    tries: int


def worth_redrawing(
    told: Iterable[tuple[Status, int]], waiting: Iterable[Waiting], now: datetime, *, renewed: bool = True
) -> bool:
    """Say whether a redraw is worth owing to a lane: something was posted there, and nothing renews it as soon.

    ``renewed``: news does, as it answers in the thread of that very message.
    """
    if any(one.serial < 0 or (renewed and one.not_before <= now and not one.tries) for one in waiting):
        return False
    return any(status in {Status.SENT, Status.SENDING} for status, _ in told)


class End(NamedTuple):
    """The last end that a lane was owed, with what became of it."""

    status: Status
    attempts: int
    serial: int  # of its notification


def correction(
    notification: Notification, incident: Incident, handling: Handling, end: End | None
) -> tuple[bool, tuple[Notification, ...]]:
    """Say what an undone resolve means for a lane: whether its end is cancelled, and what is owed.

    It means nothing where the last end is of an earlier resolve, or was never owed: nothing is owed between a resolve
    and its undo. An end that nobody can have heard of is cancelled, and that is all. Else whoever heard of it hears of
    this: a provider that keeps incidents gets a new one, for an end that may have arrived has closed the old one for
    good. An end that an umbrella was not told of has taken the incident out of it all the same.
    """
    if end is None or end.serial != notification.serial - 1 or (end.status is Status.CANCELLED and not end.attempts):
        return False, ()
    if end.status is Status.PENDING and not end.attempts:
        return True, ()
    if not handling.keeps_incidents:
        return end.status is Status.PENDING, (notification,)
    page = replace(notification, kind=Kind.PAGE)
    if incident.state is not State.ACKNOWLEDGED:
        return False, (page,)
    return False, (page, replace(notification, kind=Kind.ACKNOWLEDGED))


def is_current(generation: int, ends: int, state: State) -> bool:
    """Say whether a provider's incident is the one of now: ``ends`` were owed to its lane, one of them for this end.

    The incidents of a lane count from 0, and each end begins the next.
    """
    return ends - (state is State.RESOLVED) <= generation <= ends


def is_undone(before: Incident, after: Incident) -> bool:
    """Say whether a resolve was taken back: what it has made pointless is owed again."""
    is_back = before.undo is not None and after.undo is None
    return is_back and before.reopened == after.reopened


def is_given_back(before: Incident, after: Incident) -> bool:
    """Say whether an acknowledgement was taken back at once: what it has made pointless is owed again."""
    return before.before_answer is not None and after.state is State.TRIGGERED and after.clocks == before.before_answer


def rank(kind: Kind, priority: Priority) -> int:
    """Give the place in the order of sending: pages by priority, then everything else by priority."""
    return (kind is not Kind.PAGE) * len(Priority) + _PLACES[priority]


def is_urgent(rank: int) -> bool:
    """Say whether a rank is that of a P1."""
    return rank % len(Priority) == 0


def is_gathered(incident: Incident, handling: Handling) -> bool:
    """Say whether what is owed of this incident is counted, and may wait, with what else is owed to the address."""
    return handling.hold > timedelta(0) and incident.priority is not Priority.P1 and not incident.drill


def due_at(
    incident: Incident, handling: Handling, window: Window | None, now: datetime
) -> tuple[datetime, Window | None]:
    """Say when a notification of this incident may be sent to an address, and what becomes of the address' window.

    The first of a quiet address go at once, and what follows within the window waits for its end, so that ten incidents
    of one cause reach a person as two messages. While more follow, one window follows the other.
    """
    if not is_gathered(incident, handling):
        return now, window
    hold = handling.hold
    if window is None or window.is_over(handling, now):
        window = Window(now + hold, 0)
    elif now >= window.until:
        window = Window(window.until + hold, handling.at_once)
    window = replace(window, count=window.count + 1)
    return (now if window.count <= handling.at_once else window.until), window


def nobody_told(pages: Iterable[Status]) -> bool:
    """Say whether no page of a round was sent or can still be sent."""
    return all(status is Status.DEAD for status in pages)


def may_still_reach(target: Target, others: Iterable[Target]) -> bool:
    """Say whether another way is not to be looked for yet: a page to whom ``target`` was for is on its way.

    ``others``: the targets of the round's other pages that may still be sent and have not looked for another way.
    Whichever of them fails or is late looks for it in its turn. A place of a team stands for everybody who was paged.
    """
    return any(other.person and (not target.person or other.person == target.person) for other in others)
