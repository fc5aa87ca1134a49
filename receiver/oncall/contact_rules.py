"""Decides by which ways one person is reached at a moment: their contacts, rules, quiet hours and vacation. Pure."""

from datetime import datetime

import msgspec

from receiver.incident.model import Priority
from receiver.oncall.hours import Hours
from receiver.oncall.schedule import StandIn


class Contact(msgspec.Struct, frozen=True):
    """One way to reach somebody."""

    channel: str
    address: str


class Rule(msgspec.Struct, frozen=True):
    """Which channels a person wants at which priority and hour."""

    channels: frozenset[str]
    priorities: frozenset[Priority]
    hours: Hours | None = None


class Person(msgspec.Struct, frozen=True):
    """Somebody who can be paged, identified by their key in `people:`; ``name`` is only shown."""

    name: str
    contacts: tuple[Contact, ...]
    rules: tuple[Rule, ...] = ()
    quiet_hours: Hours | None = None
    quiet_channels: frozenset[str] = frozenset({"email"})
    vacation: tuple[tuple[datetime, datetime], ...] = ()
    stand_ins: tuple[StandIn, ...] = ()
    language: str = "en"
    zone: str = "UTC"
    pagerduty_user: str = ""  # the id of their user there

    def is_away(self, at: datetime) -> bool:
        """Say whether the person is on vacation."""
        return any(start <= at < end for start, end in self.vacation)

    def ways(self, priority: Priority, at: datetime) -> tuple[Contact, ...]:
        """Give the contacts to use now: the first rule that fits, then quiet hours, which a P1 breaks.

        A choice that leaves no way at all is not followed: a page that is owed is never dropped for comfort.
        """
        chosen = self.contacts
        for rule in self.rules:
            if priority in rule.priorities and (rule.hours is None or rule.hours.contains(at)):
                chosen = tuple(c for c in self.contacts if c.channel in rule.channels) or chosen
                break
        if priority is not Priority.P1 and self.quiet_hours is not None and self.quiet_hours.contains(at):
            chosen = tuple(c for c in self.contacts if c.channel in self.quiet_channels) or chosen
        return chosen
