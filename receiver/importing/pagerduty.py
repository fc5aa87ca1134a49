"""Maps a PagerDuty account, as its REST API v2 gives it, to a draft. Pure.

developer.pagerduty.com/api-reference; the shapes are those of PagerDuty/terraform-provider-pagerduty@95cf9d8.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec

from receiver.importing.draft import (
    MOST_ROWS,
    NOBODY,
    Draft,
    ImportFailedError,
    Instant,
    Keys,
    Layer,
    Maintenance,
    Override,
    Person,
    Rendered,
    Report,
    Row,
    Rule,
    Schedule,
    Team,
    TeamRule,
    Told,
    Window,
    duration,
    equals,
    is_span,
    is_zone,
    joined_rules,
    known_way,
    known_zone,
    mapped_schedules,
    merged_rows,
    one_line,
    one_of,
    only_team,
    personal_rule,
    phone_contacts,
    reachable,
    week_time,
    written,
)

_MINUTE, _DAY = 60, 86400  # seconds
_MOST_LOOPS = 9  # PagerDuty's own limit
_LOW = ("P3", "P4")
_URGENCIES = {"high": ("P1", "P2"), "low": _LOW}


class Reference(msgspec.Struct, frozen=True):
    """Something that is named elsewhere."""

    id: str = ""
    type: str = ""
    summary: str = ""


class ContactMethod(msgspec.Struct, frozen=True):
    """`users[].contact_methods`."""

    id: str = ""
    type: str = ""
    address: str = ""
    country_code: int | None = None  # of a phone


class NotificationRule(msgspec.Struct, frozen=True):
    """`users[].notification_rules`."""

    contact_method: ContactMethod
    id: str = ""
    urgency: str = "high"
    start_delay_in_minutes: int = 0


class User(msgspec.Struct, frozen=True):
    """`users`."""

    id: str
    name: str = ""
    email: str = ""
    time_zone: str = ""
    contact_methods: list[ContactMethod] = []
    notification_rules: list[NotificationRule] = []


class Restriction(msgspec.Struct, frozen=True):
    """Hours within which a layer applies."""

    type: str
    start_time_of_day: str
    duration_seconds: int
    start_day_of_week: int = 1


class LayerUser(msgspec.Struct, frozen=True):
    """One turn."""

    user: Reference


class ScheduleLayer(msgspec.Struct, frozen=True):
    """`schedule_layers`, the one that wins first."""

    start: Instant
    rotation_virtual_start: Instant
    rotation_turn_length_seconds: int
    id: str = ""
    name: str = ""
    end: Instant | None = None
    users: list[LayerUser] = []
    restrictions: list[Restriction] = []


class PagerDutySchedule(msgspec.Struct, frozen=True):
    """`schedules/{id}`."""

    id: str
    name: str = ""
    time_zone: str = "UTC"
    schedule_layers: list[ScheduleLayer] = []


class Entry(msgspec.Struct, frozen=True):
    """An override, or somebody's time in the final schedule."""

    start: Instant
    end: Instant
    user: Reference
    id: str = ""


class Strategy(msgspec.Struct, frozen=True):
    """How a rule assigns."""

    type: str = ""


class EscalationRule(msgspec.Struct, frozen=True):
    """One level; its delay is the wait before it is left."""

    escalation_delay_in_minutes: int = 30
    targets: list[Reference] = []
    escalation_rule_assignment_strategy: Strategy | None = None


class EscalationPolicy(msgspec.Struct, frozen=True):
    """`escalation_policies`."""

    id: str
    name: str = ""
    num_loops: int = 0
    escalation_rules: list[EscalationRule] = []


class UrgencyRule(msgspec.Struct, frozen=True):
    """The urgency of a service's incidents."""

    type: str = "constant"
    urgency: str = "high"


class Service(msgspec.Struct, frozen=True):
    """`services`."""

    id: str
    name: str = ""
    status: str = ""
    acknowledgement_timeout: int | None = None
    escalation_policy: Reference | None = None
    incident_urgency_rule: UrgencyRule | None = None


class MaintenanceWindow(msgspec.Struct, frozen=True):
    """`maintenance_windows`."""

    id: str
    start_time: Instant
    end_time: Instant
    description: str = ""
    services: list[Reference] = []


