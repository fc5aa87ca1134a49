"""The settings of outgoing webhooks: where every change of an incident is posted, and which changes."""

from pathlib import Path
from typing import Annotated

import msgspec

from process.addresses import is_http
from process.settings import Duration, Findings, Secret, Source, Strict
from receiver.incident.model import EntryKind

_SHORTEST, _LONGEST = 60.0, 30 * 86400.0  # seconds: what was resolved stays in the database for 31 days
_LONGEST_TIMEOUT = 60.0  # seconds

# What happens to an incident, without how each notification went and each single alert.
CHANGES = (
    *(EntryKind.OPENED, EntryKind.RAISED, EntryKind.PRIORITY_RAISED, EntryKind.PAGED, EntryKind.NOBODY),
    *(EntryKind.UNDELIVERED, EntryKind.ACKNOWLEDGED, EntryKind.JOINED, EntryKind.RENEWED, EntryKind.BREACHED),
    *(EntryKind.EXPIRED, EntryKind.RECORDED, EntryKind.PAUSED, EntryKind.RESUMED, EntryKind.REOPENED),
    *(EntryKind.RESOLVED, EntryKind.RESOLVED_QUIET, EntryKind.RESOLVED_BY_HAND, EntryKind.RESOLVE_UNDONE),
    *(EntryKind.UNACKNOWLEDGED, EntryKind.SNOOZED, EntryKind.SNOOZE_OVER, EntryKind.TAKEN_OVER, EntryKind.ASKED),
    *(EntryKind.UNANSWERED, EntryKind.MOVED, EntryKind.ESCALATED_NOW, EntryKind.NOTED, EntryKind.ATTACHED),
    *(EntryKind.DETACHED, EntryKind.PARENT_ENDED, EntryKind.ADOPTED, EntryKind.SILENCED),
    *(EntryKind.SILENCE_EXTENDED, EntryKind.SILENCE_ENDED, EntryKind.SILENCE_OVER),
)


class EventWebhook(Strict, frozen=True, kw_only=True):
    """One program that is told of changes."""

    url: str
    """URL to which each change is posted"""
    secret: Secret | None = None
    """Secret that signs them, as Standard Webhooks writes it: `whsec_...`"""
    secret_file: Path | None = None
    events: Annotated[tuple[str, ...], msgspec.Meta(max_length=len(CHANGES))] = ()
    """Changes that are posted, without `incident.`; all, if empty ([event-webhooks.md](event-webhooks.md))"""
    timeout: Duration = Duration(10)
    """Time for one attempt, at most 60s"""
    skip_after: Duration = Duration(86400)
    """Age from which a change that cannot be posted is left out; 1m to 30d"""

    @property
    def kinds(self) -> frozenset[EntryKind]:
        """The changes as lines of a timeline."""
        return frozenset(EntryKind(name) for name in self.events) if self.events else frozenset(CHANGES)


def check_event_webhooks(hooks: dict[str, EventWebhook], source: Source, findings: Findings) -> None:
    """Collect what is wrong."""
    known = {kind.value for kind in CHANGES}
    for name, hook in hooks.items():
        at = f".event_webhooks.{name}"
        if not is_http(hook.url):
            findings.add(source.error(f"{at}.url", "invalid URL (expected e.g. https://example.com/hook)"))
        for index, event in enumerate(hook.events):
            if event not in known:
                text = f"unknown event {event!r} (expected {', '.join(sorted(known))})"
                findings.add(source.error(f"{at}.events[{index}]", text))
        if not 0 < hook.timeout <= _LONGEST_TIMEOUT:
            findings.add(source.error(f"{at}.timeout", "must be at most 60s"))
        if not _SHORTEST <= hook.skip_after <= _LONGEST:
            findings.add(source.error(f"{at}.skip_after", "must be 1m to 30d"))
