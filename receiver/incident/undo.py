"""Takes a resolve by hand back: for a minute the incident knows how it stood before. Pure.

What fell due meanwhile happens now: its clocks come back as they were.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from receiver.incident.escalation import tell
from receiver.incident.event import UndoResolve
from receiver.incident.model import Data, Decision, EntryKind, Incident, Kind, Reason, Undo
from receiver.incident.policy import Policy

UNDO_FOR = timedelta(seconds=60)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def remembered(incident: Incident, now: datetime) -> Undo:
    """Keep what a resolve by hand is about to change."""
    firing = [alert.fingerprint for alert in incident.firing]
    return Undo(
        until=now + UNDO_FOR,
        clocks=incident.clocks,
        paused=incident.paused,
        held=incident.held,
        held_at=incident.held_at,
        drill=incident.drill,
        ended=_of(incident.ended, firing),
        ended_ahead=_of(incident.ended_ahead, firing),
    )


def can_undo(incident: Incident, now: datetime, resolved_at: datetime | None = None) -> bool:
    """Say whether the resolve (the one of this moment, if it is given) can still be taken back."""
    if incident.undo is None or resolved_at not in {None, incident.resolved_at}:
        return False
    return timedelta(0) <= incident.undo.until - now <= UNDO_FOR


def has_ended(incident: Incident) -> bool:
    """Say whether everything that fired at the resolve has ended since: then it would be over all the same."""
    fired = incident.undo is not None and bool(incident.undo.ended)
    return fired and not incident.firing and not incident.truncated


def undo(so_far: Decision, event: UndoResolve, _policy: Policy, now: datetime) -> Decision:
    """Go back to how it stood, with the alerts of today; whoever has heard of the resolve hears of this."""
    incident, before = so_far.incident, so_far.incident.undo
    if before is None:
        return so_far
    so_far = so_far.change(
        clocks=before.clocks,
        paused=before.paused,
        held=before.held,
        held_at=before.held_at,
        drill=before.drill,
        ended=_with(incident.ended, before.ended),
        ended_ahead=_with(incident.ended_ahead, before.ended_ahead),
        resolved_at=None,
        resolved_by="",
        undo=None,
        reported_at=None,
    )
    so_far = so_far.note(now, EntryKind.RESOLVE_UNDONE, event.actor, origin=event.origin)
    return tell(so_far, Kind.UPDATE, Reason.RESOLVE_UNDONE, Data(person=event.actor))


def resolve_of(incident: Incident) -> int:
    """Name the resolve of an incident in a form or a button: its moment in microseconds since 1970; 0 if open."""
    return (incident.resolved_at - _EPOCH) // timedelta(microseconds=1) if incident.resolved_at else 0


def moment_of(resolve: int) -> datetime:
    """Give the moment of a resolve by its name."""
    return _EPOCH + timedelta(microseconds=resolve)


def _of(ended: Mapping[str, datetime], names: Iterable[str]) -> dict[str, datetime | None]:
    return {name: ended.get(name) for name in names}


def _with(ended: Mapping[str, datetime], before: Mapping[str, datetime | None]) -> dict[str, datetime]:
    back = {name: start for name, start in before.items() if start is not None}
    return {name: start for name, start in ended.items() if name not in before} | back
