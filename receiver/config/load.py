"""Reads receiver.yml into one frozen tree and checks all of it: a mistake shows at start, not in an alert."""

from pathlib import Path
from typing import Annotated

import msgspec

from process.addresses import is_http
from process.settings import Duration, Findings, Secret, SettingsError, Source, Strict
from receiver.channels.base import Brand
from receiver.config.channels import Channels, check_contacts
from receiver.config.generic import GenericWebhook, WebhookName
from receiver.config.heartbeats import JobHeartbeat, JobName, check_heartbeats
from receiver.config.people import (
    HoursSettings,
    MaintenanceSettings,
    MatrixRow,
    Name,
    PersonSettings,
    Places,
    PriorityRuleSettings,
    RouteSettings,
    ScheduleSettings,
    ServiceSettings,
    TeamRuleSettings,
    TeamSettings,
    cells,
)
from receiver.config.priorities import check_columns, check_mentions, configured
from receiver.config.sources import AlertmanagerSource, check_sources, sources
from receiver.incident.alerts import ALERTS
from receiver.incident.model import Priority

SHORTEST_MEMORY = 31 * 86400.0  # seconds; see receiver.incident.alerts.REMEMBER
LONGEST_GROUPING = 60.0  # seconds that a notification may wait for others


class Token(Strict, frozen=True, kw_only=True):
    """A bearer token, here or in a file."""

    token: Secret | None = None
    token_file: Path | None = None


class Links(Strict, frozen=True, kw_only=True):
    """What signs the links in messages, and for how long they work."""

    secret: Secret | None = None
    secret_file: Path | None = None
    valid_for: Duration = Duration(7 * 86400)


class Watchdog(Strict, frozen=True, kw_only=True):
    """How often the Watchdog alert is expected, and what delays it on its way.

    ``group_interval`` is that of its route in alertmanager.yml, ``resend_interval`` Prometheus' own
    --rules.alert.resend-delay, or its rules' interval if that is longer.
    """

    interval: Duration = Duration(60)
    group_interval: Duration = Duration(60)
    resend_interval: Duration = Duration(60)


class Heartbeat(Strict, frozen=True, kw_only=True):
    """An external monitor to ping every ``interval``; its URL is a secret."""

    url: Secret | None = None
    url_file: Path | None = None
    interval: Duration = Duration(60)
    private_redirects: bool = False  # may the URL redirect to an address that is not public?


class Flapping(Strict, frozen=True, kw_only=True):
    """Within what time an alert reopens its incident, and how long a flapping one must be quiet to be resolved."""

    window: Duration = Duration(600)
    quiet: Duration = Duration(900)


class Retention(Strict, frozen=True, kw_only=True):
    """How long resolved incidents are kept, and the folder they are moved to; without one they are deleted."""

    keep: Duration = Duration(365 * 86400)
    archive: Path | None = None


_PRINTED = r"[^\x00-\x1f\x7f<>]"  # nothing that a header of a mail could not hold


class Site(Strict, frozen=True, kw_only=True):
    """What people see of whose product this is, and where the runbooks of its own alerts are."""

    name: Annotated[str, msgspec.Meta(pattern=f"^{_PRINTED}{{1,60}}$")] = Brand().name
    header_prefix: Annotated[str, msgspec.Meta(pattern="^[A-Za-z][A-Za-z0-9]{0,30}$")] = Brand().header
    runbooks_url: str = "https://github.com/heypeteracademy/monitoring/blob/main/docs/runbooks"

    @property
    def brand(self) -> Brand:
        """What messages carry of it."""
        return Brand(self.name, self.header_prefix)


class Templates(Strict, frozen=True, kw_only=True):
    """A folder of templates that replace the built-in ones."""

    dir: Path


class Retry(Strict, frozen=True, kw_only=True):
    """How long a notification is retried, and when another contact is tried."""

    first_delay: Duration = Duration(5)
    longest_delay: Duration = Duration(120)
    give_up_after: Duration = Duration(1800)
    elsewhere_after: Duration = Duration(60)


