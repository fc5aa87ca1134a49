"""Maps a GoAlert installation, as its GraphQL API gives it, to a draft. Pure.

Rotations: schedule/rotation/rotation.go and oncall/state.go; rules: schedule/rule/rule.go; overrides:
oncall/overridecalculator.go of target/goalert@2458b9d.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
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
    mapped_schedules,
    merged_rows,
    only_team,
    personal_rule,
    phone_contacts,
    reachable,
    slack_id,
    week_time,
    written,
)
from receiver.oncall.turns import Clock, Unit

_HOURS = {"hourly": 1, "daily": 24, "weekly": 168}
_MOST_REPEATS = 5  # GoAlert's own limit
_SUNDAY_FIRST = (6, 0, 1, 2, 3, 4, 5)


class Dest(msgspec.Struct, frozen=True):
    """Where something goes."""

    type: str = ""
    args: dict[str, str] = {}


class ContactMethod(msgspec.Struct, frozen=True):
    """One way to reach somebody."""

    id: str
    dest: Dest = Dest()
    name: str = ""
    disabled: bool = False


class NotificationRule(
    msgspec.Struct, frozen=True, rename={"delay_minutes": "delayMinutes", "method": "contactMethodID"}
):
    """When somebody is told by which way."""

    id: str
    delay_minutes: int = 0
    method: str = ""


class User(msgspec.Struct, frozen=True, rename="camel"):
    """`users`."""

    id: str
    name: str = ""
    email: str = ""
    contact_methods: list[ContactMethod] = []
    notification_rules: list[NotificationRule] = []


class Rotation(
    msgspec.Struct,
    frozen=True,
    rename={
        "time_zone": "timeZone",
        "shift_length": "shiftLength",
        "active": "activeUserIndex",
        "users": "userIDs",
    },
):
    """`rotations`; who is active is state, not arithmetic."""

    id: str
    start: Instant
    name: str = ""
    type: str = "weekly"
    time_zone: str = "UTC"
    shift_length: int = 1
    active: int = 0
    users: list[str] = []


class Target(msgspec.Struct, frozen=True):
    """A user, rotation or schedule."""

    id: str = ""
    type: str = ""
    name: str = ""


class ScheduleRule(msgspec.Struct, frozen=True, rename="camel"):
    """Hours of days of the week, Sunday first, in the schedule's zone."""

    start: str = "00:00"
    end: str = "00:00"
    weekday_filter: tuple[bool, ...] = (True,) * 7


class ScheduleTarget(msgspec.Struct, frozen=True):
    """Who is on call by which rules."""

    target: Target
    rules: list[ScheduleRule] = []


class Shift(msgspec.Struct, frozen=True, rename={"user": "userID"}):
    """Somebody's time on call."""

    user: str
    start: Instant
    end: Instant


class Temporary(msgspec.Struct, frozen=True):
    """A time in which only its own shifts count."""

    start: Instant
    end: Instant
    shifts: list[Shift] = []


class GoAlertSchedule(msgspec.Struct, frozen=True, rename="camel"):
    """`schedules`; ``shifts`` and ``later`` are GoAlert's own rendering."""

    id: str
    name: str = ""
    time_zone: str = "UTC"
    targets: list[ScheduleTarget] = []
    temporary_schedules: list[Temporary] = []
    shifts: list[Shift] = []
    later: list[Shift] = []


class UserOverride(msgspec.Struct, frozen=True, rename={"add": "addUserID", "remove": "removeUserID"}):
    """`userOverrides`: somebody is added, removed, or takes another's place."""

    id: str
    start: Instant
    end: Instant
    target: Target
    add: str = ""
    remove: str = ""


class Step(msgspec.Struct, frozen=True, rename="camel"):
    """One step; its delay is the wait before it is left."""

    id: str = ""
    delay_minutes: int = 0
    actions: list[Dest] = []


class Policy(msgspec.Struct, frozen=True):
    """`escalationPolicies`."""

    id: str
    name: str = ""
    repeat: int = 0
    steps: list[Step] = []


class Heartbeat(msgspec.Struct, frozen=True):
    """A monitor of a service."""

    id: str
    name: str = ""