class Records(msgspec.Struct, frozen=True):
    """Everything that was read."""

    users: list[User]
    schedules: list[PagerDutySchedule]
    escalation_policies: list[EscalationPolicy] = []
    services: list[Service] = []
    maintenance_windows: list[MaintenanceWindow] = []
    overrides: dict[str, list[Entry]] = {}
    rendered: dict[str, list[Entry]] = {}


def draft(records: Records, taken_at: datetime) -> Draft:
    """Map everything."""
    return _Import(records, taken_at).draft()


class _Import:
    def __init__(self, records: Records, taken_at: datetime) -> None:
        self._records, self._now = records, taken_at
        self._report, self._keys = Report(), Keys()
        self._users = {user.id: user for user in records.users}

    def draft(self) -> Draft:
        records = self._records
        for user in records.users:
            self._keys.give("user", user.id, user.name or user.email)
        people = reachable({self._key(user.id): self._person(user) for user in records.users}, self._report)
        schedules = mapped_schedules(records.schedules, self._schedule, self._keys)
        teams = {key: team for policy in records.escalation_policies for key, team in self._policy(policy)}
        rules = [rule for service in records.services for rule in self._service(service, teams)]
        maintenance = [window for one in records.maintenance_windows for window in self._maintenance(one)]
        for identity, overrides in records.overrides.items():
            if overrides and self._keys.find("schedule", identity) not in schedules:
                for override in overrides:
                    self._report.not_mapped("override", f"{identity} / {override.id}", "its schedule is not imported")
        if not teams:
            teams["on-call"] = only_team(schedules, people)
        return Draft(
            source="PagerDuty",
            taken_at=self._now,
            people=people,
            schedules=schedules,
            teams=teams,
            default_team=next(iter(teams)),
            report=self._report.lines(),
            team_rules=tuple(rules),
            maintenance=tuple(maintenance),
            rendered=self._rendered(schedules),
            renderer="PagerDuty's own final schedule",
            told=self._told(),
        )

    # People.

    def _key(self, identity: str) -> str:
        return self._keys.give("user", identity, "")

    def _user(self, reference: Reference, where: str) -> str | None:
        """Give the key of somebody who exists; the others are reported once."""
        if reference.id in self._users:
            return self._key(reference.id)
        name = reference.summary or reference.id
        self._report.not_mapped("user", name, f"deleted, or not in the answer; named by {where}")
        return None

    def _person(self, user: User) -> Person:
        key, zone = self._key(user.id), known_zone(self._report, user.name, user.time_zone)
        methods = user.contact_methods
        ways = phone_contacts(
            self._report,
            user.name or user.id,
            key,
            ((_channel(one.type), f"+{one.country_code}{one.address}" if one.country_code else "") for one in methods),
        )
        emails = [method.address for method in user.contact_methods if _channel(method.type) == "email"]
        self._report.exact("user", user.name or user.id)
        return Person(
            name=user.name or user.email or key,
            email=next((email for email in emails if "@" in email), user.email),
            time_zone=zone,
            contacts=ways,
            rules=self._rules(user, ways),
        )

    def _rules(self, user: User, ways: Mapping[str, str]) -> tuple[Rule, ...]:
        rules = []
        for number, rule in enumerate(user.notification_rules):
            channel = known_way(_channel(rule.contact_method.type), ways)
            name = f"{user.name or user.id} {rule.urgency} #{number + 1} {rule.contact_method.type}"
            if rule.urgency not in _URGENCIES:
                self._report.not_mapped("notification rule", name, "unknown urgency")
                continue
            after, priorities = rule.start_delay_in_minutes * 60, _URGENCIES[rule.urgency]
            rules.append(personal_rule(self._report, "notification rule", name, channel, after, priorities))
        return joined_rules(rules)

    # Schedules.

    def _schedule(self, schedule: PagerDutySchedule) -> Schedule | None:
        name, zone = schedule.name or schedule.id, schedule.time_zone
        if not is_zone(zone):
            self._report.not_mapped("schedule", name, f"unknown time zone {zone!r}")
            return None
        layers = [one for layer in reversed(schedule.schedule_layers) for one in self._layer(schedule, layer)]
        if not layers:
            self._report.not_mapped("schedule", name, "it has no layer with people that goes on")
            return None
        self._report.exact("schedule", name)
        return Schedule(zone, tuple(layers), tuple(self._overrides(schedule)))

    def _layer(self, schedule: PagerDutySchedule, layer: ScheduleLayer) -> list[Layer]:
        zone, subject = schedule.time_zone, f"{schedule.name} / {layer.name or layer.id}"
        turn = layer.rotation_turn_length_seconds
        people = tuple(self._user(one.user, subject) or NOBODY for one in layer.users)
        if layer.end is not None and layer.end <= self._now:
            self._report.exact("layer", subject, "it is over")
            return []
        if not any(person != NOBODY for person in people) or turn < 3600:  # noqa: PLR2004  # our shortest turn: an hour
            self._report.not_mapped("layer", subject, "nobody is in it, or its turns are shorter than an hour")
            return []
        start = layer.rotation_virtual_start.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        if start.second or any(one.duration_seconds % 60 or not _at(one).endswith("00") for one in layer.restrictions):
            self._report.approximated("layer", subject, "it begins and ends at the full minute")
        self._report.exact("layer", subject)
        begin = written(layer.start, zone)
        every = duration(turn)
        return [
            Layer(
                people=people,
                start=start.date().isoformat(),
                handover=f"{start:%H:%M}",
                rotation={"1d": "daily", "1w": "weekly"}.get(every, every),
                name=layer.name,
                begin=begin if layer.start != layer.rotation_virtual_start else "",
                end=written(layer.end, zone) if layer.end else "",
                windows=_windows(layer.restrictions),
            )
        ]

    def _overrides(self, schedule: PagerDutySchedule) -> Iterable[Override]:
        zone = schedule.time_zone
        for override in self._records.overrides.get(schedule.id, []):
            subject = f"{schedule.name} / {override.id}"
            if not is_span(self._report, "override", subject, override.start, override.end):
                continue
            person = self._user(override.user, f"the override {override.id}")
            if person is None:
                self._report.not_mapped("override", subject, "nobody is in it")
                continue
            self._report.exact("override", subject)
            yield Override(written(override.start, zone), written(override.end, zone), (person,))

    # Escalations and services.

    def _policy(self, policy: EscalationPolicy) -> list[tuple[str, Team]]:
        rows, passed = [], 0
        first = True
        low = self._has_low_urgency(policy)
        for number, rule in enumerate(policy.escalation_rules):
            self._say(policy, number, rule, low=low)
        for rule in policy.escalation_rules * (1 + _loops(policy)):
            rows.append(Row(passed, self._whom(rule), without=() if first or not low else _LOW))
            first, passed = False, passed + rule.escalation_delay_in_minutes * 60
        made = merged_rows(rows, "escalation policy", policy.name, self._report)
        if not made:
            self._report.not_mapped("escalation policy", policy.name, "it tells nobody")
            return []
        made = (msgspec.structs.replace(made[0], without=()), *made[1:])
        self._report.exact("escalation policy", policy.name)
        timeouts = {s.acknowledgement_timeout or 0 for s in self._records.services if _is_of(s, policy)}
        if len(timeouts) > 1:
            text = "its services have several acknowledgement timeouts: the shortest"
            self._report.approximated("escalation policy", policy.name, text)
        shortest = min((timeout for timeout in timeouts if timeout), default=0)
        return [(self._keys.give("policy", policy.id, policy.name), Team(made, acknowledge_for=shortest))]

    def _say(self, policy: EscalationPolicy, number: int, rule: EscalationRule, *, low: bool) -> None:
        name = f"{policy.name} #{number + 1}"
        strategy = rule.escalation_rule_assignment_strategy
        if not self._whom(rule):
            self._report.not_mapped("escalation rule", name, "whom it names is not imported")
        if strategy and strategy.type == "round_robin":
            self._report.approximated("escalation rule", name, "everybody is told, not one by turns")
        if low and number:
            self._report.approximated("escalation rule", name, "not for P3 and P4: low urgency does not escalate")
        self._report.exact("escalation rule", name)

    def _has_low_urgency(self, policy: EscalationPolicy) -> bool:
        rules = [s.incident_urgency_rule for s in self._records.services if _is_of(s, policy)]
        return any(rule and (rule.type, rule.urgency) != ("constant", "high") for rule in rules)

    def _whom(self, rule: EscalationRule) -> tuple[str, ...]:
        """Whom a rule tells: keys of people and of schedules."""
        keys = list[str]()
        for target in rule.targets:
            if target.type.startswith("schedule"):
                key = self._keys.find("schedule", target.id)
            else:
                key = self._user(target, "an escalation policy")
            keys += [key] if key else []
        return tuple(dict.fromkeys(keys))

    def _told(self) -> dict[str, tuple[Told, ...]]:
        """Walk each policy with a cursor that goes round: a second model."""
        told = {}
        for policy in self._records.escalation_policies:
            key = self._keys.find("policy", policy.id)
            if key is None:
                continue
            heard, clock, level, loops = dict[int, frozenset[str]](), 0, 0, 0
            while loops <= _loops(policy):
                rule = policy.escalation_rules[level]
                if whom := frozenset(self._whom(rule)):
                    heard[clock] = heard.get(clock, frozenset()) | whom
                clock += rule.escalation_delay_in_minutes * 60
                level += 1
                if level == len(policy.escalation_rules):
                    level, loops = 0, loops + 1
            told[key] = tuple(Told(at, heard[at]) for at in sorted(heard)[:MOST_ROWS])
        return told

    def _service(self, service: Service, teams: dict[str, Team]) -> list[TeamRule]:
        name = service.name or service.id
        policy = self._keys.find("policy", service.escalation_policy.id) if service.escalation_policy else None
        if policy not in teams or policy is None:
            self._report.not_mapped("service", name, "its escalation policy tells nobody")
            return []
        if service.status == "disabled":
            self._report.not_mapped("service", name, "switched off")
            return []
        self._report.approximated("service", name, f"its alerts need the label service={name}")
        return [TeamRule((equals("service", name),), policy)]

    def _maintenance(self, window: MaintenanceWindow) -> list[Maintenance]:
        name = window.description or window.id
        services = [one.summary for one in window.services if one.summary]
        if window.end_time <= self._now or not services:
            self._report.exact("maintenance window", name, "it is over, or of no service")
            return []
        if not is_span(self._report, "maintenance window", name, window.start_time, window.end_time):
            return []
        self._report.approximated("maintenance window", name, "by the label service")
        start, end = written(window.start_time, "UTC"), written(window.end_time, "UTC")
        return [Maintenance(name, (one_of("service", services),), start, end)]

    def _rendered(self, schedules: dict[str, Schedule]) -> dict[str, tuple[Rendered, ...]]:
        rendered = {}
        for identity, entries in self._records.rendered.items():
            key = self._keys.find("schedule", identity)
            if key is not None and key in schedules:
                rendered[key] = tuple(
                    Rendered(entry.start.astimezone(UTC), entry.end.astimezone(UTC), self._shown(entry.user))
                    for entry in entries
                )
        return rendered

    def _shown(self, user: Reference) -> str:
        return self._key(user.id) if user.id in self._users else f"<{user.summary or user.id}>"


