"""Reads receiver.yml into one frozen tree and checks all of it: a mistake shows at start, not in an alert."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec

from process.addresses import is_http, is_plain_http, listen_address
from process.settings import Duration, Findings, Secret, SettingsError, Source, Strict
from receiver.channels.base import Brand
from receiver.clients.promql import ExpressionError, compared
from receiver.config.channels import Channels, check_contacts
from receiver.config.console import ConsoleSettings, check_console
from receiver.config.database import PostgresSettings, check_database
from receiver.config.event_webhooks import EventWebhook, check_event_webhooks
from receiver.config.generic import GenericWebhook, WebhookName
from receiver.config.heartbeats import JobHeartbeat, JobName, check_heartbeats
from receiver.config.people import (
    HandoverSettings,
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
_SHORTEST_ENDED = 86400.0  # seconds
SHORTEST_CHART, LONGEST_CHART = 600.0, 7 * 86400.0  # seconds
SHORTEST_LINK = SHORTEST_REPEAT = 60.0  # seconds
LONGEST_GROUPING = 60.0  # seconds that a notification may wait for others


class Token(Strict, frozen=True, kw_only=True):
    """A bearer token, here or in a file."""

    token: Secret | None = None
    """The bearer token"""
    token_file: Path | None = None


class Links(Strict, frozen=True, kw_only=True):
    """What signs the links in messages, and for how long they work."""

    secret: Secret | None = None
    """Signs the links in messages: at least 32 random characters"""
    secret_file: Path | None = None
    valid_for: Duration = Duration(7 * 86400)
    """How long a link works"""


class Watchdog(Strict, frozen=True, kw_only=True):
    """How often the Watchdog alert is expected, and what delays it on its way.

    ``group_interval`` is that of its route in alertmanager.yml, ``resend_interval`` Prometheus' own
    --rules.alert.resend-delay, or its rules' interval if that is longer.
    """

    interval: Duration = Duration(60)
    """How often the Watchdog alert is posted, by its route in alertmanager.yml"""
    group_interval: Duration = Duration(60)
    """`group_interval` of its route in alertmanager.yml"""
    resend_interval: Duration = Duration(60)
    """Prometheus' --rules.alert.resend-delay, or its rules' interval if that is longer"""


class Heartbeat(Strict, frozen=True, kw_only=True):
    """An external monitor to ping every ``interval``; its URL is a secret."""

    url: Secret | None = None
    """URL to call while everything works; it is a secret"""
    url_file: Path | None = None
    interval: Duration = Duration(60)
    """Time between two calls"""
    private_redirects: bool = False
    """Whether the URL may redirect to an address that is not public"""


class Flapping(Strict, frozen=True, kw_only=True):
    """Within what time an alert reopens its incident, and how long a flapping one must be quiet to be resolved."""

    window: Duration = Duration(600)
    """An alert that fires again within this time reopens its incident"""
    quiet: Duration = Duration(900)
    """How long a flapping alert must be quiet to be resolved"""


class Retention(Strict, frozen=True, kw_only=True):
    """How long resolved incidents are kept, and the folder they are moved to; without one they are deleted."""

    keep: Duration = Duration(365 * 86400)
    """How long resolved incidents stay in the database; at least 31d"""
    archive: Path | None = None
    """Folder of monthly JSON lines files to which they are moved then; without it they are deleted"""
    audit: Duration = Duration(730 * 86400)
    """How long lines of the audit log are kept; at least 31d"""
    ended: Duration = Duration(90 * 86400)
    """How long covers, maintenance made here and tokens are kept when they have ended; at least 1d"""


_PRINTED = r"[^\x00-\x1f\x7f<>]"  # nothing that a header of a mail could not hold


class Site(Strict, frozen=True, kw_only=True):
    """What people see of whose product this is, and where the runbooks of its own alerts are."""

    name: Annotated[str, msgspec.Meta(pattern=f"^{_PRINTED}{{1,60}}$")] = Brand().name
    """Name in footers, in the List-Id of mails and in calendars"""
    header_prefix: Annotated[str, msgspec.Meta(pattern="^[A-Za-z][A-Za-z0-9]{0,30}$", examples=["Fjord"])] = (
        Brand().header
    )
    """`HeyPeter` gives X-HeyPeter-Incident and the other headers that mail filters read"""
    series_prefix: Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9]{0,30}$", examples=["fjord"])] = "heypeter"
    """Prefix of the series that rules record: reviews read heypeter:benchmark:value"""
    runbooks_url: str = "https://github.com/heypeteracademy/monitoring/blob/main/docs/runbooks"
    """Address of the folder in which Watchdog.md is"""

    @property
    def brand(self) -> Brand:
        """What messages carry of it."""
        return Brand(self.name, self.header_prefix)


class ChartSettings(Strict, frozen=True, kw_only=True):
    """The picture of an incident's series; it needs the `prometheus_url` of the incident's source."""

    length: Duration = Duration(3 * 3600)
    """How much time it shows; more if the incident has been open for longer, at most 7d"""
    deployments: str = "max by (job) (deployment_last_timestamp_seconds)"
    """PromQL whose values are the Unix times of the last deployments, which the picture marks; none, if empty"""
    public: bool = False
    """Whether Slack can reach `external_url`, to show the picture in its messages"""


class Templates(Strict, frozen=True, kw_only=True):
    """A folder of templates that replace the built-in ones."""

    dir: Path
    """The folder"""


class Retry(Strict, frozen=True, kw_only=True):
    """How long a notification is retried, and when another contact is tried."""

    first_delay: Duration = Duration(5)
    """Wait before the second attempt; it doubles with each further one"""
    longest_delay: Duration = Duration(120)
    """Longest wait between two attempts"""
    give_up_after: Duration = Duration(1800)
    """After this, a notification counts as dead, and the next step is taken if all of its step are"""
    elsewhere_after: Duration = Duration(60)
    """After this, an undelivered page also goes to the person's other channels, then to `fallback`"""


