"""What an import is about to write: people, schedules, teams and rules as receiver.yml has them, and its report. Pure.

Every source is mapped to this one model, so that the file, the report and the proof are made once. The structs of
sections have the keys of receiver.yml; what has its default value is not written.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Protocol, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from process.addresses import is_mail

NOBODY = "-"
MOST_ROWS = 40  # of one matrix: loops are unrolled that far
_LONGEST_KEY = 60
_LONGEST_NAME = 200
_RESERVED = ("default", "alerts")  # a team, and who resolves an incident by itself
_SLACK_ID = re.compile(r"[A-Z][A-Z0-9]{2,20}")  # of a channel or a member
PHONES = ("sms", "call")
_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")  # E.164
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_LAST = datetime(9000, 1, 1, tzinfo=UTC)  # for ever; a later instant cannot be told in every time zone

Instant = Annotated[datetime, msgspec.Meta(tz=True)]
Local = Annotated[datetime, msgspec.Meta(tz=False)]


class ImportFailedError(Exception):
    """The import cannot go on; the text is one clear line without a credential."""


class Grade(StrEnum):
    """How well something of the source is mapped."""

    EXACT = "exact"
    APPROXIMATED = "approximated"
    NOT_MAPPED = "not mapped"


class Line(msgspec.Struct, frozen=True):
    """The report's line on one object of the source."""

    kind: str
    name: str
    grade: Grade
    why: str = ""

    @property
    def subject(self) -> str:
        """Give what --accept names."""
        return f"{self.kind} {self.name}"


class Window(msgspec.Struct, frozen=True, omit_defaults=True, rename={"start": "from", "end": "to"}):
    """From a time of the week to another."""

    start: str
    end: str
    time_zone: str = ""


class Layer(msgspec.Struct, frozen=True, omit_defaults=True, rename={"begin": "from"}):
    """One rotation."""

    people: tuple[str | tuple[str, ...], ...]
    start: str
    handover: str
    rotation: str = "weekly"
    name: str = ""
    level: int | None = None
    time_zone: str = ""
    clock: str = ""
    shift: str = ""
    begin: str = ""
    end: str = ""
    windows: tuple[Window, ...] = ()


class Override(msgspec.Struct, frozen=True, omit_defaults=True, rename={"start": "from", "end": "to"}):
    """Other people for a time, or a change of those who are there."""

    start: str
    end: str
    people: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    replace: dict[str, str] = {}  # msgspec copies a mutable default


