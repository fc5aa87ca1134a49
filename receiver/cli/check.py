"""`python -m receiver check`: reads receiver.yml as the receiver does, and looks thirty days ahead."""

import argparse
import asyncio
import sys
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path

import aiohttp

from process.settings import Findings, SettingsError, Source
from receiver.app import Receiver, build_channels
from receiver.channels.declaration import Place, Setup
from receiver.cli.preview import problems
from receiver.config.build import build_routing
from receiver.config.load import Config, examine, missing_secret_files
from receiver.config.safety import unsafe
from receiver.policy.coverage import Gap, gaps

AHEAD = timedelta(days=30)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("--config.file", dest="config", type=Path, required=True, help="receiver.yml")
    parser.add_argument("--secrets", action="store_true", help="secret files must be there, too")


def run(options: argparse.Namespace, now: datetime) -> int:
    """0 if it can be used; 1 with a line for everything that is in the way. Warnings alone are 0."""
    config, source, found = examine(options.config)
    warnings: list[str] = []
    for finding in unsafe(config, source):
        if finding.error:
            found.add(SettingsError(finding.text))
        else:
            warnings.append(finding.text)
    _secrets(config, source, found, warnings, needed=options.secrets)
    found.lines += _templates(config, source)
    with found.collecting():
        routing = build_routing(config, source)
        gaps_ = [gap for gap in gaps(routing, now, now + AHEAD) if not _by_calendar(config, gap.role)]
        found.lines += [f"{options.config}: {_spoken(gap)}" for gap in gaps_]
    for line in warnings:
        print(f"warning: {line}", file=sys.stderr)
    for line in found.lines:
        print(f"error: {line}", file=sys.stderr)
    if found.lines:
        return 1
    steps = len(config.escalation_matrix)
    people, teams, schedules = len(config.people), len(config.teams), len(config.schedules)
    more = f", {schedules} schedules without a gap for 30 days" if schedules else ""
    print(f"OK {options.config}: {steps} escalation steps, {people} people, {teams} teams{more}")
    return 0


def _secrets(config: Config, source: Source, found: Findings, warnings: list[str], *, needed: bool) -> None:
    """Look for the secret files; with ``needed``, open them as the receiver does."""
    missing = [source.error(at, f"{file} cannot be read") for at, file in missing_secret_files(config)]
    if not needed:
        warnings += [str(error) for error in missing]
        return
    for error in missing:
        found.add(error)
    if not found.lines:
        with found.collecting():
            Receiver(config, source)  # opens its own secrets, and nothing else
            asyncio.run(_open_channels(config, source))


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
            list(build_channels(config.channels, lambda name: Setup(Place(source, name), session, [], closing, "")))


def _by_calendar(config: Config, role: str) -> bool:
    """What a calendar says is not in the file: its gaps are the business of the metric receiver_oncall_covered."""
    return any(name in config.schedules and config.schedules[name].calendar for name in config.roles[role])


def _spoken(gap: Gap) -> str:
    times = f"from {gap.start:%Y-%m-%d %H:%M} to {gap.end:%Y-%m-%d %H:%M} UTC"
    return f"roles.{gap.role}: {gap.why} {times}; add a layer or a person, or the next step is taken at once"