class Service(
    msgspec.Struct,
    frozen=True,
    rename={
        "policy": "escalationPolicyID",
        "maintenance": "maintenanceExpiresAt",
        "heartbeats": "heartbeatMonitors",
    },
):
    """`services`."""

    id: str
    name: str = ""
    policy: str = ""
    maintenance: Instant | None = None
    heartbeats: list[Heartbeat] = []


class Records(msgspec.Struct, frozen=True, rename="camel"):
    """Everything that was read."""

    users: list[User]
    schedules: list[GoAlertSchedule]
    rotations: list[Rotation] = []
    escalation_policies: list[Policy] = []
    services: list[Service] = []
    user_overrides: list[UserOverride] = []


def draft(records: Records, taken_at: datetime) -> Draft:
    """Map everything."""
    return _Import(records, taken_at).draft()


class _Import:
    def __init__(self, records: Records, taken_at: datetime) -> None:
        self._records, self._now = records, taken_at
        self._report, self._keys = Report(), Keys()
        self._users = {user.id: user for user in records.users}
        self._rotations = {rotation.id: rotation for rotation in records.rotations}
        self._alone: dict[str, Schedule] = {}  # rotations that escalations name themselves

    def draft(self) -> Draft:
        records = self._records
        for user in records.users:
            self._keys.give("user", user.id, user.name or user.email)
        people = reachable({self._key(user.id): self._person(user) for user in records.users}, self._report)
        schedules = mapped_schedules(records.schedules, self._schedule, self._keys)
        teams = {key: team for policy in records.escalation_policies for key, team in self._policy(policy)}
        rules = [rule for service in records.services for rule in self._service(service, teams)]
        maintenance = [window for service in records.services for window in self._maintenance(service)]
        told = self._told()
        self._say_the_rest()
        if not teams:
            teams["on-call"] = only_team(schedules, people)
        return Draft(
            source="GoAlert",
            taken_at=self._now,
            people=people,
            schedules=schedules | self._alone,
            teams=teams,
            default_team=next(iter(teams)),
            report=self._report.lines(),
            team_rules=tuple(rules),
            maintenance=tuple(maintenance),
            rendered=self._rendered(schedules),
            unrendered=frozenset(self._alone),
            renderer="GoAlert's own shifts",
            told=told,
        )

    # People.

    def _key(self, identity: str) -> str:
        return self._keys.give("user", identity, "")

    def _user(self, identity: str, where: str) -> str | None:
        """Give the key of somebody who exists; the others are reported once."""
        if identity in self._users:
            return self._key(identity)
        self._report.not_mapped("user", identity, f"deleted, or not in the answer; named by {where}")
        return None

    def _person(self, user: User) -> Person:
        key, email, slack, phones = self._key(user.id), user.email, "", list[tuple[str, str]]()
        for method in user.contact_methods:
            if method.disabled:
                continue
            channel = _channel(method.dest)
            if channel == "email":
                email = method.dest.args.get("email_address") or email
            elif channel == "slack":
                slack = method.dest.args.get("slack_user_id", "")
            else:
                phones.append((channel, method.dest.args.get("phone_number", "")))
        ways = phone_contacts(self._report, user.name or user.id, key, phones)
        self._report.exact("user", user.name or user.id)
        return Person(
            name=user.name or user.email or key,
            email=email,
            slack=slack,
            contacts=ways,
            rules=self._rules(user, ways),
        )

    def _rules(self, user: User, ways: Mapping[str, str]) -> tuple[Rule, ...]:
        methods, rules = {method.id: method for method in user.contact_methods}, []
        for number, rule in enumerate(sorted(user.notification_rules, key=lambda rule: rule.delay_minutes)):
            method = methods.get(rule.method)
            name = f"{user.name or user.id} #{number + 1} {method.dest.type if method else '-'}"
            if method is None or method.disabled:
                self._report.not_mapped("notification rule", name, "its contact method is gone or switched off")
                continue
            channel = known_way(_channel(method.dest), ways)
            after = rule.delay_minutes * 60
            rules.append(personal_rule(self._report, "notification rule", name, channel, after))
        return joined_rules(rules)

    # Schedules.

    def _schedule(self, schedule: GoAlertSchedule) -> Schedule | None:
        name, zone = schedule.name or schedule.id, schedule.time_zone
        if not is_zone(zone):
            self._report.not_mapped("schedule", name, f"unknown time zone {zone!r}")
            return None
        layers = [layer for target in schedule.targets for layer in self._layers(schedule, target)]
        temporary = [one for one in schedule.temporary_schedules if one.end > self._now]
        overrides = [*self._temporary(schedule, temporary), *self._overrides(schedule, temporary)]
        if not layers:
            self._report.not_mapped("schedule", name, "it has no rule with people")
            return None
        self._report.exact("schedule", name)
        return Schedule(zone, tuple(layers), tuple(overrides))

    def _layers(self, schedule: GoAlertSchedule, assigned: ScheduleTarget) -> list[Layer]:
        target, zone = assigned.target, schedule.time_zone
        subject = f"{schedule.name} / {target.name or target.id}"
        active = [rule for rule in assigned.rules if any(rule.weekday_filter)]
        if not active:
            self._report.exact("schedule target", subject, "it is never active")
            return []
        windows = [window for rule in active for window in _windows(rule)]
        always = any(rule.start == rule.end and all(rule.weekday_filter) for rule in active)
        if target.type == "rotation":
            layer = self._rotation(self._rotations.get(target.id), subject)
        else:
            key = self._user(target.id, subject)
            layer = self._alone_on(key) if key else None
        if layer is None:
            self._report.not_mapped("schedule target", subject, "nobody is in it, or its time zone or type is unknown")
            return []
        self._report.exact("schedule target", subject)
        elsewhere = layer.time_zone not in {"", zone}
        own = tuple(msgspec.structs.replace(one, time_zone=zone if elsewhere else "") for one in windows)
        return [
            msgspec.structs.replace(
                layer, windows=() if always else own, time_zone=layer.time_zone if elsewhere else ""
            )
        ]

    def _alone_on(self, key: str) -> Layer:
        start = (self._now - timedelta(days=7)).date().isoformat()
        return Layer((key,), start, "00:00", rotation="daily", level=1)

    def _rotation(self, rotation: Rotation | None, subject: str) -> Layer | None:
        """Let the turns begin so that the one who is active now is; that is state, and moves when lists change."""
        if rotation is None or not is_zone(rotation.time_zone) or not rotation.users:
            return None
        if rotation.type not in {*_HOURS, "monthly"}:
            return None
        zone = rotation.time_zone
        people = tuple(self._user(identity, subject) or NOBODY for identity in rotation.users)
        if all(person == NOBODY for person in people):
            return None
        start = rotation.start.astimezone(ZoneInfo(zone)).replace(second=0, microsecond=0, tzinfo=None)
        length = max(rotation.shift_length, 1)
        unit, turn, written_as = _length(rotation.type, length)
        clock = Clock(zone, start.date(), start.hour * 60 + start.minute, unit, turn)
        first = (rotation.active - clock.turn(self._now)) % len(people)
        return Layer(
            people=people[first:] + people[:first],
            start=start.date().isoformat(),
            handover=f"{start:%H:%M}",
            rotation=written_as,
            name=rotation.name,
            level=1,
            time_zone=zone,
            clock="wall" if unit is Unit.WALL_HOURS else "",
        )

    def _temporary(self, schedule: GoAlertSchedule, temporary: Sequence[Temporary]) -> Iterable[Override]:
        """Only the shifts of a temporary schedule count, and where it has none, nobody is on call."""
        zone = schedule.time_zone
        for one in temporary:
            subject = f"{schedule.name} / {written(one.start, zone)}"
            if not is_span(self._report, "temporary schedule", subject, one.start, one.end):
                continue
            inner = {edge for shift in one.shifts for edge in (shift.start, shift.end) if one.start < edge < one.end}
            for begin, end in pairwise(sorted(edge.replace(microsecond=0) for edge in {one.start, one.end, *inner})):
                if begin == end:
                    continue
                there = [shift.user for shift in one.shifts if shift.start <= begin < shift.end]
                keys = (self._user(identity, subject) for identity in dict.fromkeys(there))
                people = tuple(key for key in keys if key)
                yield Override(written(begin, zone), written(end, zone), people or (NOBODY,))
            self._report.exact("temporary schedule", subject)

    def _overrides(self, schedule: GoAlertSchedule, temporary: Sequence[Temporary]) -> Iterable[Override]:
        """All that are active apply at once, and none within a temporary schedule."""
        zone, mine = schedule.time_zone, list[UserOverride]()
        for override in self._records.user_overrides:
            if override.target.id != schedule.id or override.target.type not in {"", "schedule"}:
                continue
            subject = f"{schedule.name} / {override.id}"
            named = [identity for identity in (override.add, override.remove) if identity]
            if not is_span(self._report, "override", subject, override.start, override.end):
                continue
            if override.end <= self._now or not named:
                self._report.exact("override", subject, "it is over")
            elif any(self._user(identity, f"the override {override.id}") is None for identity in named):
                self._report.not_mapped("override", subject, "somebody in it is not imported")
            else:
                self._report.exact("override", subject)
                mine.append(override)
        times = [*((one.start, one.end) for one in mine), *((one.start, one.end) for one in temporary)]
        for begin, end in pairwise(sorted({edge for pair in times for edge in pair})):
            active = [one for one in mine if one.start <= begin < one.end]
            if active and not any(one.start <= begin < one.end for one in temporary):
                yield self._together(active, written(begin, zone), written(end, zone))

    def _together(self, active: Sequence[UserOverride], start: str, end: str) -> Override:
        replaced = {self._key(one.remove): self._key(one.add) for one in active if one.remove and one.add}
        removed = dict.fromkeys(self._key(one.remove) for one in active if one.remove and not one.add)
        added = dict.fromkeys(self._key(one.add) for one in active if one.add and not one.remove)
        gone = tuple(key for key in removed if key not in replaced)
        return Override(start, end, add=tuple(added), remove=gone, replace=replaced)

    # Escalations and services.

    def _policy(self, policy: Policy) -> list[tuple[str, Team]]:
        rows, passed, slack = [], 0, ""
        for number, step in enumerate(policy.steps):
            self._say(policy, number, step)
            channels = (one.args.get("slack_channel_id", "") for one in step.actions if "slack-channel" in one.type)
            named = next(channels, "")
            slack = slack or slack_id(self._report, "escalation step", f"{policy.name} #{number + 1}", named)
        for step in policy.steps * (1 + _repeats(policy)):
            rows.append(Row(passed, self._whom(step)))
            passed += step.delay_minutes * 60
        made = merged_rows(rows, "escalation policy", policy.name, self._report)
        if not made:
            self._report.not_mapped("escalation policy", policy.name, "it tells nobody")
            return []
        self._report.exact("escalation policy", policy.name)
        return [(self._keys.give("policy", policy.id, policy.name), Team(made, slack))]

    def _say(self, policy: Policy, number: int, step: Step) -> None:
        name = f"{policy.name} #{number + 1}"
        for action in step.actions:
            if "slack-channel" in action.type:
                self._report.approximated("escalation step", name, "the Slack channel is told of the whole incident")
            elif not self._named(action):
                self._report.not_mapped("escalation step", name, f"{action.type}: no person or schedule")
        self._report.exact("escalation step", name)

    def _whom(self, step: Step) -> tuple[str, ...]:
        keys = (self._named(action) for action in step.actions)
        return tuple(dict.fromkeys(key for key in keys if key))

    def _named(self, action: Dest) -> str | None:
        """Whom an action tells: the key of a person, or of a schedule."""
        if "schedule_id" in action.args:
            return self._keys.find("schedule", action.args["schedule_id"])
        if "user_id" in action.args:
            return self._user(action.args["user_id"], "an escalation policy")
        rotation = self._rotations.get(action.args.get("rotation_id", ""))
        layer = self._rotation(rotation, "an escalation policy")
        if rotation is None or layer is None:
            return None
        key = self._keys.give("rotation", rotation.id, f"rotation {rotation.name}")
        self._alone[key] = Schedule(rotation.time_zone, (msgspec.structs.replace(layer, time_zone=""),))
        return key

    def _told(self) -> dict[str, tuple[Told, ...]]:
        """Count down each step's minutes: a second model."""
        told = {}
        for policy in self._records.escalation_policies:
            key = self._keys.find("policy", policy.id)
            if key is None:
                continue
            heard, minute, left = dict[int, frozenset[str]](), 0, 1 + _repeats(policy)
            while left:
                for step in policy.steps:
                    if whom := frozenset(self._whom(step)):
                        heard[minute * 60] = heard.get(minute * 60, frozenset()) | whom
                    minute += step.delay_minutes
                left -= 1
            told[key] = tuple(Told(at, heard[at]) for at in sorted(heard)[:MOST_ROWS])
        return told

    def _say_the_rest(self) -> None:
        """Report what nothing names."""
        named = {target.target.id for schedule in self._records.schedules for target in schedule.targets}
        steps = [step for policy in self._records.escalation_policies for step in policy.steps]
        named |= {action.args.get("rotation_id", "") for step in steps for action in step.actions}
        for rotation in self._records.rotations:
            if rotation.id not in named:
                self._report.exact("rotation", rotation.name or rotation.id, "nothing names it")
        for override in self._records.user_overrides:
            if self._keys.find("schedule", override.target.id) is None:
                self._report.not_mapped("override", override.id, "its schedule is not imported")

    def _service(self, service: Service, teams: dict[str, Team]) -> list[TeamRule]:
        name, policy = service.name or service.id, self._keys.find("policy", service.policy)
        for heartbeat in service.heartbeats:
            self._report.not_mapped(
                "heartbeat", f"{name} / {heartbeat.name}", "jobs report to heartbeats of the receiver: docs/receiver.md"
            )
        if policy is None or policy not in teams:
            self._report.not_mapped("service", name, "its escalation policy tells nobody")
            return []
        self._report.approximated("service", name, f"its alerts need the label service={name}")
        return [TeamRule((equals("service", name),), policy)]

    def _maintenance(self, service: Service) -> list[Maintenance]:
        if service.maintenance is None or service.maintenance <= self._now:
            return []
        name = service.name or service.id
        self._report.approximated("maintenance", name, "by the label service")
        start, end = written(self._now, "UTC"), written(service.maintenance, "UTC")
        return [Maintenance(name, (equals("service", name),), start, end)]

    def _rendered(self, schedules: dict[str, Schedule]) -> dict[str, tuple[Rendered, ...]]:
        rendered = {}
        for schedule in self._records.schedules:
            key = self._keys.find("schedule", schedule.id)
            if key is not None and key in schedules and (schedule.shifts or schedule.later):
                rendered[key] = tuple(
                    Rendered(
                        shift.start.astimezone(UTC),
                        shift.end.astimezone(UTC),
                        self._key(shift.user) if shift.user in self._users else f"<{shift.user}>",
                    )
                    for shift in (*schedule.shifts, *schedule.later)
                )
        return rendered


