"""Builds the routing, which the state machine asks, from the settings of receiver.yml."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from process.settings import Findings, Source
from receiver.config.load import Config
from receiver.config.people import (
    MaintenanceSettings,
    PersonSettings,
    PriorityRuleSettings,
    RouteSettings,
    TeamRuleSettings,
    TeamSettings,
    cells,
)
from receiver.config.priorities import configured
from receiver.config.schedules import Reader
from receiver.incident.model import Plan, Priority, Step
from receiver.messages.i18n import languages
from receiver.oncall.contact_rules import Contact, Person, Rule
from receiver.oncall.directory import Directory
from receiver.policy.maintenance import Window
from receiver.policy.matcher import MatcherError, Matchers
from receiver.policy.matcher import parse as parse_matcher
from receiver.policy.routing import PriorityRule, Route, Routing, TeamRule

K = TypeVar("K")
V = TypeVar("V")


def build_routing(config: Config, source: Source) -> Routing:
    """Build it; SettingsError names the setting that is invalid."""
    read, findings = _Read(config, source), Findings()
    schedules = Reader(source, config.people)
    people = _made(findings, {key: partial(read.person, key, person) for key, person in config.people.items()})
    windows = _made(
        findings, {n: partial(read.window, f".maintenance[{n}]", w) for n, w in enumerate(config.maintenance)}
    )
    rules = _made(findings, {n: partial(read.rule, n, rule) for n, rule in enumerate(config.priority_rules)})
    owners = _made(findings, {n: partial(read.owner, n, rule) for n, rule in enumerate(config.team_rules)})
    routes = _made(findings, {n: partial(read.route, n, route) for n, route in enumerate(config.routes)})
    hours = _made(findings, {name: partial(schedules.named_hours, name, h) for name, h in config.hours.items()})
    made = _made(findings, {"": partial(schedules.schedules, config.schedules)})
    findings.refuse()
    return Routing(
        severities=config.severities,
        unknown_severity=config.unknown_severity,
        plans=read.plans(None),
        dwell=float(config.catch_up_dwell),
        roles={role: tuple(names) for role, names in config.roles.items()},
        people=people,
        teams={name: contacts(team.named()) for name, team in config.teams.items()},
        schedules=made[""],
        team_plans={name: read.plans(team) for name, team in config.teams.items() if _has_own_plans(team)},
        team_severities={name: team.severities for name, team in config.teams.items() if team.severities},
        service_severities={name: service.severities for name, service in config.services.items()},
        priority_rules=tuple(rules.values()),
        team_rules=tuple(owners.values()),
        routes=tuple(routes.values()),
        fallbacks=contacts(config.fallback.named()),
        hours=hours,
        windows=tuple(windows.values()),
        quiet={name: team.awake for name, team in config.teams.items() if team.awake},
        flap_window=float(config.flapping.window),
        flap_quiet=float(config.flapping.quiet),
    )


def _has_own_plans(team: TeamSettings) -> bool:
    return bool(team.escalation_matrix or team.response_times or team.repeat_last_step or team.acknowledge_for)


def _made(findings: Findings, makers: Mapping[K, Callable[[], V]]) -> dict[K, V]:
    """Make everything that can be made, and collect what is wrong with the rest."""
    made: dict[K, V] = {}
    for key, make in makers.items():
        with findings.collecting():
            made[key] = make()
    return made


def contacts(named: tuple[tuple[str, str], ...]) -> tuple[Contact, ...]:
    """Give the contacts in the order of the file."""
    return tuple(Contact(channel, address) for channel, address in named)


class _Read:
    def __init__(self, config: Config, source: Source) -> None:
        self._config, self._source = config, source
        self._times = Reader(source, config.people)
        self._shown = Directory({key: Person(person.name, ()) for key, person in config.people.items()})

    def plans(self, team: TeamSettings | None) -> dict[Priority, Plan]:
        """Build a team's plans, or everybody's: what a team does not say is as for everybody."""
        config, plans = self._config, dict[Priority, Plan]()
        own = team or TeamSettings()
        rows = own.escalation_matrix or config.escalation_matrix
        times = {**config.response_times, **own.response_times}
        repeats = {**config.repeat_last_step, **own.repeat_last_step}
        owned = {**config.acknowledge_for, **own.acknowledge_for}
        for priority in configured(config.escalation_matrix):
            column = ((float(row.after), cells(row).get(priority, ()), row.only) for row in rows)
            plans[priority] = Plan(
                steps=tuple(Step(after, roles, only) for after, roles, only in column if roles),
                response_time=float(times.get(priority, 0.0)),
                warn_after=float(times.get(priority, 0.0)) * config.response_warning,
                repeat_every=float(repeats.get(priority, 0.0)),
                acknowledge_for=float(owned.get(priority, 0.0)),
            )
        return plans

    def person(self, key: str, settings: PersonSettings) -> Person:
        at = f".people.{key}"
        # Where there are no addresses the name stands for one, so two people of the same name need two of them.
        shown = self._shown.name(key)
        terminal = tuple(Contact(channel, shown) for channel in self._config.channels.without_address())
        if settings.language not in languages():
            text = f"unknown language {settings.language!r} (expected {' or '.join(languages())})"
            raise self._source.error(f"{at}.language", text)
        quiet = settings.quiet_hours
        return Person(
            name=settings.name,
            contacts=(*contacts(settings.ways(key)), *terminal),
            rules=tuple(
                Rule(
                    channels=frozenset(rule.channels),
                    priorities=frozenset(rule.priorities or Priority),
                    hours=self._times.hours(f"{at}.rules[{n}].hours", rule.hours, rule.days, settings.time_zone)
                    if rule.hours or rule.days
                    else None,
                )
                for n, rule in enumerate(settings.rules)
            ),
            quiet_hours=self._times.hours(f"{at}.quiet_hours", quiet.hours, quiet.days, settings.time_zone)
            if quiet
            else None,
            quiet_channels=frozenset(quiet.channels) if quiet else frozenset(),
            vacation=self._times.away.get(key, ()),
            stand_ins=self._times.stand_ins(key),
            language=settings.language,
            zone=settings.time_zone,
            pagerduty_user=settings.pagerduty_user,
        )

    def rule(self, number: int, settings: PriorityRuleSettings) -> PriorityRule:
        return PriorityRule(self.matchers(f".priority_rules[{number}].match", settings.match), settings.priority)

    def owner(self, number: int, settings: TeamRuleSettings) -> TeamRule:
        return TeamRule(self.matchers(f".team_rules[{number}].match", settings.match), settings.team)

    def route(self, number: int, settings: RouteSettings) -> Route:
        match = self.matchers(f".routes[{number}].match", settings.match)
        return Route(match, contacts(settings.named()), settings.only)

    def matchers(self, at: str, texts: list[str]) -> Matchers:
        try:
            return tuple(parse_matcher(text) for text in texts)
        except MatcherError as error:
            raise self._source.error(at, str(error)) from error

    def window(self, at: str, settings: MaintenanceSettings) -> Window:
        match = self.matchers(f"{at}.match", settings.match)
        zone = self._times.zone(f"{at}.time_zone", settings.time_zone)
        if not settings.match:
            text = "no matchers: nobody would be notified of anything; name at least one"
            raise self._source.error(f"{at}.match", text)
        if settings.hours or settings.days:
            return Window(
                settings.name, match, hours=self._times.hours(f"{at}.hours", settings.hours, settings.days, zone)
            )
        if settings.from_ is None or settings.to is None:
            raise self._source.error(at, "set from and to, or hours and days")
        start, end = settings.from_.at(zone), settings.to.at(zone)
        if end <= start:
            raise self._source.error(at, f"ends ({settings.to}) before it starts ({settings.from_})")
        return Window(settings.name, match, start, end)
