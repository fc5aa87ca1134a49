"""`python -m receiver postmortem 12`: the draft of a post-mortem in Markdown."""

import argparse
import asyncio
from datetime import datetime
from pathlib import Path

from process.settings import SettingsError
from receiver.cli.command import Command, write_output
from receiver.cli.database import add_database, database_of, unread
from receiver.config.build import build_routing
from receiver.config.load import load
from receiver.evidence.postmortem import Material, postmortem
from receiver.evidence.similar import similar
from receiver.messages.i18n import Reader, languages
from receiver.store.base import StoreError
from receiver.store.command import CommandDatabase


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("number", type=int, metavar="ID", help="the number of the incident")
    parser.add_argument("--config.file", dest="config", type=Path, required=True, help="receiver.yml")
    add_database(parser)
    parser.add_argument("--language", choices=languages(), default="en")
    parser.add_argument("--time-zone", dest="zone", default="UTC", help="of the times, as Europe/Berlin")
    parser.add_argument("--output", type=Path, help="file to write (default: standard output)")


def run(options: argparse.Namespace, now: datetime) -> int:
    """Write it; SettingsError says what is wrong with the question."""
    config, source = load(options.config)
    try:
        reader = Reader(options.language, options.zone, build_routing(config, source).directory.name)
    except (KeyError, ValueError, OSError) as error:
        raise SettingsError(f"--time-zone: invalid time zone {options.zone!r} (expected e.g. Europe/Berlin)") from error
    page = f"{config.external_url.rstrip('/')}/incidents/{options.number}"
    try:
        material = asyncio.run(_read(database_of(options.database, config, source), options.number, page))
    except StoreError as error:
        raise unread(error, options.database, config) from error
    if material is None:
        raise SettingsError(f"no incident {options.number} in the database")
    text = postmortem(material, reader, now)
    write_output(text, options.output)
    return 0


async def _read(database: CommandDatabase, number: int, page: str) -> Material | None:
    store = database.history()
    try:
        stored = await store.incident(number)
        if stored is None:
            return None
        return Material(*stored, similar=await similar(store, stored[0]), chart=f"{page}/chart.png", page=page)
    finally:
        await store.close()


COMMAND = Command(add_arguments, lambda options, clock: run(options, clock()))