def _repeats(policy: Policy) -> int:
    return max(0, min(policy.repeat, _MOST_REPEATS))


def _length(kind: str, length: int) -> tuple[Unit, timedelta, str]:
    """Give how long a turn is: its unit, its length, and how that is written."""
    if kind == "monthly":
        return Unit.MONTHS, timedelta(days=length), f"{length} month{'' if length == 1 else 's'}"
    hours = length * _HOURS[kind]
    if hours % 24:
        return Unit.WALL_HOURS, timedelta(hours=hours), f"{hours}h"
    every = duration(hours * 3600)
    return Unit.DAYS, timedelta(hours=hours), {"1d": "daily", "1w": "weekly"}.get(every, every)


def _windows(rule: ScheduleRule) -> tuple[Window, ...]:
    start, end = _minute(rule.start), _minute(rule.end)
    end += 1440 if end <= start else 0
    days = [_SUNDAY_FIRST[place] for place, active in enumerate(rule.weekday_filter[:7]) if active]
    return tuple(Window(week_time(day * 1440 + start), week_time(day * 1440 + end)) for day in sorted(days))


def _minute(text: str) -> int:
    time = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)(?::\d\d)?", text)
    if time is None:
        raise ImportFailedError(f"GoAlert: a time of day that cannot be read ({text!r})")
    return int(time[1]) * 60 + int(time[2])


def _channel(dest: Dest) -> str:
    if "email_address" in dest.args or dest.type == "builtin-smtp-email":
        return "email"
    if "slack_user_id" in dest.args:
        return "slack"
    return {"builtin-twilio-sms": "sms", "builtin-twilio-voice": "call"}.get(dest.type, "apprise")
