"""`python -m receiver replay --config.file new.yml --days 30`: what that file would have made of past incidents."""

import argparse
import asyncio
import sys
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import msgspec

from process.settings import SettingsError, Source
from receiver.cli.command import Command
from receiver.cli.database import add_database, database_of, unread
from receiver.cli.schedule import read_calendars
from receiver.cli.tables import table
from receiver.config.build import build_routing
from receiver.config.load import Config, load
from receiver.evidence.replay import Compared, Configured, compare, in_words
from receiver.messages.i18n import Reader, languages
from receiver.policy.current import Current
from receiver.reports.incidents.night import night_of
from receiver.store.base import StoreError
from receiver.store.command import CommandDatabase

_MOST_DAYS = 366
_WHAT = {"gone": "pages nobody", "new": "pages somebody", "who": "pages others"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("--config.file", dest="config", type=Path, required=True, help="the edited receiver.yml")
    parser.add_argument(
        "--against", type=Path, help="the receiver.yml to compare with (default: what was recorded then)"
    )
    add_database(parser)
    parser.add_argument("--days", type=int, default=30, help="how far to look back (default: 30)")
    parser.add_argument("--language", choices=languages(), default="en")
    parser.add_argument("--format", choices=["text", "json"], default="text")


def run(options: argparse.Namespace, now: datetime) -> int:
    """Compare; SettingsError says what is wrong with the question."""
    if not 1 <= options.days <= _MOST_DAYS:
        raise SettingsError(f"--days: must be from 1 to {_MOST_DAYS}")
    start = now - timedelta(days=options.days)
    config, source = load(options.config)
    after = _configured(config, source, start, now)
    before = _configured(*load(options.against), start, now) if options.against else None
    database = database_of(options.database, config, source)
    try:
        compared = asyncio.run(_compare(database, start, now, before, after))
    except StoreError as error:
        raise unread(error, options.database, config) from error
    if options.format == "json":
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(compared), indent=2).decode() + "\n")
        return 0
    reader = Reader(options.language, name_of=after.routing.directory.name)
    sys.stdout.write(_text(compared, reader, options.days))
    return 0


def _configured(config: Config, source: Source, start: datetime, now: datetime) -> Configured:
    """Read a file with its calendars."""
    current = Current(build_routing(config, source), start)
    read_calendars(config, source, current, start, now)
    window = timedelta(seconds=float(config.grouping_window))
    return Configured(current.routing, partial(config.channels.handling, window=window))


async def _compare(
    database: CommandDatabase, start: datetime, now: datetime, before: Configured | None, after: Configured
) -> Compared:
    store = database.history()
    try:
        return await compare(store, start, now, before, after, night_of(after.routing))
    finally:
        await store.close()


def _text(compared: Compared, reader: Reader, days: int) -> str:
    """Write the sentences first, then people and incidents."""
    lines = [f"{compared.incidents} incidents of {days} days replayed"]
    if compared.left_out:
        lines[0] += f", {compared.left_out} left out (raised by hand)"
    lines += ["", *(f"- {line}" for line in in_words(compared, reader)), ""]
    people = [(reader.who(person), str(was), str(will)) for person, was, will in compared.people if was != will]
    if people:
        lines += [table(("Person", "Pages before", "Pages after"), people), ""]
    rows = []
    for one in compared.differences:
        what = _WHAT.get(one.what) or f"{one.what} by {reader.duration(one.seconds)}"
        rows.append((f"#{one.number}", one.priority, what, one.title))
    if rows:
        lines.append(table(("Incident", "Priority", "Now", ""), rows))
    return "\n".join(lines).rstrip() + "\n"


COMMAND = Command(add_arguments, lambda options, clock: run(options, clock()))