class Config(Strict, frozen=True, kw_only=True):
    """The whole file."""

    external_url: str
    database: Path
    webhook: Token
    api: Token
    links: Links
    severities: dict[str, Priority]
    response_times: dict[Priority, Duration]
    escalation_matrix: Annotated[list[MatrixRow], msgspec.Meta(min_length=1)]
    roles: dict[str, list[str]]
    people: dict[Name, PersonSettings]
    teams: dict[str, TeamSettings]
    unknown_severity: Priority = Priority.P2
    catch_up_dwell: Duration = Duration(300)
    response_warning: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.8
    repeat_last_step: dict[Priority, Duration] = {}  # msgspec copies a mutable default
    acknowledge_for: dict[Priority, Duration] = {}
    flapping: Flapping = Flapping()
    grouping_window: Duration = Duration(10)
    priority_rules: list[PriorityRuleSettings] = []
    team_rules: list[TeamRuleSettings] = []
    services: dict[str, ServiceSettings] = {}
    routes: list[RouteSettings] = []
    fallback: Places = Places()
    hours: dict[str, HoursSettings] = {}
    schedules: dict[str, ScheduleSettings] = {}
    maintenance: list[MaintenanceSettings] = []
    listen: str = "127.0.0.1:9095"
    channels: Channels = Channels({})
    retry: Retry = Retry()
    watchdog: Watchdog = Watchdog()
    alertmanager: AlertmanagerSource | None = None
    alertmanagers: Annotated[list[AlertmanagerSource], msgspec.Meta(max_length=50)] = []
    heartbeat: Heartbeat | None = None
    heartbeats: Annotated[dict[JobName, JobHeartbeat], msgspec.Meta(max_length=1000)] = {}
    generic_webhooks: Annotated[dict[WebhookName, GenericWebhook], msgspec.Meta(max_length=50)] = {}
    retention: Retention = Retention()
    templates: Templates | None = None
    site: Site = Site()


def load(path: Path) -> tuple[Config, Source]:
    """Read and check the file; SettingsError names file, line and fix. Secret files are not opened here."""
    config, source, findings = examine(path)
    findings.refuse()
    return config, source


def examine(path: Path) -> tuple[Config, Source, Findings]:
    """Read the file and collect what is wrong in it; SettingsError if it cannot be read as settings at all."""
    source = Source(path)
    config, findings = source.convert(Config), Findings()
    _check_matrices(config, source, findings)
    _check_people(config, source, findings)
    _check_roles(config, source, findings)
    _check_places(config, source, findings)
    _check_limits(config, source, findings)
    return config, source, findings


def _check_matrices(config: Config, source: Source, findings: Findings) -> None:
    _check_matrix(config, source, findings, ".escalation_matrix", config.escalation_matrix)
    known = configured(config.escalation_matrix)
    check_mentions(config, known, source, findings)
    for priority in known:
        if priority not in config.response_times:
            findings.add(source.error(".response_times", f"{priority} is missing; set its response time"))
    for team, settings in config.teams.items():
        if settings.escalation_matrix:
            _check_matrix(config, source, findings, f".teams.{team}.escalation_matrix", settings.escalation_matrix)


def _check_people(config: Config, source: Source, findings: Findings) -> None:
    if ALERTS in config.people:
        text = f"{ALERTS!r} is reserved for incidents that resolved by themselves; choose another key"
        findings.add(source.error(f".people.{ALERTS}", text))


def _check_limits(config: Config, source: Source, findings: Findings) -> None:
    check_sources(config.alertmanager, config.alertmanagers, source, findings)
    check_heartbeats(config.heartbeats, config.teams, source, findings)
    urls = {
        ".external_url": (config.external_url, "https://oncall.example.com"),
        ".site.runbooks_url": (config.site.runbooks_url, "https://wiki.example.com/runbooks"),
    }
    for place, one in sources(config.alertmanager, config.alertmanagers).values():
        if one.url or (config.alertmanager and place == ".alertmanager"):
            urls[f"{place}.url"] = (one.url, "http://localhost:9093")
        if one.prometheus_url:
            urls[f"{place}.prometheus_url"] = (one.prometheus_url, "http://localhost:9090")
    for at, (url, example) in urls.items():
        if not is_http(url):
            findings.add(source.error(at, f"invalid URL (expected e.g. {example})"))
    if config.retention.keep < SHORTEST_MEMORY:
        findings.add(
            source.error(
                ".retention.keep", "too short (at least 31d): what was resolved by hand is remembered that long"
            )
        )
    if config.grouping_window > LONGEST_GROUPING:
        findings.add(source.error(".grouping_window", "too long; set 0s to 1m: it delays notifications"))


def _check_matrix(config: Config, source: Source, findings: Findings, where: str, rows: list[MatrixRow]) -> None:
    last, taken = -1.0, set[str]()
    for number, row in enumerate(rows):
        at = f"{where}[{number}]"
        taken = taken if row.after == last else set()
        if row.after < last or row.only in taken:
            fix = "rows must be in ascending order of `after`; two may share it if their `only` differs"
            findings.add(source.error(f"{at}.after", fix))
        last, taken = row.after, taken | {row.only}
        _check_row(config, source, findings, at, row)
    check_columns(rows, configured(config.escalation_matrix), source, findings, where)


