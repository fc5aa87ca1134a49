"""Which database a command reads: the one of receiver.yml, or a SQLite file that is named."""

import argparse
from pathlib import Path

from process.optional import MissingExtraError, load
from process.settings import SettingsError, Source
from receiver.config.database import DatabasePassword
from receiver.config.load import Config
from receiver.store.base import StoreError
from receiver.store.command import CommandDatabase
from receiver.store.sqlite.command import SQLiteDatabase

_HELP = "the receiver's SQLite file (default: `database` or `postgres` in receiver.yml)"


def add_database(parser: argparse.ArgumentParser, text: str = _HELP) -> None:
    """Describe the option."""
    parser.add_argument("--database", type=Path, help=text)


def database_of(named: Path | None, config: Config, source: Source) -> CommandDatabase:
    """Give the file that is named, or what receiver.yml says; SettingsError if a package or the password is missing."""
    if named is not None:
        return SQLiteDatabase(named)
    settings = config.postgres
    if settings is None:
        return SQLiteDatabase(file_of(None, config, source))
    password = DatabasePassword(settings, source)
    try:
        module = load("receiver.store.postgres.command", "postgres")
    except MissingExtraError as error:
        raise source.error(".postgres", str(error)) from error
    database: CommandDatabase = module.PostgresDatabase(module.Login(settings.url, password))
    return database


def unread(error: StoreError, named: Path | None, config: Config) -> SettingsError:
    """Say what is wrong, and of a file how to name another."""
    is_file = named is not None or config.postgres is None
    hint = "; name the receiver's database with --database or --config.file" if is_file else ""
    return SettingsError(f"{error}{hint}")


def file_of(named: Path | None, config: Config, source: Source) -> Path:
    """Give the SQLite file, for what there is for a file only; SettingsError if there is none."""
    path = named or config.database
    if path is None:
        raise source.error(".postgres", "this command is for a SQLite file; use pg_dump and pg_restore")
    return path
