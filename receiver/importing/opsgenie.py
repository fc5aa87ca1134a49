"""Maps an Opsgenie account, as its API gives it, to a draft. Pure.

docs.opsgenie.com/docs/api-overview; the shapes are those of opsgenie/opsgenie-go-sdk-v2@718e135.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec
from msgspec.structs import replace

from receiver.importing.draft import (
    MOST_ROWS,
    Draft,
    ImportFailedError,
    Instant,
    Keys,
    Layer,
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
    Vacation,
    Window,
    duration,
    equals,
    is_label,
    is_span,
    is_zone,
    joined_rules,
    known_way,
    known_zone,
    mapped_schedules,
    merged_rows,
    naive,
    one_line,
    only_team,
    personal_rule,
    phone_contacts,
    reachable,
    week_time,
    written,
)
from receiver.policy.re2 import RE2Error, compile_re2

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_EVERY = {"hourly": 3600, "daily": 86400, "weekly": 604800}
_UNITS = {"minutes": 60, "hours": 3600, "days": 86400}
_MOST_REPEATS = 20
_CHANNELS = {"email": "email", "sms": "sms", "voice": "call", "mobile": "apprise"}
PRIORITIES = ("P1", "P2", "P3", "P4", "P5")


class Reference(msgspec.Struct, frozen=True):
    """A user, schedule, team or escalation that is named somewhere."""

    type: str = "user"
    id: str = ""
    name: str = ""
    username: str = ""


class User(msgspec.Struct, frozen=True, rename="camel"):
    """`users`."""

    id: str
    username: str = ""
    full_name: str = ""
    time_zone: str = ""
    blocked: bool = False


class Restriction(msgspec.Struct, frozen=True, rename="camel"):
    """From a time to another, of each day, or of days of the week."""

    start_hour: int = 0
    start_min: int = 0
    end_hour: int = 0
    end_min: int = 0
    start_day: str = ""
    end_day: str = ""


class TimeRestriction(msgspec.Struct, frozen=True):
    """`time-of-day` has one restriction, `weekday-and-time-of-day` a list."""

    type: str = ""
    restriction: Restriction | None = None
    restrictions: list[Restriction] = []


class Rotation(msgspec.Struct, frozen=True, rename="camel"):
    """One rotation of a schedule."""

    start_date: Instant
    type: str = "weekly"
    id: str = ""
    name: str = ""
    end_date: Instant | None = None
    length: int = 1
    participants: list[Reference] = []
    time_restriction: TimeRestriction | None = None


class OpsgenieSchedule(msgspec.Struct, frozen=True, rename="camel"):
    """`schedules?expand=rotation`."""

    id: str
    name: str = ""
    timezone: str = "UTC"
    enabled: bool = True
    rotations: list[Rotation] = []


class OpsgenieOverride(msgspec.Struct, frozen=True, rename="camel"):
    """`schedules/{id}/overrides`."""

    user: Reference
    start_date: Instant
    end_date: Instant
    alias: str = ""
    rotations: list[Reference] = []


class Forwarding(msgspec.Struct, frozen=True, rename="camel"):
    """`forwarding-rules`."""

    id: str
    from_user: Reference
    to_user: Reference
    start_date: Instant
    end_date: Instant


class Delay(msgspec.Struct, frozen=True, rename="camel"):
    """So long after the alert."""

    time_amount: int = 0
    time_unit: str = "minutes"

    @property
    def seconds(self) -> int:
        """Give it in seconds."""
        return self.time_amount * _UNITS.get(self.time_unit, 60)


class EscalationRule(msgspec.Struct, frozen=True, rename="camel"):
    """One rule of an escalation: whom it tells, so long after the alert."""

    recipient: Reference
    delay: Delay = Delay()
    condition: str = "if-not-acked"
    notify_type: str = "default"


class Repeat(msgspec.Struct, frozen=True, rename="camel"):
    """How often an escalation begins again, and how long after its last rule."""

    wait_interval: int = 0
    count: int = 0


class Escalation(msgspec.Struct, frozen=True, rename="camel"):
    """`escalations`."""

    id: str
    name: str = ""
    rules: list[EscalationRule] = []
    repeat: Repeat | None = None


class OpsgenieTeam(msgspec.Struct, frozen=True):
    """`teams`."""

    id: str
    name: str = ""


class Member(msgspec.Struct, frozen=True):
    """Somebody in a team."""

    user: Reference


class Members(msgspec.Struct, frozen=True):
    """`teams/{id}`."""

    members: list[Member] = []


class Condition(msgspec.Struct, frozen=True, rename="camel"):
    """One test of a routing rule."""

    field: str = ""
    operation: str = ""
    expected_value: str = ""
    key: str = ""
    not_: bool = msgspec.field(default=False, name="not")


class Criteria(msgspec.Struct, frozen=True):
    """When a routing rule applies."""

    type: str = "match-all"
    conditions: list[Condition] = []


class RoutingRule(msgspec.Struct, frozen=True, rename="camel"):
    """`teams/{id}/routing-rules`."""

    id: str = ""
    name: str = ""
    is_default: bool = False
    order: int = 0
    criteria: Criteria = Criteria()
    time_restriction: TimeRestriction | None = None
    notify: Reference | None = None


class Contact(msgspec.Struct, frozen=True):
    """`users/{id}/contacts`."""

    method: str = ""
    to: str = ""


class NotificationRule(msgspec.Struct, frozen=True, rename="camel"):
    """`users/{id}/notification-rules`."""

    id: str
    name: str = ""
    action_type: str = ""
    enabled: bool = True
    time_restriction: TimeRestriction | None = None
    criteria: Criteria = Criteria()


class NotificationStep(msgspec.Struct, frozen=True, rename="camel"):
    """`notification-rules/{id}/steps`."""

    contact: Contact
    send_after: Delay | None = None
    enabled: bool = True


class Period(msgspec.Struct, frozen=True, rename="camel"):
    """Who is on call in one rotation, for a time."""

    start_date: Instant
    end_date: Instant
    type: str = ""
    recipient: Reference | None = None
    flattened_recipients: list[Reference] = []


class TimelineRotation(msgspec.Struct, frozen=True):
    """The periods of one rotation."""

    periods: list[Period] = []


class FinalTimeline(msgspec.Struct, frozen=True):
    """The rotations with overrides and forwarding."""

    rotations: list[TimelineRotation] = []


class Timeline(msgspec.Struct, frozen=True, rename="camel"):
    """`schedules/{id}/timeline`."""

    final_timeline: FinalTimeline = FinalTimeline()


class Maintenance(msgspec.Struct, frozen=True):
    """`maintenance`."""

    id: str
    description: str = ""
    status: str = ""


class Records(msgspec.Struct, frozen=True):
    """Everything that was read."""

    users: list[User]
    schedules: list[OpsgenieSchedule]
    forwarding_rules: list[Forwarding] = []
    escalations: list[Escalation] = []
    teams: list[OpsgenieTeam] = []
    maintenance: list[Maintenance] = []
    contacts: dict[str, list[Contact]] = {}
    notification_rules: dict[str, list[NotificationRule]] = {}
    notification_steps: dict[str, list[NotificationStep]] = {}
    members: dict[str, Members] = {}
    routing_rules: dict[str, list[RoutingRule]] = {}
    overrides: dict[str, list[OpsgenieOverride]] = {}
    timelines: dict[str, Timeline] = {}


def draft(records: Records, taken_at: datetime) -> Draft:
    """Map everything."""
    return _Import(records, taken_at).draft()


class _Import:
    def __init__(self, records: Records, taken_at: datetime) -> None:
        self._records, self._now = records, taken_at
        self._report, self._keys = Report(), Keys()
        self._by_id = {user.id: user for user in records.users}
        self._by_name = {user.username.casefold(): user for user in records.users if user.username}

    def draft(self) -> Draft:
        records = self._records
        for user in records.users:
            self._keys.give("user", user.id, user.username.partition("@")[0] or user.full_name)
        people = reachable({self._key(user): self._person(user) for user in records.users}, self._report)
        schedules = mapped_schedules(records.schedules, self._schedule, self._keys)
        teams = {key: team for escalation in records.escalations for key, team in self._escalation(escalation)}
        default, rules = self._routing(teams, schedules)
        for window in records.maintenance:
            if window.status != "past":
                name = window.description or window.id
                self._report.not_mapped("maintenance", name, "of integrations: no label tells their alerts")
        for identity, overrides in records.overrides.items():
            if overrides and self._keys.find("schedule", identity) not in schedules:
                for one in overrides:
                    self._report.not_mapped("override", f"{identity} / {one.alias}", "its schedule is not imported")
        if not teams:
            teams["on-call"] = only_team(schedules, people)
        return Draft(
            source="Opsgenie",
            taken_at=self._now,
            people=people,
            schedules=schedules,
            teams=teams,
            default_team=default if default in teams else next(iter(teams)),
            report=self._report.lines(),
            team_rules=tuple(rules),
            priorities=PRIORITIES,
            rendered=self._rendered(schedules),
            renderer="Opsgenie's own final timeline",
            told=self._told(),
        )

    # People.

    def _key(self, user: User) -> str:
        return self._keys.give("user", user.id, "")

    def _user(self, reference: Reference, where: str) -> str | None:
        """Give the key of somebody who exists; the others are reported once."""
        name = reference.username or reference.name
        user = self._by_id.get(reference.id) or self._by_name.get(name.casefold())
        if user is None:
            self._report.not_mapped("user", name or reference.id, f"deleted, or not in the answer; named by {where}")
            return None
        return self._key(user)

    def _members(self, reference: Reference) -> tuple[str, ...]:
        teams = [team for team in self._records.teams if reference.id == team.id or reference.name == team.name]
        members = [m for team in teams for m in self._records.members.get(team.id, Members()).members]
        keys = (self._user(member.user, f"the team {reference.name}") for member in members)
        return tuple(key for key in keys if key)

    def _person(self, user: User) -> Person:
        key, zone = self._key(user), known_zone(self._report, user.username, user.time_zone)
        contacts = self._records.contacts.get(user.id, [])
        email = next((one.to for one in contacts if one.method == "email" and "@" in one.to), "")
        email = email or (user.username if "@" in user.username else "")
        # 49-30123456: docs.opsgenie.com/docs/contact-api.
        ways = phone_contacts(
            self._report,
            user.username,
            key,
            ((_CHANNELS.get(one.method, ""), f"+{one.to.lstrip('+')}" if "-" in one.to else "") for one in contacts),
        )
        if user.blocked:
            self._report.approximated("user", user.username, "blocked at Opsgenie; here they are notified")
        self._report.exact("user", user.username)
        return Person(
            name=user.full_name or user.username or key,
            email=email,
            time_zone=zone,
            contacts=ways,
            rules=self._rules(user, ways),
            vacation=self._vacation(user, zone or "UTC"),
        )

    def _rules(self, user: User, ways: Mapping[str, str]) -> tuple[Rule, ...]:
        rules, others = list[Rule](), list[str]()
        for rule in self._records.notification_rules.get(user.id, []):
            if rule.action_type != "create-alert" or not rule.enabled:
                others.append(rule.name or rule.action_type or rule.id)
                continue
            hours, priorities = self._narrowed(user, rule)
            for number, step in enumerate(self._records.notification_steps.get(rule.id, [])):
                name = f"{user.username} {rule.name or rule.id} #{number + 1} {step.contact.method}"
                channel = _CHANNELS.get(step.contact.method)
                if channel is None or not step.enabled:
                    self._report.not_mapped("notification step", name, "switched off, or of an unknown kind")
                    continue
                after = step.send_after.seconds if step.send_after else 0
                way = known_way(channel, ways)
                mapped = personal_rule(self._report, "notification step", name, way, after, priorities)
                rules.append(replace(mapped, hours=hours))
        if others:
            text = f"only rules on new alerts are taken, and those that are switched on: not {', '.join(others)}"
            self._report.not_mapped("notification rules", user.username, text)
        return self._narrow_first(user, joined_rules(rules))

    def _narrowed(self, user: User, rule: NotificationRule) -> tuple[str, tuple[str, ...]]:
        """Give the hours and the priorities in which a rule applies."""
        name, hours, priorities = f"{user.username} {rule.name or rule.id}", "", tuple[str, ...]()
        windows = _windows(rule.time_restriction)
        if windows and len({(one.start[4:], one.end[4:]) for one in windows}) == 1 and len(windows) == 7:  # noqa: PLR2004
            hours = f"{windows[0].start[4:]}-{windows[0].end[4:]}"
        elif windows:
            self._report.approximated("notification rule", name, "at all hours, not on some days only")
        tests = rule.criteria.conditions if rule.criteria.type != "match-all" else []
        if any((one.field, one.operation, one.not_) != ("priority", "equals", False) for one in tests):
            self._report.approximated("notification rule", name, "at all alerts, whatever its conditions say")
        elif rule.criteria.type == "match-any-condition" or len(tests) == 1:
            priorities = tuple(one.expected_value for one in tests if one.expected_value in PRIORITIES)
        if hours or priorities:
            self._report.approximated("notification rule", name, "when no rule applies, all ways are used")
        return hours, priorities

    def _narrow_first(self, user: User, rules: Sequence[Rule]) -> tuple[Rule, ...]:
        """Put those of some hours or priorities first, with the ways of those that always apply: the first decides."""
        always = [rule for rule in rules if not (rule.hours or rule.priorities)]
        narrow = [rule for rule in rules if rule.hours or rule.priorities]
        if len(narrow) > 1:
            self._report.approximated("user", user.username, "of rules that overlap, the first decides")
        ways = [channel for rule in always for channel in rule.channels]
        wider = (replace(rule, channels=tuple(dict.fromkeys((*rule.channels, *ways)))) for rule in narrow)
        return (*wider, *always)

    def _vacation(self, user: User, zone: str) -> tuple[Vacation, ...]:
        vacations = []
        for rule in self._records.forwarding_rules:
            if rule.from_user.id != user.id and rule.from_user.username.casefold() != user.username.casefold():
                continue
            if not is_span(self._report, "forwarding rule", rule.id, rule.start_date, rule.end_date):
                continue
            stand_in = self._user(rule.to_user, f"the forwarding rule {rule.id}")
            if rule.end_date <= self._now or stand_in is None or stand_in == self._key(user):
                self._report.exact("forwarding rule", rule.id, "it is over, or forwards to nobody")
                continue
            self._report.exact("forwarding rule", rule.id)
            vacations.append(Vacation(written(rule.start_date, zone), written(rule.end_date, zone), stand_in))
        return tuple(vacations)

    # Schedules.

    def _schedule(self, schedule: OpsgenieSchedule) -> Schedule | None:
        name = schedule.name
        if not schedule.enabled:
            self._report.not_mapped("schedule", name, "switched off")
            return None
        if not is_zone(schedule.timezone):
            self._report.not_mapped("schedule", name, f"unknown time zone {schedule.timezone!r}")
            return None
        names = _own_names(schedule.rotations)
        pairs = zip(schedule.rotations, names, strict=True)
        layers = [layer for one, name in pairs for layer in self._layer(schedule, one, name)]
        if not layers:
            self._report.not_mapped("schedule", name, "it has no rotation with people that goes on")
            return None
        self._report.exact("schedule", name)
        return Schedule(schedule.timezone, tuple(layers), tuple(self._overrides(schedule, layers)))

    def _layer(self, schedule: OpsgenieSchedule, rotation: Rotation, name: str) -> list[Layer]:
        zone = schedule.timezone
        subject = f"{schedule.name} / {name}"
        people = tuple(self._turn(one, subject) for one in rotation.participants)
        if rotation.type not in _EVERY or not any(turn != "-" for turn in people):
            self._report.not_mapped("rotation", subject, "nobody is in it, or its type is unknown")
            return []
        if rotation.end_date is not None and rotation.end_date <= self._now:
            self._report.exact("rotation", subject, "it is over")
            return []
        self._report.exact("rotation", subject)
        start = rotation.start_date.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        every = duration(_EVERY[rotation.type] * max(rotation.length, 1))
        return [
            Layer(
                people=people,
                start=start.date().isoformat(),
                handover=f"{start:%H:%M}",
                rotation={"1d": "daily", "1w": "weekly"}.get(every, every),
                name=name,
                level=1,
                begin=naive(start) if start.second else "",
                end=written(rotation.end_date, zone) if rotation.end_date else "",
                windows=_windows(rotation.time_restriction),
            )
        ]

    def _turn(self, participant: Reference, where: str) -> str | tuple[str, ...]:
        if participant.type == "none":
            return "-"
        if participant.type == "user":
            return self._user(participant, where) or "-"
        if participant.type == "team":
            members = self._members(participant)
            self._report.approximated("rotation", where, f"the team {participant.name} is its members of today")
            return members or "-"
        if participant.type == "escalation":
            self._report.approximated("rotation", where, f"{participant.name}: the people whom this escalation names")
            return self._named_by(participant) or "-"
        self._report.approximated("rotation", where, f"a participant of the type {participant.type} is left out")
        return "-"

    def _named_by(self, reference: Reference) -> tuple[str, ...]:
        """Give the people whom an escalation names; who is on call in its schedules depends on the hour."""
        named = [one for one in self._records.escalations if reference.id == one.id or reference.name == one.name]
        recipients = [rule.recipient for one in named for rule in one.rules if rule.recipient.type != "schedule"]
        return tuple(dict.fromkeys(key for recipient in recipients for key in self._whom(recipient)))

    def _overrides(self, schedule: OpsgenieSchedule, layers: Sequence[Layer]) -> Iterable[Override]:
        zone, names = schedule.timezone, [layer.name for layer in layers]
        for override in self._records.overrides.get(schedule.id, []):
            subject = f"{schedule.name} / {override.alias}"
            person = self._user(override.user, f"the override {override.alias}")
            if not is_span(self._report, "override", subject, override.start_date, override.end_date):
                continue
            if override.end_date <= self._now:
                self._report.exact("override", subject, "it is over")
                continue
            if person is None:
                self._report.not_mapped("override", subject, "nobody is in it")
                continue
            named = [name for one in override.rotations for name in _names_of(one, schedule.rotations)]
            wanted = tuple(name for name in dict.fromkeys(named) if name in names)
            if override.rotations and not wanted:
                self._report.not_mapped("override", subject, "its rotations are not imported")
                continue
            self._report.exact("override", subject)
            start, end = written(override.start_date, zone), written(override.end_date, zone)
            yield Override(start, end, (person,), wanted)

    # Escalations and routing.

    def _escalation(self, escalation: Escalation) -> list[tuple[str, Team]]:
        rows = []
        rules = sorted(escalation.rules, key=lambda rule: rule.delay.seconds)
        for number, rule in enumerate(rules):
            self._say(escalation, number, rule)
        last = rules[-1].delay.seconds if rules else 0
        for round_ in range(1 + _repeats(escalation)):
            begins = round_ * (last + 60 * (escalation.repeat.wait_interval if escalation.repeat else 0))
            rows += [Row(begins + rule.delay.seconds, self._whom(rule.recipient)) for rule in rules]
        made = merged_rows(rows, "escalation", escalation.name, self._report)
        if not made:
            self._report.not_mapped("escalation", escalation.name, "it tells nobody")
            return []
        self._report.exact("escalation", escalation.name)
        return [(self._keys.give("escalation", escalation.id, escalation.name), Team(made))]

    def _say(self, escalation: Escalation, number: int, rule: EscalationRule) -> None:
        name = f"{escalation.name} #{number + 1} {rule.recipient.type}"
        if not self._whom(rule.recipient):
            self._report.not_mapped("escalation rule", name, "whom it names is not imported")
        if rule.condition == "if-not-closed":
            self._report.approximated("escalation rule", name, "not after an acknowledgement")
        if rule.notify_type not in {"default", "all", "users"}:
            self._report.approximated("escalation rule", name, f"who is on call or in the team, not {rule.notify_type}")
        if rule.recipient.type == "team":
            self._report.approximated("escalation rule", name, "the team's members of today")
        self._report.exact("escalation rule", name)

    def _whom(self, recipient: Reference) -> tuple[str, ...]:
        """Whom a rule tells: keys of people and of schedules."""
        if recipient.type == "user":
            key = self._user(recipient, "an escalation")
            return (key,) if key else ()
        if recipient.type == "schedule":
            found = [s.id for s in self._records.schedules if recipient.id == s.id or recipient.name == s.name]
            keys = (self._keys.find("schedule", identity) for identity in found)
            return tuple(key for key in keys if key)
        return self._members(recipient) if recipient.type == "team" else ()

    def _told(self) -> dict[str, tuple[Told, ...]]:
        """Walk each escalation minute by minute, with a counter of its rounds: a second model."""
        told = {}
        for escalation in self._records.escalations:
            key = self._keys.find("escalation", escalation.id)
            if key is None:
                continue
            heard = dict[int, frozenset[str]]()
            begins, rounds = 0, 0
            while True:
                for rule in escalation.rules:
                    if whom := frozenset(self._whom(rule.recipient)):
                        at = begins + rule.delay.seconds
                        heard[at] = heard.get(at, frozenset()) | whom
                rounds += 1
                if escalation.repeat is None or rounds > min(escalation.repeat.count, _MOST_REPEATS):
                    break
                begins += max(rule.delay.seconds for rule in escalation.rules) + escalation.repeat.wait_interval * 60
            told[key] = tuple(Told(at, heard[at]) for at in sorted(heard)[:MOST_ROWS])
        return told

    def _routing(self, teams: dict[str, Team], schedules: Mapping[str, Schedule]) -> tuple[str, list[TeamRule]]:
        default, rules = "", list[TeamRule]()
        for team in self._records.teams:
            for rule in sorted(self._records.routing_rules.get(team.id, []), key=lambda rule: rule.order):
                subject = f"{team.name} / {rule.name or ('default' if rule.is_default else rule.id)}"
                target = self._target(rule.notify, teams, schedules)
                matches = _matches(rule.criteria)
                if target is None:
                    self._report.not_mapped("routing rule", subject, "it notifies nobody who is imported")
                elif rule.is_default or matches == [()]:
                    default = default or target
                    text = f"alerts of the team {team.name} need the label team={target}"
                    self._report.approximated("routing rule", subject, text)
                elif matches is None:
                    self._report.not_mapped("routing rule", subject, "a condition that no label test stands for")
                else:
                    if rule.time_restriction:
                        self._report.approximated("routing rule", subject, "at all hours")
                    self._report.approximated("routing rule", subject, "by labels alone, of any team")
                    rules += [TeamRule(match, target) for match in matches]
        return default, rules

    def _target(
        self, notify: Reference | None, teams: dict[str, Team], schedules: Mapping[str, Schedule]
    ) -> str | None:
        """The team of ours that stands for an escalation, or for a schedule that is notified directly."""
        if notify is None or notify.type == "none":
            return None
        key = self._keys.find(notify.type, notify.id) or next(
            (self._keys.find("escalation", e.id) for e in self._records.escalations if e.name == notify.name), None
        )
        if key in schedules and key is not None and key not in teams:
            teams[key] = Team((Row(0, (key,)),))
        return key if key in teams else None

    def _rendered(self, schedules: Mapping[str, Schedule]) -> dict[str, tuple[Rendered, ...]]:
        rendered = {}
        for identity, timeline in self._records.timelines.items():
            key = self._keys.find("schedule", identity)
            if key is None or key not in schedules:
                continue
            spans = list[Rendered]()
            for period in (one for rotation in timeline.final_timeline.rotations for one in rotation.periods):
                for person in self._of_period(period):
                    spans.append(Rendered(period.start_date.astimezone(UTC), period.end_date.astimezone(UTC), person))
            rendered[key] = tuple(spans)
        return rendered

    def _of_period(self, period: Period) -> list[str]:
        recipient = period.recipient
        if recipient is None or recipient.type == "none":
            return []
        people = period.flattened_recipients if recipient.type in {"team", "escalation"} else [recipient]
        if recipient.type == "team" and not people:
            return list(self._members(recipient))
        return [self._shown(one) for one in people]

    def _shown(self, person: Reference) -> str:
        user = self._by_id.get(person.id) or self._by_name.get((person.username or person.name).casefold())
        return self._key(user) if user else f"<{person.username or person.name or person.id}>"


def _repeats(escalation: Escalation) -> int:
    return min(escalation.repeat.count, _MOST_REPEATS) if escalation.repeat else 0


def _windows(restriction: TimeRestriction | None) -> tuple[Window, ...]:
    """Give the hours of a rotation as windows of the week."""
    if restriction is None:
        return ()
    if restriction.type == "weekday-and-time-of-day":
        return tuple(_week_window(one) for one in restriction.restrictions)
    one = restriction.restriction or next(iter(restriction.restrictions), None)
    if restriction.type != "time-of-day" or one is None:
        raise ImportFailedError(f"Opsgenie: a restriction that cannot be read (type {restriction.type!r})")
    start, end = _minutes(one)
    end += 1440 if end <= start else 0
    if end - start >= 1440:  # noqa: PLR2004  # all day
        return ()
    return tuple(Window(week_time(day * 1440 + start), week_time(day * 1440 + end)) for day in range(7))


def _week_window(one: Restriction) -> Window:
    names = one.start_day.lower(), one.end_day.lower()
    if any(name not in _DAYS for name in names):
        raise ImportFailedError(f"Opsgenie: a restriction that cannot be read (days {one_line(' '.join(names))!r})")
    (first, last), (start, end) = map(_DAYS.index, names), _minutes(one)
    return Window(week_time(first * 1440 + start), week_time(last * 1440 + end))


def _minutes(one: Restriction) -> tuple[int, int]:
    """Give the minutes of the day at which it begins and ends."""
    hours, minutes = (one.start_hour, one.end_hour), (one.start_min, one.end_min)
    if any(not 0 <= hour <= 24 for hour in hours) or any(not 0 <= minute < 60 for minute in minutes):  # noqa: PLR2004
        raise ImportFailedError(f"Opsgenie: a restriction that cannot be read (hours {hours}, minutes {minutes})")
    return hours[0] * 60 + minutes[0], hours[1] * 60 + minutes[1]


def _own_names(rotations: Sequence[Rotation]) -> list[str]:
    """Give each rotation a name that no other one of its schedule has: overrides name rotations."""
    names = list[str]()
    for one in rotations:
        name, number = one.name or one.id, 2
        while name in names:
            name, number = f"{one.name or one.id} {number}", number + 1
        names.append(name)
    return names


def _names_of(reference: Reference, rotations: Sequence[Rotation]) -> list[str]:
    """Give our names of the rotation that an override names: by its id, or by its name if it gives no id."""
    pairs = list(zip(rotations, _own_names(rotations), strict=True))
    same = [name for one, name in pairs if reference.id and one.id == reference.id]
    return same or [name for one, name in pairs if reference.name and one.name == reference.name]


def _matches(criteria: Criteria) -> list[tuple[str, ...]] | None:
    """Give label tests, of which any set may hold; [()] matches everything, None cannot be told by labels."""
    if criteria.type == "match-all" or not criteria.conditions:
        return [()]
    tests = [_matcher(condition) for condition in criteria.conditions]
    if not all(tests):
        return None
    return [(test,) for test in tests] if criteria.type == "match-any-condition" else [tuple(tests)]


def _matcher(condition: Condition) -> str:
    label = {"priority": "priority", "extra-properties": condition.key}.get(condition.field, "")
    if not is_label(label) or condition.operation not in {"equals", "matches"}:
        return ""
    operator = {("equals", False): "=", ("equals", True): "!=", ("matches", False): "=~", ("matches", True): "!~"}
    if condition.operation == "matches":
        try:
            compile_re2(condition.expected_value)
        except RE2Error:
            return ""
    return equals(label, condition.expected_value, operator[condition.operation, condition.not_])
