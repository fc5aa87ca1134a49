"""`python -m receiver backup --to FILE` and `restore --from FILE`: a copy of the database, and back."""

import argparse
from datetime import datetime
from pathlib import Path

from receiver.cli.command import Command
from receiver.cli.database import add_database, file_of
from receiver.config.load import load
from receiver.store.sqlite import backup


def add_backup_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line of `backup`."""
    _add_database(parser)
    parser.add_argument("--to", dest="copy", type=Path, required=True, help="file to write; it must not exist")


def add_restore_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line of `restore`."""
    _add_database(parser)
    parser.add_argument("--from", dest="copy", type=Path, required=True, help="file that `backup` has written")


def _add_database(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config.file", dest="config", type=Path, required=True, help="receiver.yml")
    add_database(parser)


def _database(options: argparse.Namespace) -> Path:
    return file_of(options.database, *load(options.config))


def run_backup(options: argparse.Namespace) -> int:
    """Write the copy; StoreError if that fails."""
    size = backup.backup(_database(options), options.copy)
    print(f"{options.copy}: {size:,} bytes")
    return 0


def run_restore(options: argparse.Namespace, now: datetime) -> int:
    """Put the copy in place; StoreError while a receiver runs, or if the copy is unusable."""
    path = _database(options)
    kept = backup.restore(options.copy, path, now)
    print(f"{path}: restored from {options.copy}" + (f"; the database before it is {kept}" if kept else ""))
    return 0


COMMAND = Command(add_backup_arguments, lambda options, _clock: run_backup(options))
RESTORE = Command(add_restore_arguments, lambda options, clock: run_restore(options, clock()))