class Config(Strict, frozen=True, kw_only=True):
    """The whole file."""

    external_url: str
    """Public URL of the receiver, used for links in messages"""
    webhook: Token
    """Token that Alertmanager, jobs and other tools send"""
    api: Token
    """Token of the API for scripts"""
    links: Links
    """Signature of the links in messages"""
    severities: dict[str, Priority]
    """Priority of each value of the label `severity`, for alerts without a label `priority`"""
    response_times: dict[Priority, Duration]
    """How soon an incident is to be acknowledged; every priority of the matrix needs one"""
    escalation_matrix: Annotated[list[MatrixRow], msgspec.Meta(min_length=1)]
    """Who is notified when an incident has been unacknowledged for how long ([receiver.md](receiver.md))"""
    roles: dict[str, list[str]]
    """People or schedules that hold each role of the matrix"""
    people: dict[Name, PersonSettings]
    """How each person is reached; the key names the person everywhere else"""
    teams: dict[str, TeamSettings]
    """Where each team follows its incidents; `default` is for alerts without a known team"""
    database: Path | None = None
    """SQLite file; backups before an upgrade are written beside it. Set this or `postgres`"""
    postgres: PostgresSettings | None = None
    """A PostgreSQL database that several receivers may share ([scaling.md](scaling.md))"""
    state_dir: Path | None = None
    """Folder for copies of calendars and the key of pushes; beside `database`, or the working directory, if unset"""
    unknown_severity: Priority = Priority.P2
    """Priority of an alert that neither labels nor rules give one"""
    catch_up_dwell: Duration = Duration(300)
    """Shortest time between missed steps that are taken after an outage of the receiver"""
    response_warning: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.8
    """Share of the response time after which a reminder is sent; 0: no such reminder"""
    repeat_last_step: dict[Priority, Duration] = {}  # msgspec copies a mutable default
    """The last step repeats at this interval until somebody acknowledges; once, if unset"""
    acknowledge_for: dict[Priority, Duration] = {}
    """An acknowledgement expires after this, and the incident is triggered again; never, if unset"""
    flapping: Flapping = Flapping()
    """When an alert reopens its incident"""
    grouping_window: Duration = Duration(10)
    """How long notifications below P1 wait for others to become one message; at most 1m"""
    priority_rules: list[PriorityRuleSettings] = []
    """Priority by labels, for alerts without a known severity; the first match applies"""
    team_rules: list[TeamRuleSettings] = []
    """Team by labels, for alerts whose label `team` names none; the first match applies"""
    services: dict[str, ServiceSettings] = {}
    """Other severities for the services that the label `service` names"""
    routes: list[RouteSettings] = []
    """Additional places for alerts that match"""
    fallback: Places = Places()
    """Where a page goes if no channel of a person works"""
    hours: dict[str, HoursSettings] = {}
    """Hours of the week that `only` of a matrix row names"""
    schedules: dict[str, ScheduleSettings] = {}
    """Who is on call when ([oncall.md](oncall.md))"""
    handovers: dict[str, HandoverSettings] = {}
    """Roles whose shifts are summed up when they change, and who is told ([evidence.md](evidence.md#hand-over))"""
    maintenance: list[MaintenanceSettings] = []
    """Windows in which matching alerts are recorded and nobody is notified"""
    listen: str = "127.0.0.1:9095"
    """HOST:PORT of the receiver"""
    channels: Channels = Channels({})
    """How notifications are sent; without any they are printed ([channels.md](channels.md))"""
    retry: Retry = Retry()
    """How long a notification is retried"""
    watchdog: Watchdog = Watchdog()
    """How often the Watchdog alert is expected"""
    alertmanager: AlertmanagerSource | None = None
    """The Alertmanager that posts to /webhook/alertmanager, and its API"""
    alertmanagers: Annotated[list[AlertmanagerSource], msgspec.Meta(max_length=50)] = []
    """Further ones, which post to /webhook/alertmanager/NAME"""
    heartbeat: Heartbeat | None = None
    """An external monitor that the receiver calls while everything works"""
    heartbeats: Annotated[dict[JobName, JobHeartbeat], msgspec.Meta(max_length=1000)] = {}
    """Jobs that report to /heartbeat/NAME ([senders.md](senders.md))"""
    generic_webhooks: Annotated[dict[WebhookName, GenericWebhook], msgspec.Meta(max_length=50)] = {}
    """JSON of other tools, posted to /webhook/generic/NAME ([senders.md](senders.md))"""
    event_webhooks: Annotated[dict[WebhookName, EventWebhook], msgspec.Meta(max_length=20)] = {}
    """Your programs that are told of every change of an incident ([event-webhooks.md](event-webhooks.md))"""
    retention: Retention = Retention()
    """How long resolved incidents are kept"""
    charts: ChartSettings = ChartSettings()
    """Pictures of the series behind an alert ([evidence.md](evidence.md))"""
    templates: Templates | None = None
    """Your own templates of messages ([templates.md](templates.md))"""
    site: Site = Site()
    """The names that people see"""
    console: ConsoleSettings = ConsoleSettings()
    """The pages of the console, and who may do what ([access.md](access.md))"""

    @property
    def folder(self) -> Path:
        """Where files are kept that are not in the database."""
        return self.state_dir or (self.database.parent if self.database else Path())


