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
    """From and to, e.g. "09:00-18:00" or, over midnight, "22:00-07:00"."""
    days: list[str] = []
    """mon to sun; every day, if empty"""
    time_zone: str = "UTC"
    """Zone of these hours"""


class MatrixRow(Strict, frozen=True, kw_only=True):
    """One row of the escalation matrix: the roles of each priority after a time; ``only`` limits it to named hours."""

    after: Duration
    """Time without an acknowledgement"""
    P1: Cell = UNSET
    """Role or roles that are notified of a P1; "-" is nobody"""
    P2: Cell = UNSET
    """Role or roles that are notified of a P2; "-" is nobody"""
    P3: Cell = UNSET
    """Role or roles that are notified of a P3; "-" is nobody"""
    P4: Cell = UNSET
    """Role or roles that are notified of a P4; "-" is nobody"""
    P5: Cell = UNSET
    """Role or roles that are notified of a P5; "-" is nobody"""
    only: str = ""
    """Name of `hours` in which the row applies; always, if empty"""


class Places(Strict, frozen=True, kw_only=True):
    """Addresses by channel; ``contacts`` holds those of channels that have no key of their own."""

    email: str | list[str] = []
    """One address or several"""
    slack: str = ""
    """User id, or channel such as "#alerts"."""
    pagerduty: str = ""
    """Name of a service in `channels.pagerduty.services`"""
    contacts: dict[str, str] = {}  # msgspec copies a mutable default
    """Addresses on other channels, by channel: `{apprise: linh-phone}`"""

    def own(self) -> dict[str, str]:
        """Give the addresses that have keys of their own, by channel; "" for none."""
        email = self.email if isinstance(self.email, str) else ",".join(self.email)
        return {"pagerduty": self.pagerduty, "slack": self.slack, "email": email}

    def named(self) -> tuple[tuple[str, str], ...]:
        """List channel and address of each contact, in the order in which they are notified."""
        return tuple((channel, address) for channel, address in (self.own() | self.contacts).items() if address)


class HandoverSettings(Places, frozen=True, kw_only=True):
    """Who gets the summary of a shift when it changes; the addresses are places that get it as well."""

    channels: list[str] = []
    """Channels by which those who come on call and those who leave get it, e.g. [email]"""


class RuleSettings(Strict, frozen=True, kw_only=True):
    """Which channels a person wants, at which priorities and hours; the first rule that matches decides."""

    channels: Annotated[list[str], msgspec.Meta(min_length=1)]
    """Channels that are used when the rule matches"""
    priorities: list[Priority] = []
    """Priorities that match; all, if empty"""
    hours: str = ""
    """Hours that match, e.g. "09:00-18:00"; all, if empty"""
    days: list[str] = []
    """Days that match, mon to sun; all, if empty"""


class QuietHours(Strict, frozen=True, kw_only=True):
    """Hours in which only a P1 uses channels other than these."""

    hours: str
    """From and to, in the person's time zone, e.g. "22:00-07:00"."""
    days: list[str] = []
    """mon to sun; every day, if empty"""
    channels: tuple[str, ...] = ("email",)
    """Channels that are used in these hours below P1"""


class Between(Strict, frozen=True, kw_only=True):
    """A period; a date without a time is its midnight."""

    from_: LocalDateTime = msgspec.field(name="from")
    """Beginning: a date, or a date and a time"""
    to: LocalDateTime
    """End, which is not part of it"""


class VacationSettings(Between, frozen=True, kw_only=True):
    """A vacation; ``stand_in`` takes the person's place, otherwise the next in turn does."""

    stand_in: str = ""
    """Person who takes over; the next in turn, if empty"""


class PersonSettings(Places, frozen=True, kw_only=True):
    """How one person is reached, and when."""

    name: Name
    """Name that is shown"""
    time_zone: str = "UTC"
    """Zone of the times in messages, of `rules`, `quiet_hours` and `vacation`"""
    language: str = "en"
    """Language of messages: en or de"""
    pagerduty_user: Annotated[str, msgspec.Meta(pattern="^([A-Z0-9]{4,20})?$", examples=["PABC123"])] = ""
    """Id of the person's user at PagerDuty, such as PXPGF42; what that user does there, they have done"""
    push: bool = False
    """Notify the devices that the person adds on the console's page `/me/devices`; needs `channels.push`"""
    rules: list[RuleSettings] = []
    """Which channels are used when; the first match decides, and all are used without one"""
    quiet_hours: QuietHours | None = None
    """Hours in which fewer channels are used"""
    vacation: list[VacationSettings] = []
    """Periods in which somebody else is on call instead"""

    def ways(self, key: str) -> tuple[tuple[str, str], ...]:
        """List channel and address of each contact, as ``named``; a device is found by the person's ``key``."""
        addresses = self.own() | ({"push": key} if self.push else {}) | self.contacts
        return tuple((channel, address) for channel, address in addresses.items() if address)


class TeamSettings(Places, frozen=True, kw_only=True):
    """Where one team follows its incidents, and what overrides the defaults for it."""

    severities: dict[str, Priority] = {}
    """Priorities of the team's severities, where they differ from `severities`"""
    escalation_matrix: list[MatrixRow] = []
    """The team's own matrix, instead of `escalation_matrix`"""
    response_times: dict[Priority, Duration] = {}
    """The team's own response times, by priority"""
    repeat_last_step: dict[Priority, Duration] = {}
    """The team's own intervals, by priority"""
    acknowledge_for: dict[Priority, Duration] = {}
    """The team's own times, by priority"""
    awake: dict[Priority, bool] = {}
    """`P1: true`: P1 page nobody who is awake, either; `P3: false`: P3 do page them ([answers.md](answers.md#awake))"""


