"""Answers what the configuration says of an alert: priority, team, steps, and where its pages go. Pure."""

import msgspec

from receiver.escalation import Priority, Step
from receiver.incident import Target


class Contact(msgspec.Struct, frozen=True):
    """One way to reach somebody."""

    channel: str
    address: str


class Person(msgspec.Struct, frozen=True):
    """Somebody who can be paged."""

    name: str
    contacts: tuple[Contact, ...]


class Routing(msgspec.Struct, frozen=True, kw_only=True):
    """The frozen answers; see receiver.incident.Policy for what each means."""

    severities: dict[str, Priority]
    unknown_severity: Priority
    matrix: dict[Priority, tuple[Step, ...]]
    response_times: dict[Priority, float]
    dwell: float
    roles: dict[str, tuple[str, ...]]  # role -> people's keys
    people: dict[str, Person]
    teams: dict[str, tuple[Contact, ...]]

    def priority(self, labels: dict[str, str]) -> tuple[Priority, str]:
        """Label `priority`, else `severity` by the table; an unknown value is never dropped, and says so."""
        named = labels.get("priority", "")
        if named in set(Priority):
            return Priority(named), ""
        severity = labels.get("severity", "")
        found = self.severities.get(severity, self.unknown_severity)
        if named and named != "none":
            return found, f"the alert's priority {named!r} is none of P1 to P4: treated as {found}"
        if severity not in self.severities:
            what = f"the severity {severity!r} is not in the table" if severity else "the alert has no severity"
            return found, f"{what}: treated as {found}"
        return found, ""

    def team(self, labels: dict[str, str]) -> tuple[str, str]:
        """Label `team` if it has a row, else the default row with a remark."""
        team = labels.get("team", "")
        if team in self.teams:
            return team, ""
        what = f"the team {team!r} has no row" if team else "the alert names no team"
        return "default", f"{what}: sent to the default team"

    def steps(self, priority: Priority) -> tuple[Step, ...]:
        """Give the column of the table."""
        return self.matrix[priority]

    def response_time(self, priority: Priority) -> float:
        """Give the seconds within which somebody should answer."""
        return self.response_times[priority]

    def targets(self, roles: tuple[str, ...], team: str, priority: Priority) -> tuple[Target, ...]:
        """People of the roles first, then where the team follows; one target a lane."""
        found: dict[str, Target] = {}
        for role in roles:
            for person in (self.people[key] for key in self.roles.get(role, ()) if key in self.people):
                for contact in person.contacts:
                    target = _target(contact, person.name, role, priority)
                    found.setdefault(target.lane, target)
        for contact in self.teams.get(team, self.teams.get("default", ())):
            target = _target(contact, "", "", priority)
            found.setdefault(target.lane, target)
        return tuple(found.values())


def _target(contact: Contact, person: str, role: str, priority: Priority) -> Target:
    """PagerDuty rings once for a key that is open, so a further role, or a rise to P1, needs a lane of its own.

    developer.pagerduty.com/docs/events-api-v2/trigger-events: a trigger on an open dedup_key does not notify again.
    """
    lane = f"{contact.channel}:{contact.address}"
    if contact.channel == "pagerduty":
        lane = f"{lane}:{role or 'team'}:{priority}"
    return Target(contact.channel, contact.address, lane, person, role)
