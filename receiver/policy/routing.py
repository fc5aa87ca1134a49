"""Gives the priority, team and plan of an alert, and the targets of its notifications now. Pure."""

from datetime import UTC, datetime, timedelta
from functools import cached_property

import msgspec

from receiver.incident.model import Alert, Data, EntryKind, Fact, Incident, Pause, Plan, Priority, Target
from receiver.incident.policy import Ruling
from receiver.oncall.contact_rules import Contact, Person
from receiver.oncall.cover import Cover, replaced
from receiver.oncall.directory import Directory
from receiver.oncall.hours import Hours
from receiver.oncall.schedule import Schedule, on_call, present
from receiver.policy.maintenance import Window, begun, current
from receiver.policy.matcher import Matchers, match_all

_MOST_RULINGS = 1000
_LONGEST_ASKED = 500  # characters of the labels that a ruling depends on; what is longer is decided each time
_BY_NAME = {priority.value: priority for priority in Priority}
DEFAULT = "default"  # the team of alerts that name none, or one that is not known


class Route(msgspec.Struct, frozen=True):
    """Additional places for alerts that match; with ``only``, instead of their team's."""

    matchers: Matchers
    contacts: tuple[Contact, ...]
    only: bool = False


class PriorityRule(msgspec.Struct, frozen=True):
    """The priority of alerts that match and whose severity is in no table."""

    matchers: Matchers
    priority: Priority


def _named(word: str) -> Priority | None:
    return _BY_NAME.get("".join(word.split()).upper()) if word else None


class TeamRule(msgspec.Struct, frozen=True):
    """The team of alerts that match and whose label `team` names none."""

    matchers: Matchers
    team: str


class _Ruling(Ruling, frozen=True, kw_only=True):
    """With the places that hear of the alert, which do not depend on the time either."""

    routes: tuple[Contact, ...]  # that routes add
    own: tuple[Contact, ...]  # the team's, unless a route stands in for them