def load(path: Path, text: str | None = None) -> tuple[Config, Source]:
    """Read and check the file; SettingsError names file, line and fix. Secret files are not opened here.

    With ``text`` it is that, and ``path`` is only its name.
    """
    config, source, findings = examine(path, text)
    findings.refuse()
    return config, source


def examine(path: Path, text: str | None = None) -> tuple[Config, Source, Findings]:
    """Read the file and collect what is wrong in it; SettingsError if it cannot be read as settings at all."""
    source = Source(path, text=text)
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
    check_console(config.console, source, findings)
    check_event_webhooks(config.event_webhooks, source, findings)
    check_database(config.database, config.postgres, source, findings)
    own = {
        ".external_url": (config.external_url, "https://oncall.example.com"),
        ".site.runbooks_url": (config.site.runbooks_url, "https://wiki.example.com/runbooks"),
    }
    for at, (url, example) in own.items():  # the beginning of links in messages
        if not is_plain_http(url):
            text = f"invalid URL (expected e.g. {example}, without user, password, query and fragment)"
            findings.add(source.error(at, text))
    urls = dict[str, tuple[str, str]]()
    for place, one in sources(config.alertmanager, config.alertmanagers).values():
        if one.url or (config.alertmanager and place == ".alertmanager"):
            urls[f"{place}.url"] = (one.url, "http://localhost:9093")
        if one.prometheus_url:
            urls[f"{place}.prometheus_url"] = (one.prometheus_url, "http://localhost:9090")
    for at, (url, example) in urls.items():
        if not is_http(url):
            findings.add(source.error(at, f"invalid URL (expected e.g. {example})"))
    _check_listen(config.listen, source, findings)
    _check_retention(config.retention, source, findings)
    _check_charts(config.charts, source, findings)
    _check_delays(config, source, findings)


def _check_delays(config: Config, source: Source, findings: Findings) -> None:
    if config.grouping_window > LONGEST_GROUPING:
        findings.add(source.error(".grouping_window", "too long; set 0s to 1m: it delays notifications"))
    if config.links.valid_for < SHORTEST_LINK:
        findings.add(source.error(".links.valid_for", "too short (at least 1m)"))
    repeats = {".repeat_last_step": config.repeat_last_step}
    repeats |= {f".teams.{name}.repeat_last_step": team.repeat_last_step for name, team in config.teams.items()}
    for at, times in repeats.items():
        for priority, seconds in times.items():
            if 0 < seconds < SHORTEST_REPEAT:
                findings.add(source.error(f"{at}.{priority}", "too short (at least 1m): each repeat is a page"))


