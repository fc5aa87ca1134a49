"""Reads receiver.yml into one frozen tree, checked whole: nothing is left that could fail at 3 a.m."""

from pathlib import Path
from typing import Annotated

import msgspec

from process.settings import Duration, Secret, SettingsError, Source, read_secret
from receiver.channel_settings import Channels, addresses, check_channels, check_contacts, uses_log
from receiver.escalation import Priority

NOBODY = "-"


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Unknown keys are refused: a misspelt one must not be a default in disguise."""


class Token(_Strict, frozen=True):
    """A bearer token, here or in a file."""

    token: Secret | None = None
    token_file: Path | None = None


class Links(_Strict, frozen=True):
    """What signs the links in messages, and for how long they work."""

    secret: Secret | None = None
    secret_file: Path | None = None
    valid_for: Duration = Duration(7 * 86400)


class Watchdog(_Strict, frozen=True):
    """How often Alertmanager's Watchdog is expected."""

    interval: Duration = Duration(60)


class MatrixRow(_Strict, frozen=True):
    """One row of the escalation matrix."""

    after: Duration
    P1: str | list[str]
    P2: str | list[str]
    P3: str | list[str]
    P4: str | list[str]


class PersonSettings(_Strict, frozen=True):
    """How one person is reached."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    email: str = ""
    slack: str = ""
    pagerduty: str = ""
    contacts: dict[str, str] = {}  # addresses on the other channels


class TeamSettings(_Strict, frozen=True):
    """Where one team follows its incidents."""

    email: list[str] = []
    slack: str = ""
    pagerduty: str = ""
    contacts: dict[str, str] = {}


class Retry(_Strict, frozen=True):
    """How long a channel is tried again."""

    first_delay: Duration = Duration(5)
    longest_delay: Duration = Duration(120)
    give_up_after: Duration = Duration(1800)


class Config(_Strict, frozen=True):
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
    people: dict[str, PersonSettings]
    teams: dict[str, TeamSettings]
    unknown_severity: Priority = Priority.P2
    catch_up_dwell: Duration = Duration(300)
    listen: str = "127.0.0.1:9095"
    channels: Channels = Channels()
    retry: Retry = Retry()
    watchdog: Watchdog = Watchdog()


def load(path: Path) -> tuple[Config, Source]:
    """Read and check the file; SettingsError names file, line and fix. Secret files are not opened here."""
    source = Source(path)
    config = source.convert(Config)
    _check_matrix(config, source)
    _check_people(config, source)
    _check_teams(config, source)
    check_channels(config.channels, source)
    if not config.external_url.startswith(("http://", "https://")):
        raise source.error(".external_url", "write a URL, as https://oncall.example.com")
    return config, source


def secret(source: Source, at: str, value: Secret | None, file: Path | None) -> Secret:
    """Resolve a secret that must be there."""
    found = read_secret(source, at, value, file)
    if found is None:
        raise source.error(at, f"is missing; give {at.rsplit('.', 1)[-1]} or its *_file twin")
    return found


def roles_of(cell: str | list[str]) -> tuple[str, ...]:
    """Read one cell of the matrix: a role, a list of roles, or "-" for nobody."""
    roles = [cell] if isinstance(cell, str) else cell
    return tuple(role for role in roles if role != NOBODY)


def cells(row: MatrixRow) -> dict[Priority, tuple[str, ...]]:
    """Give the row's roles by priority."""
    return {priority: roles_of(getattr(row, priority.value)) for priority in Priority}


def _check_matrix(config: Config, source: Source) -> None:
    last = -1.0
    for number, row in enumerate(config.escalation_matrix):
        at = f".escalation_matrix[{number}]"
        if row.after <= last:
            raise source.error(f"{at}.after", "rows stand in the order of time, each later than the one before")
        last = row.after
        _check_row(config, source, at, row)
    for priority in Priority:
        if not any(cells(row)[priority] for row in config.escalation_matrix):
            fix = f"a {priority} incident would be told to nobody; name a role for {priority} in some row"
            raise source.error(".escalation_matrix", fix)
        if priority not in config.response_times:
            raise source.error(".response_times", f"{priority} is missing; say how soon somebody should answer")


def _check_row(config: Config, source: Source, at: str, row: MatrixRow) -> None:
    for priority, roles in cells(row).items():
        for role in roles:
            if role not in config.roles:
                known = ", ".join(config.roles)
                raise source.error(f"{at}.{priority}", f"there is no role {role!r}; add it to roles, or use {known}")


def _check_people(config: Config, source: Source) -> None:
    for role, names in config.roles.items():
        if not names:
            raise source.error(f".roles.{role}", "nobody holds this role; name at least one of the people")
        for name in names:
            if name not in config.people:
                raise source.error(f".roles.{role}", f"there is no {name!r} in people; add that person")
    paged = {role for row in config.escalation_matrix for roles in cells(row).values() for role in roles}
    for role in sorted(paged):
        for name in config.roles[role]:
            person = config.people[name]
            if uses_log(config.channels) or addresses(person.pagerduty, person.slack, person.email, person.contacts):
                continue
            raise source.error(f".people.{name}", f"{role} cannot be reached; give email, slack, pagerduty or contacts")


def _check_teams(config: Config, source: Source) -> None:
    if "default" not in config.teams:
        raise source.error(".teams", "the row `default` is missing; alerts of an unknown team go there")
    for name, p in config.people.items():
        own = {"email": p.email, "slack": p.slack, "pagerduty": p.pagerduty}
        check_contacts(config.channels, f".people.{name}", own, p.contacts, source)
    for name, t in config.teams.items():
        own = {"email": ",".join(t.email), "slack": t.slack, "pagerduty": t.pagerduty}
        check_contacts(config.channels, f".teams.{name}", own, t.contacts, source)


def missing_secret_files(config: object, at: str = "") -> list[tuple[str, Path]]:
    """List the secret files that are named and cannot be read, with where they are named."""
    found: list[tuple[str, Path]] = []
    if isinstance(config, dict):
        for key, value in config.items():
            found += missing_secret_files(value, f"{at}.{key}")
    elif isinstance(config, msgspec.Struct):
        for field in msgspec.structs.fields(config):
            value = getattr(config, field.name)
            if field.name.endswith("_file") and isinstance(value, Path) and not value.is_file():
                found.append((f"{at}.{field.encode_name}", value))
            else:
                found += missing_secret_files(value, f"{at}.{field.encode_name}")
    return found


__all__ = ["Config", "SettingsError", "cells", "load", "missing_secret_files", "secret"]