def _loops(policy: EscalationPolicy) -> int:
    return max(0, min(policy.num_loops, _MOST_LOOPS))


def _is_of(service: Service, policy: EscalationPolicy) -> bool:
    return service.escalation_policy is not None and service.escalation_policy.id == policy.id


def _channel(kind: str) -> str:
    kinds = {"email": "email", "sms": "sms", "phone": "call"}
    return kinds.get(kind.partition("_")[0], "apprise")


def _at(restriction: Restriction) -> str:
    """Give its time of day, `18:00:00`."""
    time = restriction.start_time_of_day
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?", time):
        raise ImportFailedError(f"PagerDuty: a restriction that cannot be read ({one_line(time)!r})")
    return time if len(time) == len("18:00:00") else f"{time}:00"


def _windows(restrictions: Sequence[Restriction]) -> tuple[Window, ...]:
    """Give the hours of a layer as windows of the week; several may overlap."""
    windows = list[Window]()
    for one in restrictions:
        hour, minute, second = (int(part) for part in _at(one).split(":"))
        if not 1 <= one.start_day_of_week <= 7 or one.duration_seconds < _MINUTE:  # noqa: PLR2004  # Sunday
            where = f"day {one.start_day_of_week}, {one.duration_seconds} seconds"
            raise ImportFailedError(f"PagerDuty: a restriction that cannot be read ({where})")
        begins = round((hour * 3600 + minute * 60 + second) / _MINUTE)
        minutes = round(one.duration_seconds / _MINUTE)  # 86,399 seconds are meant as a day
        daily = one.type.startswith("daily")
        if minutes * _MINUTE >= (_DAY if daily else 7 * _DAY):
            return ()
        for day in range(7) if daily else [one.start_day_of_week - 1]:
            start = day * 1440 + begins
            windows.append(Window(week_time(start), week_time(start + minutes)))
    return tuple(windows)
