"""Maps an installation of Grafana OnCall, as its public API gives it, to a draft. Pure.

grafana.com/docs/oncall/latest/oncall-api-reference; what the page leaves open is read in grafana/oncall@3666186.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import msgspec

from receiver.importing import oncall_shifts, oncall_steps
from receiver.importing.draft import (
    Draft,
    Grade,
    Hours,
    Instant,
    Keys,
    Layer,
    Override,
    Person,
    Rendered,
    Report,
    Rule,
    Schedule,
    Team,
    TeamRule,
    Told,
    equals,
    is_span,
    is_zone,
    joined_rules,
    known_zone,
    mapped_schedules,
    only_team,
    personal_rule,
    reachable,
    slack_id,
    written,
)
from receiver.importing.oncall_shifts import Shift
from receiver.importing.oncall_steps import Step

_BY_PHONE = {"notify_by_sms", "notify_by_phone_call"}
_BY_APP = {"notify_by_mobile_app", "notify_by_mobile_app_critical", "notify_by_telegram", "notify_by_msteams"}
_LABEL = re.compile(
    r"""\{\{\s*payload\.(?:commonLabels|groupLabels|labels)(?:\.(\w+)|\[["'](\w+)["']\])\s*==\s*["']([^"']*)["']\s*\}\}"""
)
_IN_JSON = re.compile(r"""\\?"(\w+)\\?":\s*(?:\\s\*)?\s*\\?"([\w .:/-]+)\\?\"""")


class SlackUser(msgspec.Struct, frozen=True):
    """A person at Slack."""

    user_id: str = ""


class User(msgspec.Struct, frozen=True):
    """`users`."""

    id: str
    username: str = ""
    email: str | None = None
    slack: SlackUser | None = None
    timezone: str | None = None
    is_phone_number_verified: bool = False
    teams: list[str] | None = None


class OnCallSchedule(msgspec.Struct, frozen=True):
    """`schedules`."""

    id: str
    name: str = ""
    type: str = "web"
    time_zone: str | None = None
    shifts: list[str] | None = None
    ical_url_primary: str | None = None
    ical_url_overrides: str | None = None


class Named(msgspec.Struct, frozen=True):
    """`escalation_chains`, `teams`."""

    id: str
    name: str = ""


class SlackPlace(msgspec.Struct, frozen=True):
    """Where a route posts."""

    channel_id: str | None = None
    enabled: bool = False


class DefaultRoute(msgspec.Struct, frozen=True):
    """The route of what matches no other."""

    escalation_chain_id: str | None = None
    slack: SlackPlace | None = None


class Integration(msgspec.Struct, frozen=True):
    """`integrations`."""

    id: str
    name: str = ""
    type: str = ""
    default_route: DefaultRoute | None = None
    maintenance_mode: str | None = None
    heartbeat: dict[str, object] | None = None


class Route(msgspec.Struct, frozen=True):
    """`routes`."""

    id: str
    integration_id: str
    escalation_chain_id: str | None = None
    routing_type: str | None = "regex"
    routing_regex: str | None = ""
    is_the_last_route: bool = False
    position: int = 0
    slack: SlackPlace | None = None


class PersonalRule(msgspec.Struct, frozen=True):
    """`personal_notification_rules`."""

    id: str
    user_id: str
    type: str
    position: int = 0
    duration: float | None = None
    important: bool = False


class Swap(msgspec.Struct, frozen=True):
    """`shift_swaps`."""

    id: str
    schedule: str
    swap_start: Instant
    swap_end: Instant
    beneficiary: str | dict[str, object]
    benefactor: str | dict[str, object] | None = None


class FinalShift(msgspec.Struct, frozen=True):
    """`schedules/{id}/final_shifts`."""

    user_pk: str
    shift_start: Instant
    shift_end: Instant
    user_username: str = ""


class Records(msgspec.Struct, frozen=True):
    """Everything that was read."""

    users: list[User]
    schedules: list[OnCallSchedule]
    on_call_shifts: list[Shift]
    escalation_chains: list[Named] = []
    escalation_policies: list[Step] = []
    integrations: list[Integration] = []
    routes: list[Route] = []
    personal_notification_rules: list[PersonalRule] = []
    shift_swaps: list[Swap] = []
    teams: list[Named] = []
    final_shifts: dict[str, list[FinalShift]] = {}


def draft(records: Records, taken_at: datetime) -> Draft:
    """Map everything."""
    return _Import(records, taken_at).draft()


class _Import:
    def __init__(self, records: Records, taken_at: datetime) -> None:
        self._records, self._now = records, taken_at
        self._report, self._keys = Report(), Keys()
        self._users = {user.id: user for user in records.users}
        self._shifts = {shift.id: shift for shift in records.on_call_shifts}
        self._chains = {chain.id: chain for chain in records.escalation_chains}
        self._hours: dict[str, Hours] = {}
        self._unrendered: set[str] = set()
        self._personal: dict[str, list[PersonalRule]] = {}
        for rule in records.personal_notification_rules:
            self._personal.setdefault(rule.user_id, []).append(rule)

    def draft(self) -> Draft:
        records = self._records
        for user in records.users:
            self._keys.give("user", user.id, user.username or user.email or "")
        people = {self._person_key(user.id): self._person(user) for user in records.users}
        people = reachable(people, self._report)
        schedules = mapped_schedules(records.schedules, self._schedule, self._keys)
        teams = {key: team for chain in records.escalation_chains for key, team in self._team(chain)}
        default, rules = self._routing(teams)
        self._say_the_rest()
        if not any(team.rows for team in teams.values()):
            teams["on-call"] = only_team(schedules, people)
        if not (default in teams and teams[default].rows):
            default = next(key for key, team in teams.items() if team.rows)
        return Draft(
            source="Grafana OnCall",
            taken_at=self._now,
            people=people,
            schedules=schedules,
            teams=teams,
            default_team=default,
            report=self._report.lines(),
            team_rules=tuple(rules),
            hours=self._hours,
            rendered=self._rendered(schedules),
            unrendered=frozenset(self._unrendered),
            renderer="OnCall's own final schedule (final_shifts)",
            told=self._told(),
        )

    # People.

    def _person_key(self, identity: str) -> str:
        return self._keys.give("user", identity, "")

    def _people(self, ids: Iterable[str], where: str) -> tuple[str, ...]:
        """Give the keys of those who exist; the others are reported once."""
        known = []
        for identity in ids:
            if identity in self._users:
                known.append(self._person_key(identity))
            else:
                self._report.not_mapped("user", identity, f"deleted, or not in the answer; named by {where}")
        return tuple(dict.fromkeys(known))

    def _person(self, user: User) -> Person:
        key, mine = self._person_key(user.id), self._personal.get(user.id, [])
        zone = known_zone(self._report, user.username, user.timezone or "")
        rules = [rule for important in (True, False) for rule in self._rules(user, mine, important=important)]
        to_call = user.is_phone_number_verified or any(rule.type in _BY_PHONE | _BY_APP for rule in mine)
        self._report.exact("user", user.username)
        return Person(
            name=user.username or user.email or key,
            email=user.email or "",
            slack=user.slack.user_id if user.slack else "",
            time_zone=zone,
            contacts={"apprise": f"{key}-phone"} if to_call else {},
            rules=joined_rules(rules),
        )

    def _rules(self, user: User, mine: Sequence[PersonalRule], *, important: bool) -> list[Rule]:
        """The steps of one of the two policies: what is told, and how long after the page."""
        steps = sorted((rule for rule in mine if rule.important is important), key=lambda rule: rule.position)
        priorities = ("P1", "P2") if important else ("P3", "P4")
        passed, rules = 0, list[Rule]()
        for step in steps:
            name = f"{user.username} {'important' if important else 'default'} #{step.position + 1} {step.type}"
            if step.type == "wait":
                passed += int(step.duration if step.duration is not None else 300)
                self._report.exact("personal rule", name)
                continue
            channel = self._channel(user, step.type)
            if channel is None:
                self._report.not_mapped("personal rule", name, "no address of that kind is known")
                continue
            rules.append(personal_rule(self._report, "personal rule", name, channel, passed, priorities))
        return rules

    def _channel(self, user: User, kind: str) -> str | None:
        if kind == "notify_by_email":
            return "email" if user.email else None
        if kind == "notify_by_slack":
            return "slack" if user.slack and user.slack.user_id else None
        return "apprise" if kind in _BY_PHONE | _BY_APP else None

    # Schedules.

    def _schedule(self, schedule: OnCallSchedule) -> Schedule | None:
        zone = schedule.time_zone or "UTC"
        if schedule.type == "ical":
            return self._calendar(schedule)
        if not is_zone(zone):
            self._report.not_mapped("schedule", schedule.name, f"unknown time zone {zone!r}")
            return None
        if schedule.ical_url_overrides:
            text = "its overrides are read from their calendar (to fill); until then they are missing"
            self._report.approximated("schedule", schedule.name, text)
        shifts = [shift for identity in schedule.shifts or () for shift in self._found(identity, schedule.name)]
        layers = [layer for shift in shifts if shift.type != "override" for layer in self._layers(schedule, shift)]
        if not layers:
            self._report.not_mapped("schedule", schedule.name, "it has no shift with people")
            return None
        self._report.exact("schedule", schedule.name)
        overrides = self._overrides(schedule, [shift for shift in shifts if shift.type == "override"], zone)
        calendar = f"{self._keys.give('schedule', schedule.id, schedule.name)}-calendar"
        spans = (*overrides, *self._swaps(schedule, zone))
        return Schedule(zone, tuple(layers), spans, calendar if schedule.ical_url_overrides else "")

    def _calendar(self, schedule: OnCallSchedule) -> Schedule | None:
        """The URL of a calendar is a secret: it is named, and not written into the file."""
        if not schedule.ical_url_primary:
            self._report.not_mapped("schedule", schedule.name, "it has no calendar")
            return None
        text = "its calendar is read from the same URL (to fill), and compared by nobody"
        if schedule.ical_url_overrides:
            text += "; the calendar of its overrides is left out"
        self._report.approximated("schedule", schedule.name, text)
        key = self._keys.give("schedule", schedule.id, schedule.name)
        self._unrendered.add(key)
        return Schedule(
            schedule.time_zone if schedule.time_zone and is_zone(schedule.time_zone) else "UTC",
            (),
            (),
            f"{key}-calendar",
        )

    def _found(self, identity: str, schedule: str) -> list[Shift]:
        if identity in self._shifts:
            return [self._shifts[identity]]
        self._report.not_mapped("shift", identity, f"named by the schedule {schedule}, and not in the answer")
        return []

    def _layers(self, schedule: OnCallSchedule, shift: Shift) -> Sequence[Layer]:
        zone = self._zone(schedule, shift)
        name = shift.name or shift.id
        if zone is None:
            return ()
        groups = [self._people(group, f"the shift {name}") for group in oncall_shifts.groups_of(shift)]
        mapped = oncall_shifts.layers_of(shift, groups, zone, self._now, by_web=schedule.type == "web")
        if mapped.grade is Grade.EXACT:
            note = f"its times are those of {zone}, not of the schedule" if zone != schedule.time_zone else ""
            self._report.exact("shift", name, "; ".join(text for text in (mapped.why, note) if text))
        elif mapped.grade is Grade.APPROXIMATED:
            self._report.approximated("shift", name, mapped.why)
        else:
            self._report.not_mapped("shift", name, mapped.why)
        own = schedule.time_zone or "UTC"
        return [msgspec.structs.replace(layer, time_zone="" if zone == own else zone) for layer in mapped.layers]

    def _zone(self, schedule: OnCallSchedule, shift: Shift) -> str | None:
        """The shift's own zone; without one, UTC in schedules of the web and the schedule's in those of Terraform."""
        zone = shift.time_zone or ("UTC" if schedule.type == "web" else schedule.time_zone or "UTC")
        if is_zone(zone):
            return zone
        self._report.not_mapped("shift", shift.name or shift.id, f"unknown time zone {zone!r}")
        return None

    def _say_the_rest(self) -> None:
        """Report what no schedule names."""
        named = {identity for schedule in self._records.schedules for identity in schedule.shifts or ()}
        for shift in self._records.on_call_shifts:
            if shift.id not in named:
                self._report.exact("shift", shift.name or shift.id, "in no schedule")
        known = {schedule.id for schedule in self._records.schedules}
        for swap in self._records.shift_swaps:
            if swap.schedule not in known:
                self._report.not_mapped("shift swap", swap.id, "its schedule is not in the answer")

    def _overrides(self, schedule: OnCallSchedule, shifts: Sequence[Shift], zone: str) -> list[Override]:
        """Overrides that overlap are on call together: cut where the people change."""
        spans = []
        for shift in shifts:
            own, name = self._zone(schedule, shift), shift.name or shift.id
            if own is None:
                continue
            ids = shift.users or [one for group in shift.rolling_users or () for one in group or ()]
            people = self._people(ids, f"the override {name}")
            start = shift.start.replace(tzinfo=ZoneInfo(own)).astimezone(UTC)
            end = (shift.start + timedelta(seconds=shift.duration)).replace(tzinfo=ZoneInfo(own)).astimezone(UTC)
            if not is_span(self._report, "override", name, start, end):
                continue
            if not people:
                self._report.not_mapped("override", name, "nobody is in it")
                continue
            self._report.exact("override", name, "it is over" if end <= self._now else "")
            if end > self._now:
                spans.append((start, end, people))
        return [Override(written(a, zone), written(b, zone), people) for a, b, people in _cut(spans)]

    def _swaps(self, schedule: OnCallSchedule, zone: str) -> list[Override]:
        made = []
        for swap in self._records.shift_swaps:
            if swap.schedule != schedule.id:
                continue
            if swap.benefactor is None:
                self._report.exact("shift swap", swap.id, "nobody has taken it: it changes nothing")
                continue
            if not is_span(self._report, "shift swap", swap.id, swap.swap_start, swap.swap_end):
                continue
            people = self._people((_identity(swap.beneficiary), _identity(swap.benefactor)), f"the swap {swap.id}")
            if len(people) != 2:  # noqa: PLR2004  # one of them is gone
                self._report.not_mapped("shift swap", swap.id, "one of the two is not imported")
                continue
            self._report.exact("shift swap", swap.id)
            start, end = written(swap.swap_start, zone), written(swap.swap_end, zone)
            made.append(Override(start, end, replace={people[0]: people[1]}))
        return made

    # Escalations and routes.

    def _team(self, chain: Named) -> list[tuple[str, Team]]:
        key = self._keys.give("chain", chain.id, chain.name)
        rows = oncall_steps.rows(self._steps(chain.id), self._names, self._hours, chain.name, self._report)
        if not rows:
            self._report.not_mapped("escalation chain", chain.name, "it tells nobody")
            return []
        self._report.exact("escalation chain", chain.name)
        return [(key, Team(rows))]

    def _steps(self, chain: str) -> list[Step]:
        return [step for step in self._records.escalation_policies if step.escalation_chain_id == chain]

    def _names(self, step: Step) -> tuple[str, ...]:
        """Whom a step tells: keys of people and of schedules."""
        if step.type == "notify_on_call_from_schedule":
            key = self._keys.find("schedule", step.notify_on_call_from_schedule or "")
            if key is None:
                name = step.notify_on_call_from_schedule or "-"
                self._report.not_mapped("schedule", name, "an escalation names it, and it is not imported")
            return (key,) if key else ()
        ids = {
            "notify_persons": step.persons_to_notify,
            "notify_person_next_each_time": step.persons_to_notify_next_each_time,
            "notify_team_members": [
                user.id for user in self._users.values() if step.team_to_notify in (user.teams or ())
            ],
        }.get(step.type or "")
        return self._people(ids or (), "an escalation step")

    def _told(self) -> dict[str, tuple[Told, ...]]:
        told = {}
        for chain in self._records.escalation_chains:
            steps, key = self._steps(chain.id), self._keys.find("chain", chain.id)
            if key and not oncall_steps.has_hours(steps):
                told[key] = oncall_steps.told(steps, self._names)
        return {key: whom for key, whom in told.items() if whom}

    def _routing(self, teams: dict[str, Team]) -> tuple[str, list[TeamRule]]:
        """Give everybody's team and the rules: routes of one Alertmanager integration, in their order."""
        default, rules = "", list[TeamRule]()
        for integration in self._records.integrations:
            self._integration(integration)
            chosen = integration.default_route
            if chosen and not default and integration.type in {"alertmanager", "grafana_alerting", "webhook"}:
                default = self._keys.find("chain", chosen.escalation_chain_id or "") or ""
                self._place(teams, default, chosen.slack)
            mine = (route for route in self._records.routes if route.integration_id == integration.id)
            for route in sorted(mine, key=lambda route: route.position):
                rules += self._route(route, integration, teams)
        return default, rules

    def _integration(self, integration: Integration) -> None:
        name = integration.name or integration.id
        if integration.type == "alertmanager":
            self._report.exact("integration", name, "point Alertmanager at the receiver")
        else:
            self._report.approximated("integration", name, f"of the type {integration.type}: no label tells its alerts")
        if integration.maintenance_mode:
            self._report.not_mapped("maintenance", name, "of an integration: no label tells its alerts")
        if integration.heartbeat:
            self._report.not_mapped("heartbeat", name, "see `heartbeat` and the Watchdog in docs/receiver.md")

    def _route(self, route: Route, integration: Integration, teams: dict[str, Team]) -> list[TeamRule]:
        name = f"{integration.name or integration.id} #{route.position + 1}"
        team = self._keys.find("chain", route.escalation_chain_id or "")
        if route.is_the_last_route:
            self._report.exact("route", name, "the default")
            return []
        if team is None or team not in teams:
            self._report.not_mapped("route", name, "its escalation chain tells nobody")
            return []
        test = _label_test(route)
        if test is None:
            self._report.not_mapped("route", name, f"only tests of one label are understood: {route.routing_regex}")
            return []
        self._report.approximated("route", name, f"the label {test[0]} alone, of any integration")
        self._place(teams, team, route.slack)
        return [TeamRule((equals(test[0], test[1]),), team)]

    def _place(self, teams: dict[str, Team], team: str, place: SlackPlace | None) -> None:
        if place and place.enabled and place.channel_id and team in teams and not teams[team].slack:
            slack = slack_id(self._report, "escalation chain", team, place.channel_id)
            teams[team] = msgspec.structs.replace(teams[team], slack=slack)

    def _rendered(self, schedules: Mapping[str, Schedule]) -> dict[str, tuple[Rendered, ...]]:
        rendered = {}
        for identity, shifts in self._records.final_shifts.items():
            key = self._keys.find("schedule", identity)
            if key in schedules and key is not None and key not in self._unrendered:
                rendered[key] = tuple(
                    Rendered(
                        shift.shift_start,
                        shift.shift_end,
                        self._person_key(shift.user_pk)
                        if shift.user_pk in self._users
                        else f"<{shift.user_username or shift.user_pk}>",
                    )
                    for shift in shifts
                )
        return rendered


def _identity(person: str | dict[str, object]) -> str:
    return person if isinstance(person, str) else str(person.get("id", ""))


def _label_test(route: Route) -> tuple[str, str] | None:
    """Recognise a test of one label: a Jinja comparison, or `"label": "value"` in the payload's JSON."""
    text = (route.routing_regex or "").strip()
    if route.routing_type == "jinja2":
        jinja = _LABEL.fullmatch(text)
        return (jinja[1] or jinja[2], jinja[3]) if jinja else None
    plain = _IN_JSON.fullmatch(text) if route.routing_type in {"regex", None} else None
    return (plain[1], plain[2]) if plain else None


def _cut(
    spans: Sequence[tuple[datetime, datetime, tuple[str, ...]]],
) -> list[tuple[datetime, datetime, tuple[str, ...]]]:
    edges = sorted({edge for start, end, _ in spans for edge in (start, end)})
    pieces: list[tuple[datetime, datetime, tuple[str, ...]]] = []
    for begin, finish in pairwise(edges):
        people = tuple(dict.fromkeys(key for start, end, keys in spans if start <= begin < end for key in keys))
        if pieces and pieces[-1][1:] == (begin, people):
            pieces[-1] = (pieces[-1][0], finish, people)
        elif people:
            pieces.append((begin, finish, people))
    return pieces