def _check_listen(listen: str, source: Source, findings: Findings) -> None:
    try:
        listen_address(listen)
    except ValueError as error:
        findings.add(source.error(".listen", str(error)))


def _check_retention(retention: Retention, source: Source, findings: Findings) -> None:
    if retention.keep < SHORTEST_MEMORY:
        text = "too short (at least 31d): what was resolved by hand is remembered that long"
        findings.add(source.error(".retention.keep", text))
    if retention.audit < SHORTEST_MEMORY:
        findings.add(source.error(".retention.audit", "too short (at least 31d)"))
    if retention.ended < _SHORTEST_ENDED:
        findings.add(source.error(".retention.ended", "too short (at least 1d)"))


def _check_charts(charts: ChartSettings, source: Source, findings: Findings) -> None:
    if not SHORTEST_CHART <= charts.length <= LONGEST_CHART:
        findings.add(source.error(".charts.length", "must be from 10m to 7d"))
    try:
        compared(charts.deployments or "0")
    except ExpressionError as error:
        findings.add(source.error(".charts.deployments", f"invalid PromQL: {error}"))


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
            if not (config.channels.without_address() or config.people[name].ways(name)):
                findings.add(source.error(f".people.{name}", f"no contact for {role}; set email, slack or pagerduty"))
    _check_push(config, source, findings)


def _check_push(config: Config, source: Source, findings: Findings) -> None:
    """Refuse push that nobody could switch on."""
    if "push" in config.channels.settings and not config.console.enabled:
        findings.add(source.error(".channels.push", "needs the console, where people add their devices; enable it"))
    for name, person in config.people.items():
        if person.push and "push" not in config.channels.settings:
            findings.add(source.error(f".people.{name}.push", "channels.push is not set up; add it, or remove this"))


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
    everywhere += [(f".handovers.{role}", places) for role, places in config.handovers.items()]
    _check_handovers(config, source, findings)
    for at, places in everywhere:
        check_contacts(config.channels, at, places, source, findings)


def _check_handovers(config: Config, source: Source, findings: Findings) -> None:
    read = config.channels.read_by_people()
    for role, settings in config.handovers.items():
        at = f".handovers.{role}"
        if not (settings.channels or settings.named()):
            findings.add(source.error(at, "nobody gets it; set channels, or an address"))
        if role not in config.roles:
            findings.add(source.error(at, f"unknown role {role!r}; use {', '.join(config.roles)}"))
        for channel in (*settings.channels, *(name for name, _ in settings.named())):
            if channel not in read:
                known = ", ".join(sorted(read)) or "none is set up"
                findings.add(source.error(at, f"channel {channel!r} cannot carry a summary (expected {known})"))


def missing_secret_files(config: Config) -> list[tuple[str, Path]]:
    """List the secret files that are named and cannot be read, with where they are named."""
    return [(at, file) for at, file in secret_files(config) if not file.is_file()]


def secret_files(config: object, at: str = "") -> list[tuple[str, Path]]:
    """List the secret files that are named, with where they are named."""
    named: list[tuple[str, Path]] = []
    for key, value in _parts(config):
        where = f"{at}[{key}]" if isinstance(key, int) else f"{at}.{key}"
        if isinstance(value, Path):
            named += [(where, value)] if where.endswith("_file") and isinstance(config, msgspec.Struct) else []
        else:
            named += secret_files(value, where)
    return named


def secrets_inside(config: object, at: str = "") -> Iterator[str]:
    """Name the places of the secrets that are given without a file."""
    for key, value in _parts(config):
        where = f"{at}[{key}]" if isinstance(key, int) else f"{at}.{key}"
        if isinstance(value, Secret):
            yield where
        else:
            yield from secrets_inside(value, where)


def _parts(config: object) -> Iterator[tuple[str | int, object]]:
    if isinstance(config, Channels):
        yield from config.settings.items()
    elif isinstance(config, dict):
        yield from config.items()
    elif isinstance(config, list):
        yield from enumerate(config)
    elif isinstance(config, msgspec.Struct):
        for field in msgspec.structs.fields(config):
            yield field.encode_name, getattr(config, field.name)


__all__ = [
    "Config",
    "SettingsError",
    "examine",
    "holders",
    "load",
    "missing_secret_files",
    "secret_files",
    "secrets_inside",
]