class Schedule(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who is on call when. ``calendar`` names the secret file that is to hold the URL of a calendar."""

    time_zone: str
    layers: tuple[Layer, ...]
    overrides: tuple[Override, ...] = ()
    calendar: str = ""


class Rule(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which channels somebody wants."""

    channels: tuple[str, ...]
    priorities: tuple[str, ...] = ()
    hours: str = ""
    days: tuple[str, ...] = ()


class Vacation(msgspec.Struct, frozen=True, omit_defaults=True, rename={"start": "from", "end": "to"}):
    """When somebody is away, and who takes their place."""

    start: str
    end: str
    stand_in: str = ""


class Person(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one person is reached."""

    name: str
    email: str = ""
    slack: str = ""
    time_zone: str = ""
    contacts: dict[str, str] = {}
    rules: tuple[Rule, ...] = ()
    vacation: tuple[Vacation, ...] = ()


class Row(msgspec.Struct, frozen=True):
    """One row of a team's matrix, the same for every priority but for those in ``without``."""

    after: int  # seconds
    roles: tuple[str, ...]
    only: str = ""  # the name of hours
    without: tuple[str, ...] = ()


class Team(msgspec.Struct, frozen=True):
    """One escalation of the source."""

    rows: tuple[Row, ...] = ()
    slack: str = ""
    acknowledge_for: int = 0  # seconds


class Hours(msgspec.Struct, frozen=True, omit_defaults=True):
    """Hours that rows name."""

    hours: str
    time_zone: str
    days: tuple[str, ...] = ()


class TeamRule(msgspec.Struct, frozen=True):
    """The team of alerts that match."""

    match: tuple[str, ...]
    team: str


class Maintenance(msgspec.Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """When matching alerts notify nobody."""

    name: str
    match: tuple[str, ...]
    start: str
    end: str
    time_zone: str = "UTC"


class Told(msgspec.Struct, frozen=True):
    """Whom the source tells so many seconds after an alert: keys of people and of schedules."""

    after: int
    whom: frozenset[str]


class Rendered(msgspec.Struct, frozen=True):
    """A shift as the source itself renders it; somebody who is not imported has the source's name, in `<>`."""

    start: datetime
    end: datetime
    person: str


class Draft(msgspec.Struct, frozen=True):
    """Everything that is imported."""

    source: str
    taken_at: datetime
    people: Mapping[str, Person]
    schedules: Mapping[str, Schedule]
    teams: Mapping[str, Team]
    default_team: str  # whose rows are everybody's; "" if there are none
    report: tuple[Line, ...]
    team_rules: tuple[TeamRule, ...] = ()
    maintenance: tuple[Maintenance, ...] = ()
    hours: Mapping[str, Hours] = {}
    priorities: tuple[str, ...] = ("P1", "P2", "P3", "P4")
    rendered: Mapping[str, tuple[Rendered, ...]] = {}  # by schedule
    unrendered: frozenset[str] = frozenset()  # schedules that are none in the source
    renderer: str = ""  # who rendered, for the report
    told: Mapping[str, tuple[Told, ...]] = {}  # by team, from a second model of the source


class Report:
    """Collects one line for each object of the source."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str], Line] = {}

    def exact(self, kind: str, name: str, why: str = "") -> None:
        """Say that it means the same."""
        self._add(Line(kind, one_line(name), Grade.EXACT, why))

    def approximated(self, kind: str, name: str, how: str) -> None:
        """Say how it differs."""
        self._add(Line(kind, one_line(name), Grade.APPROXIMATED, how))

    def not_mapped(self, kind: str, name: str, why: str) -> None:
        """Say why it is left out."""
        self._add(Line(kind, one_line(name), Grade.NOT_MAPPED, why))

    def lines(self) -> tuple[Line, ...]:
        """Give the lines in the order in which they came."""
        return tuple(self._lines.values())

    def _add(self, line: Line) -> None:
        """An object that is mentioned again keeps its worst grade and all reasons."""
        line = msgspec.structs.replace(line, why=_printable(line.why))
        before = self._lines.get((line.kind, line.name))
        if before is not None:
            grade = max(before.grade, line.grade, key=list(Grade).index)
            reasons = dict.fromkeys(why for why in (*before.why.split("; "), line.why) if why)
            line = Line(line.kind, line.name, grade, "; ".join(reasons))
        self._lines[(line.kind, line.name)] = line


class Keys:
    """Gives each object of the source a key of its own, made of its name."""

    def __init__(self) -> None:
        self._taken, self._given = set(_RESERVED), dict[tuple[str, str], str]()
        self._last: dict[str, int] = {}  # number that was given to a name

    def give(self, kind: str, identity: str, name: str) -> str:
        """Give the key of an object; always the same one."""
        if (kind, identity) not in self._given:
            base = slug(name) or slug(identity) or kind
            key = base
            while key in self._taken:
                self._last[base] = self._last.get(base, 1) + 1
                key = f"{base}-{self._last[base]}"
            self._taken.add(key)
            self._given[(kind, identity)] = key
        return self._given[(kind, identity)]

    def find(self, kind: str, identity: str) -> str | None:
        """Give the key that an object has, if it has one."""
        return self._given.get((kind, identity))


class _Named(Protocol):
    @property
    def id(self) -> str: ...

    @property
    def name(self) -> str: ...


_S = TypeVar("_S", bound=_Named)


def mapped_schedules(
    schedules: Iterable[_S], mapped: Callable[[_S], Schedule | None], keys: Keys
) -> dict[str, Schedule]:
    """Give the schedules that can be mapped, by their keys."""
    made = {}
    for one in schedules:
        schedule = mapped(one)
        if schedule is not None:
            made[keys.give("schedule", one.id, one.name)] = schedule
    return made


def only_team(schedules: Iterable[str], people: Iterable[str]) -> Team:
    """Give a team for a source without escalations: all schedules at once, else the first person."""
    return Team((Row(0, tuple(schedules) or tuple(people)[:1]),))


def slug(text: str) -> str:
    """Give lower-case ASCII words, joined by `-`."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii").lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_LONGEST_KEY].strip("-")


def is_zone(name: str) -> bool:
    """Say whether a time zone is known."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def known_zone(report: Report, name: str, zone: str) -> str:
    """Give somebody's time zone, "" for UTC; one that is not known is reported, and is UTC."""
    if zone and not is_zone(zone):
        report.approximated("user", name, f"unknown time zone {zone!r}: UTC")
        return ""
    return "" if zone == "UTC" else zone


def duration(seconds: float) -> str:
    """Write seconds as receiver.yml has them: `1h30m`."""
    parts, left = "", int(seconds)
    for unit, size in (("w", 604800), ("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if left >= size:
            parts, left = f"{parts}{left // size}{unit}", left % size
    return parts or "0m"


def week_time(minute: int) -> str:
    """Write a minute of the week: `fri 18:00`."""
    minute %= 7 * 1440
    day = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[minute // 1440]
    return f"{day} {minute % 1440 // 60:02}:{minute % 60:02}"


def written(at: datetime, zone: str) -> str:
    """Write an instant as the local time of a zone: `2026-12-24T09:00`; of two equal ones, the second has an offset."""
    local = min(at, _LAST).astimezone(ZoneInfo(zone))
    if not local.fold:
        return naive(local.replace(tzinfo=None))
    return local.isoformat(timespec="minutes" if not local.second else "seconds")


def is_span(report: Report, kind: str, name: str, start: datetime, end: datetime) -> bool:
    """Say whether a time has any length; one that has none is reported, and means nothing."""
    if start.replace(microsecond=0) < end.replace(microsecond=0):
        return True
    report.exact(kind, name, "it ends before it begins")
    return False


def equals(label: str, value: str, operator: str = "=") -> str:
    """Write the matcher of a label's value."""
    return f'{label}{operator}"{_escaped(value)}"'


def one_of(label: str, values: Iterable[str]) -> str:
    """Write the matcher of any of several values."""
    # As RE2's QuoteMeta does, but for letters that are none of ASCII: it refuses a backslash before these.
    quoted = "|".join(re.sub(r"([!-/:-@\[-^`{-~])", r"\\\1", value) for value in values)
    return f'{label}=~"{_escaped(quoted)}"'


def is_label(text: str) -> bool:
    """Say whether this can be the name of a label in Prometheus."""
    return bool(_LABEL.fullmatch(text))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def slack_id(report: Report, kind: str, name: str, identity: str) -> str:
    """Give a Slack id, "" for one that is none, which is reported."""
    if not identity or _SLACK_ID.fullmatch(identity):
        return identity
    report.approximated(kind, name, f"{one_line(identity)!r} is not an address of Slack: left out")
    return ""


def naive(local: datetime) -> str:
    """Write a local time: `2026-12-24T09:00`."""
    return local.isoformat(timespec="minutes" if not local.second else "seconds")


def phone_number(text: str) -> str:
    """Give a number with its country code as the channels `sms` and `call` take it; "" for anything else."""
    number = re.sub(r"[\s().-]", "", text)
    return number if _NUMBER.fullmatch(number) else ""


def phone_contacts(report: Report, name: str, key: str, ways: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Give somebody's contacts by channel, of each the first; a phone without a number needs a service of its own.

    ``ways`` are channels with the numbers as the source has them.
    """
    made = dict[str, str]()
    for channel, text in ways:
        number = phone_number(text) if channel in PHONES else ""
        if number:
            if made.setdefault(channel, number) != number:
                report.approximated("user", name, f"only the first of several numbers for {channel}")
        elif channel in {*PHONES, "apprise"}:
            made.setdefault("apprise", f"{key}-phone")
    return made


def known_way(channel: str, contacts: Mapping[str, str]) -> str:
    """Give the channel of a rule: a phone whose number is not known is a service of its own."""
    return "apprise" if channel in PHONES and channel not in contacts else channel


def reachable(people: Mapping[str, Person], report: Report) -> dict[str, Person]:
    """Give everybody a contact, if need be one to fill in: nobody may be on call without."""
    made = {}
    for key, given in people.items():
        person = _with_addresses(given, report)
        made[key] = person
        if not (person.email or person.slack or person.contacts):
            report.approximated("user", person.name, "no address is known: a service of their own (to fill)")
            made[key] = msgspec.structs.replace(person, contacts={"apprise": f"{key}-phone"})
    return made


def _with_addresses(person: Person, report: Report) -> Person:
    """Leave out addresses that are none, and rules that need them: one of them would spoil the whole file."""
    name = one_line(person.name)[:_LONGEST_NAME] or "-"
    slack, email = slack_id(report, "user", person.name, person.slack), person.email
    if email and not is_mail(email):
        report.approximated("user", person.name, f"{one_line(email)!r} is not an address of mail: left out")
        email = ""
    known = {"email": bool(email), "slack": bool(slack), **dict.fromkeys(person.contacts, True)}
    rules = []
    for rule in person.rules:
        channels = tuple(channel for channel in rule.channels if known.get(channel))
        if channels:
            rules.append(msgspec.structs.replace(rule, channels=channels))
        if channels != rule.channels:
            report.approximated("user", person.name, "a rule names a channel without an address: left out")
    return msgspec.structs.replace(person, name=name, email=email, slack=slack, rules=tuple(rules))


def personal_rule(
    report: Report, kind: str, name: str, channel: str, after: float, priorities: tuple[str, ...] = ()
) -> Rule:
    """Map and report one of somebody's own steps, ``after`` seconds behind the page; here all go out at once."""
    if channel == "apprise":
        report.approximated(kind, name, "by a service of your own (to fill)")
    if channel in PHONES:
        report.approximated(kind, name, "by your own account of Twilio (to fill)")
    if after:
        report.approximated(kind, name, f"at once, not after {duration(after)}")
    report.exact(kind, name)
    return Rule((channel,), priorities)


def joined_rules(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """Join rules of the same priorities and hours into one: the first that matches decides."""
    joined: dict[tuple[object, ...], Rule] = {}
    for rule in rules:
        same = (rule.priorities, rule.hours, rule.days)
        channels = (*joined[same].channels, *rule.channels) if same in joined else rule.channels
        joined[same] = msgspec.structs.replace(rule, channels=tuple(dict.fromkeys(channels)))
    return tuple(joined.values())


def merged_rows(rows: Iterable[Row], kind: str, name: str, report: Report) -> tuple[Row, ...]:
    """Join rows of one time into one; more than `MOST_ROWS` are cut and reported."""
    joined: dict[tuple[int, str], Row] = {}
    for row in sorted(rows, key=lambda row: row.after):
        after = max(row.after, 0)
        if not row.roles:
            continue
        before = joined.get((after, row.only), Row(after, (), row.only, row.without))
        roles = tuple(dict.fromkeys((*before.roles, *row.roles)))
        without = tuple(priority for priority in before.without if priority in row.without)
        joined[after, row.only] = Row(after, roles, row.only, without)
    if len(joined) > MOST_ROWS:
        report.approximated(kind, name, f"its loop is unrolled to {MOST_ROWS} of {len(joined)} rows")
    return tuple(joined.values())[:MOST_ROWS]


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def one_line(text: str) -> str:
    """Give somebody else's text as one short line that drives no terminal."""
    return " ".join(_printable(text).split())[:_LONGEST_NAME]
