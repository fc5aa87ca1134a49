"""`python -m receiver check`: reads receiver.yml as the receiver does, and looks thirty days ahead."""

import argparse
import asyncio
import sys
from contextlib import ExitStack
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import aiohttp

from process.optional import MissingExtraError
from process.optional import load as load_module
from process.settings import Findings, SettingsError, Source
from receiver.app import Receiver, build_channels, build_hooks
from receiver.channels.declaration import Place, Setup
from receiver.cli.command import Command
from receiver.cli.preview import problems
from receiver.config.build import build_routing
from receiver.config.load import Config, examine, missing_secret_files
from receiver.config.safety import unsafe
from receiver.messages.i18n import Reader
from receiver.oncall.schedule import never_on_call, shifts
from receiver.policy.coverage import Gap, gaps, roles
from receiver.policy.current import Current
from receiver.policy.routing import Routing
from receiver.reports.calendars import fill

DAYS, MOST_DAYS = 30, 800
_LISTED = 20  # entries of one calendar with problems, as many as somebody reads


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("--config.file", dest="config", type=Path, required=True, help="receiver.yml")
    parser.add_argument("--days", type=int, default=DAYS, help=f"how many days ahead to look for gaps ({DAYS})")
    parser.add_argument("--secrets", action="store_true", help="secret files must be there, too")


def run(options: argparse.Namespace, now: datetime) -> int:
    """0 if it can be used; 1 with a line for everything that is in the way. Warnings alone are 0."""
    if not 1 <= options.days <= MOST_DAYS:
        raise SettingsError(f"invalid --days {options.days} (expected 1 to {MOST_DAYS})")
    config, source, findings = examine(options.config)
    warnings: list[str] = []
    for finding in unsafe(config, source):
        if finding.error:
            findings.add(SettingsError(finding.text))
        else:
            warnings.append(finding.text)
    _secrets(config, source, findings, warnings, needed=options.secrets)
    _packages(config, source, findings)
    findings.lines += _templates(config, source)
    examined = ""
    with findings.collecting():
        current = Current(build_routing(config, source), now)
        end = now + timedelta(days=options.days)
        unread = _calendars(config, source, current, (now, end), findings, warnings, needed=options.secrets)
        gaps_ = [gap for gap in gaps(current.routing, now, end) if not unread & set(config.roles.get(gap.role, ()))]
        findings.lines += [f"{options.config}: {_spoken(gap)}" for gap in gaps_]
        examined = _schedules(current.routing, unread, now, options.days, warnings)
    for line in warnings:
        print(f"warning: {line}", file=sys.stderr)
    for line in findings.lines:
        print(f"error: {line}", file=sys.stderr)
    if findings.lines:
        return 1
    steps = _counted(len(config.escalation_matrix), "escalation step", "escalation steps")
    people = _counted(len(config.people), "person", "people")
    print(f"OK {options.config}: {steps}, {people}, {_counted(len(config.teams), 'team', 'teams')}{examined}")
    return 0


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _secrets(config: Config, source: Source, findings: Findings, warnings: list[str], *, needed: bool) -> None:
    """Look for the secret files; with ``needed``, open them as the receiver does."""
    missing = [source.error(at, f"{file} cannot be read") for at, file in missing_secret_files(config)]
    if not needed:
        warnings += [str(error) for error in missing]
        return
    for error in missing:
        findings.add(error)
    if not findings.lines:
        with findings.collecting():
            Receiver(config, source)  # opens its own secrets, and nothing else
            list(build_hooks(config, source, []))
            asyncio.run(_open_channels(config, source))


def _packages(config: Config, source: Source, findings: Findings) -> None:
    """Say which package of the console is missing; those of the channels are looked for when the file is read."""
    if config.console.sign_in.oidc is None:
        return
    try:
        load_module("receiver.web.access.oidc", "oidc")
    except MissingExtraError as error:
        findings.add(source.error(".console.sign_in.oidc", str(error)))


def _templates(config: Config, source: Source) -> list[str]:
    """Say what is wrong with the folder of templates."""
    folder = config.templates.dir if config.templates else None
    if folder is None:
        return []
    return problems(folder) if folder.is_dir() else [str(source.error(".templates.dir", f"{folder} is no folder"))]


async def _open_channels(config: Config, source: Source) -> None:
    """Build every channel, which opens its secrets; nothing is sent."""
    async with aiohttp.ClientSession() as session:
        with ExitStack() as closing:
            url, folder = config.external_url, config.folder
            setup = partial(_setup, source, session, closing, url, folder)
            list(build_channels(config.channels, setup))


def _setup(
    source: Source, session: aiohttp.ClientSession, closing: ExitStack, url: str, folder: Path, name: str
) -> Setup:
    return Setup(Place(source, name), session, [], closing, url, folder=folder)


def _calendars(  # what it reads, and where its findings go
    config: Config,
    source: Source,
    current: Current,
    period: tuple[datetime, datetime],
    findings: Findings,
    warnings: list[str],
    *,
    needed: bool,
) -> set[str]:
    """Read the calendars as the receiver does; give the schedules whose calendar cannot be read here."""
    unread = set()
    for calendar in asyncio.run(fill(config, source, current, *period)):
        at = f".schedules.{calendar.schedule}.calendar"
        warnings += [str(source.error(at, f"{r.entry}: {r.reason.value}")) for r in calendar.remarks[:_LISTED]]
        if len(calendar.remarks) > _LISTED:
            warnings.append(str(source.error(at, f"{len(calendar.remarks) - _LISTED} more entries with problems")))
        if calendar.failure:
            unread.add(calendar.schedule)
            error = source.error(at, f"cannot be read: {calendar.failure}")
            if needed:
                findings.add(error)
            else:
                warnings.append(str(error))
    return unread


def _schedules(routing: Routing, unread: set[str], now: datetime, days: int, warnings: list[str]) -> str:
    """Look at every schedule, whether or not it holds a role; give what can be said of all of them."""
    whole = 0
    held = {name for role in roles(routing) for name in routing.roles.get(role, ())}
    for name, schedule in routing.schedules.items():
        if name not in held:
            warnings.append(f"schedules.{name}: holds no role of the matrix; nobody is paged by it")
        idle = ", ".join(never_on_call(schedule, now))
        if idle:
            fix = "with `days`, `turns: served` counts only days on which the layer applies"
            warnings.append(f"schedules.{name}: never on call: {idle}; {fix}")
        if name in unread:
            continue
        gap = next((shift for shift in shifts(schedule, now, now + timedelta(days=days)) if not shift.people), None)
        whole += gap is None
        if gap is not None:
            times = f"from {gap.start:%Y-%m-%d %H:%M} to {gap.end:%Y-%m-%d %H:%M} UTC"
            warnings.append(f"schedules.{name}: nobody is on call {times}")
    total = len(routing.schedules)
    if not total:
        return ""
    count = f"{whole}" if whole == total else f"{whole} of {total}"
    return f", {count} {'schedule' if total == 1 else 'schedules'} without a gap for {days} days"


def _spoken(gap: Gap) -> str:
    why = Reader().name("gap", gap.reason)
    times = f"from {gap.start:%Y-%m-%d %H:%M} to {gap.end:%Y-%m-%d %H:%M} UTC"
    return f"roles.{gap.role}: {why} {times}; add a layer or a person, or the next step is taken at once"


COMMAND = Command(add_arguments, lambda options, clock: run(options, clock()))
