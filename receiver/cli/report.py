"""`python -m receiver report --range 30d`: incidents, MTTA, MTTR, breaches and night pages of a time."""

import argparse
import asyncio
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from process.settings import SettingsError, parse_duration
from receiver.cli.command import Command, write_output
from receiver.cli.database import add_database, database_of, unread
from receiver.cli.instant import instant
from receiver.config.build import build_routing
from receiver.config.load import load
from receiver.reports.incidents import page
from receiver.reports.incidents.night import night_of
from receiver.reports.incidents.statistics import Summary
from receiver.store.base import StoreError
from receiver.store.command import CommandDatabase


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("--config.file", dest="config", type=Path, required=True, help="receiver.yml")
    add_database(parser)
    parser.add_argument("--range", dest="length", default="30d", help="length of the period, e.g. 7d (default: 30d)")
    parser.add_argument("--until", help="end of the period, e.g. 2026-11-30 (default: now)")
    parser.add_argument("--format", choices=["markdown", "html", "json"], default="markdown")
    parser.add_argument("--output", type=Path, help="file to write (default: standard output)")


def run(options: argparse.Namespace, now: datetime) -> int:
    """Write it; SettingsError says what is wrong with the question."""
    config, source = load(options.config)
    routing = build_routing(config, source)
    try:
        length = timedelta(seconds=parse_duration(options.length))
    except ValueError as error:
        raise SettingsError(f"--range: {error}") from error
    if length < timedelta(days=1):
        raise SettingsError("--range: must be at least 1d")
    end = instant(options.until, "--until") if options.until else now
    start = end - length
    summary = Summary(start, end, night_of(routing))
    try:
        asyncio.run(_count(database_of(options.database, config, source), start, end, summary))
    except StoreError as error:
        raise unread(error, options.database, config) from error
    report = summary.report()
    if options.format != "json":
        shown = ((routing.directory.name(person), *counts) for person, *counts in report.pages)
        report = msgspec.structs.replace(report, pages=tuple(shown))
    text = {"markdown": page.markdown, "html": page.page, "json": page.json}[options.format](report)
    write_output(text, options.output)
    return 0


async def _count(database: CommandDatabase, start: datetime, end: datetime, summary: Summary) -> None:
    store = database.history()
    try:
        async for history in store.opened_between(start, end):
            summary.add(history)
    finally:
        await store.close()


COMMAND = Command(add_arguments, lambda options, clock: run(options, clock()))
