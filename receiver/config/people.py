"""The settings of people, teams and schedules: who they are, when they work, how they are reached."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType

from process.settings import Duration, Secret, Strict
from receiver.incident.model import Priority
from receiver.oncall.localtime import LocalDateTime, LocalTime, WeekTime

NOBODY = "-"
Name = Annotated[str, msgspec.Meta(min_length=1)]
Cell = str | list[str] | UnsetType


class HoursSettings(Strict, frozen=True, kw_only=True):
    """Hours of the week."""

    hours: str
    days: list[str] = []
    time_zone: str = "UTC"


class MatrixRow(Strict, frozen=True, kw_only=True):
    """One row of the escalation matrix: the roles of each priority after a time; ``only`` limits it to named hours."""

    after: Duration
    P1: Cell = UNSET
    P2: Cell = UNSET
    P3: Cell = UNSET
    P4: Cell = UNSET
    P5: Cell = UNSET
    only: str = ""


class Places(Strict, frozen=True, kw_only=True):
    """Addresses by channel; ``contacts`` holds those of channels that have no key of their own."""

    email: str | list[str] = []
    slack: str = ""
    pagerduty: str = ""
    contacts: dict[str, str] = {}  # msgspec copies a mutable default

    def own(self) -> dict[str, str]:
        """Give the addresses that have keys of their own, by channel; "" for none."""
        email = self.email if isinstance(self.email, str) else ",".join(self.email)
        return {"pagerduty": self.pagerduty, "slack": self.slack, "email": email}

    def named(self) -> tuple[tuple[str, str], ...]:
        """List channel and address of each contact, in the order in which they are notified."""
        return tuple((channel, address) for channel, address in (self.own() | self.contacts).items() if address)


class RuleSettings(Strict, frozen=True, kw_only=True):
    """Which channels a person wants, at which priorities and hours; the first rule that matches decides."""

    channels: Annotated[list[str], msgspec.Meta(min_length=1)]
    priorities: list[Priority] = []  # none: all of them
    hours: str = ""
    days: list[str] = []


class QuietHours(Strict, frozen=True, kw_only=True):
    """Hours in which only a P1 uses channels other than these."""

    hours: str
    days: list[str] = []
    channels: tuple[str, ...] = ("email",)


class Between(Strict, frozen=True, kw_only=True):
    """A period; a date without a time is its midnight."""

    from_: LocalDateTime = msgspec.field(name="from")
    to: LocalDateTime


class VacationSettings(Between, frozen=True, kw_only=True):
    """A vacation; ``stand_in`` takes the person's place, otherwise the next in turn does."""

    stand_in: str = ""


class PersonSettings(Places, frozen=True, kw_only=True):
    """How one person is reached, and when."""

    name: Name
    time_zone: str = "UTC"
    language: str = "en"
    rules: list[RuleSettings] = []
    quiet_hours: QuietHours | None = None
    vacation: list[VacationSettings] = []


class TeamSettings(Places, frozen=True, kw_only=True):
    """Where one team follows its incidents, and what overrides the defaults for it."""

    severities: dict[str, Priority] = {}
    escalation_matrix: list[MatrixRow] = []
    response_times: dict[Priority, Duration] = {}
    repeat_last_step: dict[Priority, Duration] = {}
    acknowledge_for: dict[Priority, Duration] = {}


class ServiceSettings(Strict, frozen=True, kw_only=True):
    """The priorities of one service's severities (label `service`)."""

    severities: dict[str, Priority] = {}


class PriorityRuleSettings(Strict, frozen=True, kw_only=True):
    """The priority of alerts that match and whose severity is in no table."""

    match: list[str]
    priority: Priority


class TeamRuleSettings(Strict, frozen=True, kw_only=True):
    """The team of alerts that match and whose label `team` names none."""

    match: list[str]
    team: str


class RouteSettings(Places, frozen=True, kw_only=True):
    """Additional places for alerts that match; with ``only``, instead of their team's."""

    match: list[str]
    only: bool = False


class MaintenanceSettings(Strict, frozen=True, kw_only=True):
    """A window in which matching alerts are recorded and nobody is notified: once, or in hours of every week."""

    name: Name
    match: list[str]
    time_zone: str = "UTC"
    from_: LocalDateTime | None = msgspec.field(default=None, name="from")
    to: LocalDateTime | None = None
    hours: str = ""
    days: list[str] = []


class WindowSettings(Strict, frozen=True, kw_only=True):
    """From a time of the week to another, shorter than a week."""

    from_: WeekTime = msgspec.field(name="from")
    to: WeekTime
    time_zone: str = ""  # the layer's, if empty


class LayerSettings(Strict, frozen=True, kw_only=True):
    """One rotation of a schedule."""

    people: Annotated[list[str | list[str]], msgspec.Meta(min_length=1)]  # "-" is a turn of nobody
    start: LocalDateTime
    rotation: str = "weekly"  # daily, weekly, a duration such as 3d or 12h, or so many shifts or months
    clock: Literal["elapsed", "wall"] = "elapsed"  # how hours are counted
    shift: Duration | None = None  # only so much of each turn
    time_zone: str = ""  # of its start, hand-overs and hours; the schedule's, if empty
    turns: Literal["all", "served"] = "all"  # served: days on which it does not apply are nobody's turn
    handover: LocalTime = LocalTime(540)
    from_: LocalDateTime | None = msgspec.field(default=None, name="from")
    end: LocalDateTime | None = None
    hours: str = ""
    days: list[str] = []
    windows: Annotated[list[WindowSettings], msgspec.Meta(max_length=100)] = []
    level: Annotated[int, msgspec.Meta(ge=0)] | None = None
    name: str = ""


class SwapSettings(Between, frozen=True, kw_only=True):
    """Two who exchange their shifts for a period."""

    people: Annotated[list[str], msgspec.Meta(min_length=1)]


class OverrideSettings(Between, frozen=True, kw_only=True):
    """Other people on call for a period ("-" is nobody), or a change of those who are."""

    people: list[str] = []
    layers: list[str] = []  # the names of the layers that they stand for; none: all of them
    add: list[str] = []
    remove: list[str] = []
    replace: dict[str, str] = {}  # msgspec copies a mutable default


class CalendarSettings(Strict, frozen=True, kw_only=True):
    """An iCalendar file or URL; the URL is a secret."""

    file: Path | None = None
    url: Secret | None = None
    url_file: Path | None = None
    every: Duration = Duration(900)
    private_redirects: bool = False  # may the URL redirect to an address that is not public?


class ScheduleSettings(Strict, frozen=True, kw_only=True):
    """Who is on call when."""

    time_zone: str
    layers: list[LayerSettings] = []
    overrides: list[OverrideSettings] = []
    swaps: list[SwapSettings] = []
    calendar: CalendarSettings | None = None


def roles_of(cell: Cell) -> tuple[str, ...]:
    """Read one cell of the matrix: a role, a list of roles, "-" for nobody, or none at all."""
    if isinstance(cell, UnsetType):
        return ()
    roles = [cell] if isinstance(cell, str) else cell
    return tuple(role for role in roles if role != NOBODY)


def cells(row: MatrixRow) -> dict[Priority, tuple[str, ...]]:
    """Give the row's roles by priority, of those that it names."""
    named = {priority: getattr(row, priority.value) for priority in Priority}
    return {priority: roles_of(cell) for priority, cell in named.items() if not isinstance(cell, UnsetType)}
