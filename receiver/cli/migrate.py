"""`python -m receiver migrate`: moves everything from the SQLite file to the PostgreSQL database of receiver.yml.

The receiver is stopped meanwhile: Alertmanager sends again what was not answered.
"""

import argparse
from datetime import datetime
from pathlib import Path

from process.optional import MissingExtraError, load
from process.settings import SettingsError
from receiver.cli.command import Command
from receiver.config import load as config
from receiver.config.database import DatabasePassword, wrong_url
from receiver.store.sqlite.file import Hold, connect, mark_moved

_SCHEME = "sqlite:"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    text = "receiver.yml, with `postgres` in place of `database`"
    parser.add_argument("--config.file", dest="config", type=Path, required=True, help=text)
    parser.add_argument("--from", dest="source", required=True, metavar="sqlite:FILE", help="what is moved")
    parser.add_argument("--to", dest="target", metavar="URL", help="postgresql://… (default: the one of receiver.yml)")


def run(options: argparse.Namespace, now: datetime) -> int:
    """Copy, compare and mark the file; SettingsError, StoreError: nothing has changed."""
    settings, source = config.load(options.config)
    if settings.postgres is None:
        raise source.error(".postgres", "is missing; name the database to move to")
    path = Path(options.source.removeprefix(_SCHEME))
    if not path.is_file():
        raise SettingsError(f"--from {options.source}: no such file (expected sqlite:FILE)")
    password = DatabasePassword(settings.postgres, source)
    try:
        postgres = load("receiver.store.postgres.move", "postgres")
    except MissingExtraError as error:
        raise source.error(".postgres", str(error)) from error
    url = options.target or settings.postgres.url
    if wrong := wrong_url(url):
        raise SettingsError(f"--to: {wrong}")
    held = Hold(path)  # no receiver uses it
    try:
        file = connect(path, now, {}, new=False)
        try:
            counts = postgres.moved(file, postgres.Login(url, password), _told)
            mark_moved(file)
        finally:
            file.close()
    finally:
        held.close()
    rows = sum(counts.values())
    print(f"moved {rows:,} rows of {len(counts)} tables, and read them again: all are equal")
    print(f"{path} is marked as moved: no receiver starts on it. Keep it until the new one has run for a while.")
    return 0


def _told(table: str, count: int) -> None:
    print(f"{table}: {count:,} rows", flush=True)


COMMAND = Command(add_arguments, lambda options, clock: run(options, clock()))