class ServiceSettings(Strict, frozen=True, kw_only=True):
    """The priorities of one service's severities (label `service`)."""

    severities: dict[str, Priority] = {}
    """Priority by severity"""


class PriorityRuleSettings(Strict, frozen=True, kw_only=True):
    """The priority of alerts that match and whose severity is in no table."""

    match: list[str]
    """Matchers as in Alertmanager, all of which must match, e.g. 'service=~"pay.*"'"""
    priority: Priority
    """The priority"""


class TeamRuleSettings(Strict, frozen=True, kw_only=True):
    """The team of alerts that match and whose label `team` names none."""

    match: list[str]
    """Matchers as in Alertmanager, all of which must match"""
    team: str
    """A name in `teams`"""


class RouteSettings(Places, frozen=True, kw_only=True):
    """Additional places for alerts that match; with ``only``, instead of their team's."""

    match: list[str]
    """Matchers as in Alertmanager, all of which must match"""
    only: bool = False
    """Instead of the team's places, not in addition to them"""


class MaintenanceSettings(Strict, frozen=True, kw_only=True):
    """A window in which matching alerts are recorded and nobody is notified: once, or in hours of every week."""

    name: Name
    """Name that is shown"""
    match: list[str]
    """Matchers as in Alertmanager, all of which must match"""
    time_zone: str = "UTC"
    """Zone of the times"""
    from_: LocalDateTime | None = msgspec.field(default=None, name="from")
    """Beginning of a single window"""
    to: LocalDateTime | None = None
    """End of a single window"""
    hours: str = ""
    """Hours of a window in every week, e.g. "02:00-03:00"."""
    days: list[str] = []
    """Its days, mon to sun; every day, if empty"""


class WindowSettings(Strict, frozen=True, kw_only=True):
    """From a time of the week to another, shorter than a week."""

    from_: WeekTime = msgspec.field(name="from")
    """Beginning, e.g. "fri 18:00"."""
    to: WeekTime
    """End, less than a week later"""
    time_zone: str = ""
    """Zone of both; the layer's, if empty"""


class LayerSettings(Strict, frozen=True, kw_only=True):
    """One rotation of a schedule."""

    people: Annotated[list[str | list[str]], msgspec.Meta(min_length=1)]
    """Turns: a person, or a list of people on call together; "-" is a turn of nobody"""
    start: LocalDateTime
    """Day on which the first turn begins, at `handover`"""
    rotation: str = "weekly"
    """Length of a turn: daily, weekly, a duration such as 3d or 12h, or such as `2 shifts` or `1 month`"""
    clock: Literal["elapsed", "wall"] = "elapsed"
    """How a rotation in hours is counted when the clocks change"""
    shift: Duration | None = None
    """Only the first part of each turn is served, of this length"""
    time_zone: str = ""
    """Zone of its start, hand-overs and hours; the schedule's, if empty"""
    turns: Literal["all", "served"] = "all"
    """`served`: days on which the layer does not apply are nobody's turn"""
    handover: LocalTime = LocalTime(540)
    """Time of day at which rotations in days hand over"""
    from_: LocalDateTime | None = msgspec.field(default=None, name="from")
    """The layer applies from then on; `start` still decides whose turn it is"""
    end: LocalDateTime | None = None
    """The layer applies until then"""
    hours: str = ""
    """Hours in which the layer applies, e.g. "09:00-18:00"; all, if empty"""
    days: list[str] = []
    """Days on which it applies, mon to sun; all, if empty"""
    windows: Annotated[list[WindowSettings], msgspec.Meta(max_length=100)] = []
    """Times of the week in which it applies, instead of `hours` and `days`"""
    level: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """The highest level that has somebody applies; set it in every layer or in none"""
    name: str = ""
    """Name for `layers` of an override"""


class SwapSettings(Between, frozen=True, kw_only=True):
    """Two who exchange their shifts for a period."""

    people: Annotated[list[str], msgspec.Meta(min_length=1)]
    """The two people"""


class OverrideSettings(Between, frozen=True, kw_only=True):
    """Other people on call for a period ("-" is nobody), or a change of those who are."""

    people: list[str] = []
    """Those on call instead; "-" is nobody"""
    layers: list[str] = []
    """Names of the layers that are replaced; all, if empty"""
    add: list[str] = []
    """People on call in addition"""
    remove: list[str] = []
    """People who are not on call"""
    replace: dict[str, str] = {}  # msgspec copies a mutable default
    """Person to the person who takes over"""


class CalendarSettings(Strict, frozen=True, kw_only=True):
    """An iCalendar file or URL; the URL is a secret."""

    file: Path | None = None
    """An iCalendar file"""
    url: Secret | None = None
    """URL of one; it is a secret"""
    url_file: Path | None = None
    every: Duration = Duration(900)
    """Time between two readings"""
    private_redirects: bool = False
    """Whether the URL may redirect to an address that is not public"""


class ScheduleSettings(Strict, frozen=True, kw_only=True):
    """Who is on call when."""

    time_zone: str
    """Zone of its layers, overrides and swaps"""
    layers: list[LayerSettings] = []
    """Rotations; a later one takes precedence"""
    overrides: list[OverrideSettings] = []
    """Other people on call for a period; they take precedence over layers"""
    swaps: list[SwapSettings] = []
    """Two people who exchange their shifts for a period"""
    calendar: CalendarSettings | None = None
    """Calendar that takes precedence over layers"""


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
