"""Finds settings that work and should not be so: weak or shared secrets, and a P1 that nobody hears of at once.

`check` refuses them; a receiver that is running with them goes on and logs them, for a page is worth more.
"""

from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from process.addresses import is_loopback
from process.safety import SHORTEST_TOKEN, held_for_all, readable_by_all, text_of, too_short
from process.settings import Source
from receiver.config.load import Config, holders, secret_files, secrets_inside
from receiver.config.people import MatrixRow, roles_of
from receiver.config.sources import sources
from receiver.incident.model import Priority

SHORTEST_SIGNER = 32  # characters


class Unsafe(NamedTuple):
    """One finding; ``error`` is False for what only deserves a warning."""

    text: str
    error: bool


def unsafe(config: Config, source: Source) -> list[Unsafe]:
    """List them; errors are only warnings for an installation that nobody else can reach."""
    local = is_loopback(urlsplit(config.external_url).hostname or "")
    unsafe = [Unsafe(str(source.error(at, text)), not local) for at, text in _weak_secrets(config, source)]
    unsafe += [Unsafe(str(source.error(at, text)), not local) for at, text in _channels(config)]
    unsafe += [Unsafe(str(source.error(at, text)), False) for at, text in _unencrypted(config)]  # noqa: FBT003
    unsafe += [Unsafe(str(source.error(at, text)), error) for at, text, error in _readable(config)]
    unsafe += [Unsafe(str(source.error(at, text)), error and not local) for at, text, error in _written(config, source)]
    unheard = [*_unheard(config), *_by_push_alone(config)]
    return unsafe + [Unsafe(str(source.error(at, text)), True) for at, text in unheard]  # noqa: FBT003


def _weak_secrets(config: Config, source: Source) -> Iterator[tuple[str, str]]:
    seen: dict[str, str] = {}
    webhook, api, links = config.webhook, config.api, config.links
    doors = (
        (".webhook.token", webhook.token, webhook.token_file, SHORTEST_TOKEN),
        (".api.token", api.token, api.token_file, SHORTEST_TOKEN),
        (".links.secret", links.secret, links.secret_file, SHORTEST_SIGNER),
    )
    for at, value, file, shortest in doors:
        text = text_of(source, at, value, file)
        if not text:
            continue
        if short := too_short(text, shortest):
            yield at, short
        if text in seen:
            yield at, _twice(seen[text])
        seen.setdefault(text, at)
    for at, one in sources(config.alertmanager, config.alertmanagers).values():
        text = text_of(source, f"{at}.token", one.token, one.token_file)
        if text in seen:
            yield f"{at}.token", _twice(seen[text])


def _twice(at: str) -> str:
    return f"the same as {at.lstrip('.')}; whoever has one would have both: use another"


def _unencrypted(config: Config) -> Iterator[tuple[str, str]]:
    for at, one in sources(config.alertmanager, config.alertmanagers).values():
        for key, url in ((".url", one.url), (".prometheus_url", one.prometheus_url)):
            host, has_secret = urlsplit(url).hostname or "", one.basic_auth or one.token or one.token_file
            if has_secret and url.startswith("http:") and not is_loopback(host):
                yield f"{at}{key}", f"the password or token reaches {host} unencrypted; use https"


def _channels(config: Config) -> Iterator[tuple[str, str]]:
    for name, channel, settings in config.channels.declared():
        for key, text in channel.unsafe(settings):
            yield f".channels.{name}{key}", text


def _readable(config: Config) -> Iterator[tuple[str, str, bool]]:
    for at, file in secret_files(config):
        if (found := readable_by_all(file)) is not None:
            yield at, *found


def _written(config: Config, source: Source) -> Iterator[tuple[str, str, bool]]:
    """Name one of the secrets in the settings file itself, if everybody may read it."""
    for at in secrets_inside(config):
        found = held_for_all(source, at)
        if found is not None:
            yield at, *found
            return  # once is enough


def _unheard(config: Config) -> Iterator[tuple[str, str]]:
    tables = {".escalation_matrix": config.escalation_matrix}
    for team, settings in config.teams.items():
        if settings.escalation_matrix:
            tables[f".teams.{team}.escalation_matrix"] = settings.escalation_matrix
    for at, rows in tables.items():
        if not any(_at_once(row) for row in rows):
            yield at, "nobody hears of a P1 at 0m, at every hour; name a role in the row `after: 0m`, without `only`"


def _by_push_alone(config: Config) -> Iterator[tuple[str, str]]:
    """Find those whom a P1 reaches on their devices only: browsers drop subscriptions, and iOS does so silently."""
    tables = [config.escalation_matrix, *(team.escalation_matrix for team in config.teams.values())]
    roles = {role for rows in tables for row in rows for role in roles_of(row.P1)}
    for name in sorted({name for role in roles for name in holders(config, role)}):
        person = config.people[name]
        if not person.push:
            continue
        others = {channel for channel, _ in person.named()} | set(config.channels.without_address())
        if not others:
            yield f".people.{name}.push", "the only contact for a P1 must not be push; add email, sms or another one"
        for number, rule in enumerate(person.rules):
            for_p1 = not rule.priorities or Priority.P1 in rule.priorities
            if for_p1 and "push" in rule.channels and not others & set(rule.channels):
                yield f".people.{name}.rules[{number}].channels", "a P1 must not go to push alone; add a channel"


def _at_once(row: MatrixRow) -> bool:
    return row.after <= 0 and not row.only and bool(roles_of(row.P1))
