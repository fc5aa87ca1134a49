"""`python -m receiver check`: reads receiver.yml as the receiver does, and looks thirty days ahead."""

import argparse
import asyncio
import sys
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path

import aiohttp

from process.settings import Source
from receiver.app import Receiver, build_channels
from receiver.channels.declaration import Place, Setup
from receiver.cli.preview import problems
from receiver.config.build import build_routing
from receiver.config.load import Config, load, missing_secret_files
from receiver.policy.coverage import Gap, gaps

AHEAD = timedelta(days=30)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("--config.file", dest="config", type=Path, required=True, help="receiver.yml")
    parser.add_argument("--secrets", action="store_true", help="secret files must be there, too")


def run(options: argparse.Namespace, now: datetime) -> int:
    """0 if it can be used; 1 with a line for everything that is in the way."""
    config, source = load(options.config)
    routing = build_routing(config, source)
    missing = missing_secret_files(config)
    if options.secrets and not missing:
        Receiver(config, source)  # opens its own secrets, and nothing else
        asyncio.run(_open_channels(config, source))
    for at, file in missing:
        grade = "error" if options.secrets else "warning"
        print(f"{grade}: {source.error(at, f'{file} cannot be read')}", file=sys.stderr)
    wrong = problems(config.templates.dir) if config.templates and config.templates.dir.is_dir() else []
    if config.templates and not config.templates.dir.is_dir():
        wrong = [str(source.error(".templates.dir", f"{config.templates.dir} is no folder"))]
    for line in wrong:
        print(f"error: {line}", file=sys.stderr)
    found = [gap for gap in gaps(routing, now, now + AHEAD) if not _by_calendar(config, gap.role)]
    for gap in found:
        print(f"error: {options.config}: {_spoken(gap)}", file=sys.stderr)
    if found or wrong or (options.secrets and missing):
        return 1
    steps = len(config.escalation_matrix)
    people, teams, schedules = len(config.people), len(config.teams), len(config.schedules)
    more = f", {schedules} schedules without a gap for 30 days" if schedules else ""
    print(f"OK {options.config}: {steps} escalation steps, {people} people, {teams} teams{more}")
    return 0


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
