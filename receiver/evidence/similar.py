"""Finds earlier incidents like one: of the same alert and team, those with most labels in common first."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from receiver.incident.model import Entry, EntryKind, Incident
from receiver.messages.i18n import Reader
from receiver.messages.timeline import entry_text
from receiver.store.base import PastIncident

MOST = 3  # that are shown
_LOOKED_AT = 50  # the newest of the same name
_ENDINGS = frozenset({EntryKind.RESOLVED, EntryKind.RESOLVED_QUIET, EntryKind.RESOLVED_BY_HAND})


class Similar(msgspec.Struct, frozen=True):
    """An earlier incident, how many labels it has in common, and what its timeline says of how it ended."""

    incident: PastIncident
    shared: int
    ending: tuple[Entry, ...] = ()  # what was noted last, and how it was resolved


class Past(Protocol):
    """What is read of a store."""

    async def incident(self, incident_id: int) -> tuple[Incident, tuple[Entry, ...]] | None:
        """Give one incident and its timeline."""

    async def alike(self, alertname: str, team: str, limit: int) -> list[PastIncident]:
        """Give the newest incidents of a team that were opened by alerts of one name."""


async def similar(store: Past, incident: Incident, most: int = MOST) -> tuple[Similar, ...]:
    """Read them; StoreError if they cannot be read."""
    name = incident.labels.get("alertname", "")
    if not name:
        return ()
    found = ranked(incident, await store.alike(name, incident.team, _LOOKED_AT), most)
    stored = [await store.incident(one.incident.id) for one in found]
    return tuple(
        msgspec.structs.replace(one, ending=ending(both[1] if both else ()))
        for one, both in zip(found, stored, strict=True)
    )


def ranked(incident: Incident, past: Iterable[PastIncident], most: int = MOST) -> tuple[Similar, ...]:
    """Put those with most labels in common first, of these the newest; drills and later ones are left out. Pure."""
    own = incident.labels.items()
    found = [
        Similar(one, len(own & one.labels.items()))
        for one in past
        if one.id < incident.id and one.drill is incident.drill
    ]
    return tuple(sorted(found, key=lambda one: (one.shared, one.incident.id), reverse=True)[:most])


def ending(timeline: Sequence[Entry]) -> tuple[Entry, ...]:
    """Give the last note and the last resolve. Pure."""
    notes = [entry for entry in timeline if entry.kind is EntryKind.NOTED]
    ends = [entry for entry in timeline if entry.kind in _ENDINGS]
    return (*notes[-1:], *ends[-1:])


def ending_text(one: Similar, reader: Reader) -> str:
    """Say how it ended. Pure."""
    return " ".join(f"{entry_text(entry, reader).rstrip('.')}." for entry in one.ending)