def _check_row(config: Config, source: Source, findings: Findings, at: str, row: MatrixRow) -> None:
    if row.only and row.only not in config.hours:
        findings.add(source.error(f"{at}.only", f"unknown hours {row.only!r}; add them to `hours`"))
    for priority, roles in cells(row).items():
        for role in roles:
            if role not in config.roles:
                known = ", ".join(config.roles)
                findings.add(
                    source.error(f"{at}.{priority}", f"unknown role {role!r}; add it to `roles`, or use {known}")
                )


def _check_roles(config: Config, source: Source, findings: Findings) -> None:
    for name, schedule in config.schedules.items():
        calendar = schedule.calendar
        if calendar and bool(calendar.file) == bool(calendar.url or calendar.url_file):
            findings.add(source.error(f".schedules.{name}.calendar", "set either file or url (url_file)"))
        if name in config.people:
            findings.add(source.error(f".schedules.{name}", "a person has the same key; rename the schedule"))
    for role, names in config.roles.items():
        if not names:
            findings.add(source.error(f".roles.{role}", "no people; name at least one person or schedule"))
        for name in names:
            if name not in config.people and name not in config.schedules:
                findings.add(source.error(f".roles.{role}", f"unknown person or schedule {name!r}; add it to `people`"))
    _check_reachable(config, source, findings)


def _check_reachable(config: Config, source: Source, findings: Findings) -> None:
    tables = [config.escalation_matrix, *(team.escalation_matrix for team in config.teams.values())]
    paged = {role for rows in tables for row in rows for roles in cells(row).values() for role in roles}
    for role in sorted(paged):
        for name in holders(config, role):
            if not (config.channels.without_address() or config.people[name].named()):
                findings.add(source.error(f".people.{name}", f"no contact for {role}; set email, slack or pagerduty"))


def holders(config: Config, role: str) -> list[str]:
    """List everybody who may be on call for a role according to the file; a calendar may name others."""
    people: list[str] = []
    for name in config.roles.get(role, []):
        if name in config.people:
            people.append(name)
        if name not in config.schedules:
            continue
        schedule = config.schedules[name]
        for turn in schedule.layers:
            for person in turn.people:
                people += [person] if isinstance(person, str) else person
        for override in schedule.overrides:
            people += [*override.people, *override.add, *override.replace.values()]
    for name in list(dict.fromkeys(people)):
        people += [v.stand_in for v in config.people[name].vacation] if name in config.people else []
    return [name for name in dict.fromkeys(people) if name in config.people]


def _check_places(config: Config, source: Source, findings: Findings) -> None:
    if "default" not in config.teams:
        findings.add(source.error(".teams", "the team `default` is missing; alerts of unknown teams go there"))
    for number, rule in enumerate(config.team_rules):
        if rule.team not in config.teams:
            text = f"unknown team {rule.team!r}; add it to `teams`"
            findings.add(source.error(f".team_rules[{number}].team", text))
    everywhere: list[tuple[str, Places]] = [(f".people.{name}", person) for name, person in config.people.items()]
    everywhere += [(f".teams.{name}", team) for name, team in config.teams.items()]
    everywhere += [(f".routes[{number}]", route) for number, route in enumerate(config.routes)]
    everywhere.append((".fallback", config.fallback))
    for at, places in everywhere:
        check_contacts(config.channels, at, places, source, findings)


def missing_secret_files(config: Config) -> list[tuple[str, Path]]:
    """List the secret files that are named and cannot be read, with where they are named."""
    return [(at, file) for at, file in secret_files(config) if not file.is_file()]


def secret_files(config: object, at: str = "") -> list[tuple[str, Path]]:
    """List the secret files that are named, with where they are named."""
    named: list[tuple[str, Path]] = []
    if isinstance(config, dict):
        for key, value in config.items():
            named += secret_files(value, f"{at}.{key}")
    elif isinstance(config, Channels):
        named += secret_files(dict(config.settings), at)
    elif isinstance(config, msgspec.Struct):
        for field in msgspec.structs.fields(config):
            value = getattr(config, field.name)
            if field.name.endswith("_file") and isinstance(value, Path):
                named.append((f"{at}.{field.encode_name}", value))
            else:
                named += secret_files(value, f"{at}.{field.encode_name}")
    return named


__all__ = ["Config", "SettingsError", "examine", "holders", "load", "missing_secret_files", "secret_files"]
