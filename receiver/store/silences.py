"""What a store promises of the silences that people have made in Alertmanager from incidents."""

from datetime import datetime
from typing import Protocol

import msgspec

from receiver.store.audit import Act


class MadeSilence(msgspec.Struct, frozen=True):
    """Which incident made which silence, and how we know it; Alertmanager has the silence itself."""

    id: str  # Alertmanager's
    source: str  # which Alertmanager
    incident: int
    made_by: str
    matchers: tuple[str, ...]
    comment: str
    made_at: datetime
    ends_at: datetime
    key: str = ""  # that its comment carries in Alertmanager
    replaced_by: str = ""
    over_at: datetime | None = None  # it has ended, or is another one by now
    over_by: str = ""  # who ended it early


class SilenceStore(Protocol):
    """Each change is one transaction; one with an act has its line in the audit log."""

    async def take_turn(self, now: datetime) -> bool:
        """Let nobody else ask Alertmanager for one for a while; False while another receiver has the turn."""

    async def end_turn(self) -> None:
        """Let the others go on."""

    async def keep(self, silence: MadeSilence, act: Act | None, replaces: str = "") -> None:
        """Keep a silence, new or changed; the one that it replaces is over, and leads to it."""

    async def end(self, silence: MadeSilence, at: datetime, act: Act | None) -> bool:
        """Write down that a silence is over; False if that was known."""

    async def of_incident(self, incident: int) -> tuple[MadeSilence, ...]:
        """Give the silences that were made from an incident, the newest first."""

    async def running(self) -> tuple[MadeSilence, ...]:
        """Give those that are not over as far as we know."""