class Routing(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The frozen answers; see receiver.incident.policy.Policy for what each means."""

    severities: dict[str, Priority]
    unknown_severity: Priority
    plans: dict[Priority, Plan]
    dwell: float
    roles: dict[str, tuple[str, ...]]  # role -> keys of people or names of schedules
    people: dict[str, Person]
    teams: dict[str, tuple[Contact, ...]]
    schedules: dict[str, Schedule] = {}  # msgspec copies a mutable default
    team_plans: dict[str, dict[Priority, Plan]] = {}
    team_severities: dict[str, dict[str, Priority]] = {}
    service_severities: dict[str, dict[str, Priority]] = {}
    priority_rules: tuple[PriorityRule, ...] = ()
    team_rules: tuple[TeamRule, ...] = ()
    routes: tuple[Route, ...] = ()
    fallbacks: tuple[Contact, ...] = ()
    hours: dict[str, Hours] = {}
    windows: tuple[Window, ...] = ()
    flap_window: float = 600.0
    flap_quiet: float = 900.0
    covers: tuple[Cover, ...] = ()  # of people who hold a role by name; schedules have theirs in them
    people_awake: dict[str, datetime] = {}  # until when
    quiet: dict[str, dict[Priority, bool]] = {}  # by team: what pages nobody who is awake, where that is not as usual
    running_since: datetime = datetime.min.replace(tzinfo=UTC)  # of the process that answers by it; see Current

    def priority(self, labels: dict[str, str]) -> tuple[Priority, Fact | None]:
        """Give the priority of an alert, and what was missing or unknown in its labels."""
        ruling = self.ruling(labels)
        return ruling.priority, ruling.about_priority

    def team(self, labels: dict[str, str]) -> tuple[str, Fact | None]:
        """Give the team of an alert, and what was missing or unknown in its labels."""
        ruling = self.ruling(labels)
        return ruling.team, ruling.about_team

    def ruling(self, labels: dict[str, str]) -> _Ruling:
        """Decide once for alerts that are alike in what is asked: each is asked about several times in a webhook."""
        asked = tuple(map(labels.get, self._asked))
        return self._rulings.get(asked) or self._decide(labels, asked)

    def rulings(self, incident: Incident) -> tuple[tuple[Alert, _Ruling], ...]:
        """Remember the last answer: in one webhook the same alerts are asked about several times."""
        alerts, rulings = self._last[0]
        if alerts is not incident.alerts:  # no value of an incident is ever changed, so the same alerts fire in it
            rulings = tuple([(alert, self.ruling(alert.labels)) for alert in incident.firing])
            self._last[0] = incident.alerts, rulings
        return rulings

    def _decide(self, labels: dict[str, str], asked: tuple[str | None, ...]) -> _Ruling:
        (priority, about_priority), (team, about_team) = self._priority(labels), self._team(labels)
        routes, own = self._places(labels, team)
        ruling = _Ruling(priority, team, about_priority, about_team, routes=routes, own=own)
        if len(self._rulings) >= _MOST_RULINGS:
            self._rulings.clear()
        if sum(len(value) for value in asked if value is not None) <= _LONGEST_ASKED:
            self._rulings[asked] = ruling
        return ruling

    @cached_property
    def _asked(self) -> tuple[str, ...]:
        """The labels on which priority, team and places depend."""
        rules: tuple[PriorityRule | TeamRule | Route, ...] = (*self.priority_rules, *self.team_rules, *self.routes)
        named = (matcher.label for rule in rules for matcher in rule.matchers)
        return tuple(dict.fromkeys(("priority", "severity", "service", "team", *named)))

    @cached_property
    def _last(self) -> list[tuple[dict[str, Alert], tuple[tuple[Alert, _Ruling], ...]]]:
        return [({}, ())]

    @cached_property
    def _rulings(self) -> dict[tuple[str | None, ...], _Ruling]:
        return {}

    def _priority(self, labels: dict[str, str]) -> tuple[Priority, Fact | None]:
        """Label `priority`, else `severity` by the tables, else the rules; what is unknown is never dropped."""
        named = labels.get("priority", "").strip()
        known = _named(named)
        if known is not None:
            return self._nearest(known, named)
        severity = labels.get("severity", "").strip()
        priority = self._by_severity(labels, severity)
        if named and named.casefold() != "none":
            priority = priority or self.unknown_severity
            return priority, Fact(EntryKind.PRIORITY_UNKNOWN, Data(named=named, priority=priority))
        if priority is None:
            word = _named(severity)
            if word is not None:  # severity: p5, as of rules that knew no other label
                return self._nearest(word, severity)
            kind = EntryKind.SEVERITY_UNKNOWN if severity else EntryKind.SEVERITY_MISSING
            return self.unknown_severity, Fact(kind, Data(named=severity, priority=self.unknown_severity))
        return priority, None

    def _nearest(self, priority: Priority, named: str) -> tuple[Priority, Fact | None]:
        """Give a priority that is named, or the least urgent one that the matrix has."""
        if priority in self.plans:
            return priority, None
        least = max(self.plans)
        return least, Fact(EntryKind.PRIORITY_UNKNOWN, Data(named=named, priority=least))

    def _by_severity(self, labels: dict[str, str], severity: str) -> Priority | None:
        """The service's own table, then the team's, then everybody's, then the first rule that matches.

        A word that is not in a table as it is written is looked up in any case.
        """
        own = self.service_severities.get(labels.get("service", ""), {})
        teams = self.team_severities.get(labels.get("team", ""), {})
        for table in (own, teams, self.severities):
            if severity in table:
                return table[severity]
            if not table:
                continue
            alike = [table[word] for word in table if word.strip().casefold() == severity.casefold()]
            if alike:
                return min(alike)
        return next((rule.priority for rule in self.priority_rules if match_all(rule.matchers, labels)), None)

    def _team(self, labels: dict[str, str]) -> tuple[str, Fact | None]:
        """Label `team` if it has a row, else that of the first rule that matches, else the default team."""
        team = labels.get("team", "")
        if team in self.teams:
            return team, None
        ruled = next((rule.team for rule in self.team_rules if match_all(rule.matchers, labels)), None)
        if ruled is not None:
            return ruled, None
        kind = EntryKind.TEAM_UNKNOWN if team else EntryKind.TEAM_MISSING
        return DEFAULT, Fact(kind, Data(named=team))

    def plan(self, priority: Priority, team: str) -> Plan:
        """Give the priority's column of the team's own matrix, or of the common one."""
        plans = self.team_plans.get(team, self.plans)
        return plans.get(priority) or plans[max(plans)]  # the matrix may have lost it since

    def holders(self, role: str, at: datetime) -> tuple[str, ...]:
        """Give the keys of the people on call for a role, without those on vacation."""
        keys: list[str] = []
        for name in self.roles.get(role, ()):
            schedule = self.schedules.get(name)
            if schedule is not None:
                keys += on_call(schedule, at)
            else:
                keys += replaced(self.covers, present(self._absences, (name,), at), at)
        here = (key for key in dict.fromkeys(keys) if key in self.people and not self.people[key].is_away(at))
        return tuple(here)

    def targets(self, roles: tuple[str, ...], incident: Incident, now: datetime) -> tuple[Target, ...]:
        """Give the people on call for the roles, then the team's places; one target per lane."""
        targets: dict[str, Target] = {}
        for role in roles:
            for key in self.holders(role, now):
                for contact in self.people[key].ways(incident.priority, now):
                    target = _target(contact, key, role, incident)
                    targets.setdefault(target.lane, target)
        for contact in self.places(incident):
            target = _target(contact, "", "", incident)
            targets.setdefault(target.lane, target)
        return tuple(targets.values())

    def ways(self, person: str, incident: Incident, now: datetime) -> tuple[Target, ...]:
        """Give the person's contacts of now; they are asked by name, so a vacation does not matter."""
        known = self.people.get(person)
        contacts = known.ways(incident.priority, now) if known is not None else ()
        return tuple(_target(contact, person, "", incident) for contact in contacts)

    def awake(self, people: tuple[str, ...], incident: Incident, now: datetime) -> tuple[str, datetime] | None:
        """Give the first who is awake; a P1 pages all the same, unless the team says otherwise."""
        usual = incident.priority is not Priority.P1
        if not self.people_awake or not self.quiet.get(incident.team, {}).get(incident.priority, usual):
            return None
        until = ((person, self.people_awake.get(person)) for person in people)
        return next(((person, at) for person, at in until if at is not None and at > now), None)

    def has_team(self, team: str) -> bool:
        """Say whether the team has a row."""
        return team in self.teams

    def places(self, incident: Incident) -> tuple[Contact, ...]:
        """Give the places of the routes and teams of every firing alert, each once; a route comes before a team.

        Of an incident that was handed over to a team, the alerts' own teams hear no more.
        """
        rulings = {id(ruling): ruling for _, ruling in self.rulings(incident)}.values()
        per_alert = [(one.routes, one.own) for one in rulings] or [self._places(incident.labels, incident.team)]
        routes = (contact for ours, _ in per_alert for contact in ours)
        own = tuple(contact for _, ours in per_alert for contact in ours)
        teams = self.teams.get(incident.moved_to, own)
        return tuple(dict.fromkeys((*routes, *teams)))

    def _places(self, labels: dict[str, str], team: str) -> tuple[tuple[Contact, ...], tuple[Contact, ...]]:
        """Give what the routes add for an alert, and its team's own places unless a route stands in for them."""
        routes = [route for route in self.routes if match_all(route.matchers, labels)]
        own = () if any(route.only for route in routes) else self.teams.get(team, self.teams[DEFAULT])
        return tuple(contact for route in routes for contact in route.contacts), own

    def fallback(self, target: Target, incident: Incident, now: datetime) -> tuple[Target, ...]:
        """Give the person's contacts that were not used yet, otherwise the fallback places."""
        contacts = self.people[target.person].contacts if target.person in self.people else ()
        other = [_target(contact, target.person, target.role, incident, ring=False) for contact in contacts]
        unused = tuple(way for way in other if way.lane not in incident.delivery.round_lanes)
        if unused or now < (incident.delivery.paged_at or now):
            return unused
        return tuple(_target(contact, "", target.role, incident, ring=False) for contact in self.fallbacks)

    def maintenance(self, labels: dict[str, str], now: datetime) -> Pause | None:
        """Give the maintenance window that an alert stands in."""
        return current(self.windows, labels, now) if self.windows else None

    def maintenance_since(self, labels: dict[str, str], now: datetime) -> datetime | None:
        """Say since when an alert has stood in maintenance windows; None if it does not."""
        return begun(self.windows, labels, now)

    def opens(self, hours: str, at: datetime) -> datetime:
        """Give the first moment within the named hours; hours that were removed are always open."""
        return self.hours[hours].opens(at) if hours in self.hours else at

    def after(self, hours: str, start: datetime, seconds: float) -> datetime:
        """Give the moment at which this much time of the named hours has passed; all time if they were removed."""
        length = timedelta(seconds=seconds)
        return self.hours[hours].after(start, length) if hours in self.hours else start + length

    def between(self, hours: str, start: datetime, end: datetime) -> float:
        """Give how many seconds of a range of time lie within the named hours; all if they were removed."""
        return (self.hours[hours].between(start, end) if hours in self.hours else end - start).total_seconds()

    @cached_property
    def _absences(self) -> Schedule:
        """Everybody's vacations, as schedules have them."""
        away = {key: person.vacation for key, person in self.people.items() if person.vacation}
        stand_ins = {key: self.people[key].stand_ins for key in away}
        return Schedule("", "UTC", away=away, stand_ins=stand_ins)

    @cached_property
    def directory(self) -> Directory:
        """Look people up by what they are called."""
        return Directory(self.people)


def _target(contact: Contact, person: str, role: str, incident: Incident, *, ring: bool = True) -> Target:
    """PagerDuty rings once for a key that is open, or acknowledged, so whatever is to ring needs a lane of its own.

    developer.pagerduty.com/docs/events-api-v2/trigger-events: a trigger on an open dedup_key does not notify again.
    A further role, a rise to P1, and the repeat of a step that was told before are each such a ring.
    """
    lane = f"{contact.channel}:{contact.address}"
    if contact.channel == "pagerduty":
        lane = f"{lane}:{role or person or 'team'}:{incident.priority}"
        if ring and any(told.lane == lane for told in incident.delivery.told):
            lane = f"{lane}:{incident.delivery.rounds + 1}"
    return Target(contact.channel, contact.address, lane, person, role)
