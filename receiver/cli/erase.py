"""`python -m receiver erase PERSON`: takes a person who has left out of the database, also while the receiver runs."""

import argparse
import getpass
from pathlib import Path

from process.settings import SettingsError
from receiver.cli.command import Clock, Command
from receiver.cli.database import add_database, database_of
from receiver.config.load import load
from receiver.store.audit import Act


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("person", help="the key that they had in `people`")
    parser.add_argument("--config.file", dest="config", type=Path, required=True, help="receiver.yml")
    add_database(parser)
    text = "a name or an address of theirs, wherever it stands; may be repeated"
    parser.add_argument("--text", action="append", default=[], metavar="TEXT", help=text)


def run(options: argparse.Namespace, clock: Clock) -> int:
    """0, or 1 if what was freed could not be overwritten; SettingsError, StoreError."""
    config, source = load(options.config)
    if options.person in config.people:
        raise SettingsError(f"{options.person!r} is in `people`; take them out of {options.config} and reload first")
    act = Act(clock(), getpass.getuser(), "command line", "", "person.erase", "")
    try:
        done = database_of(options.database, config, source).erase(options.person, options.text, act)
    except ValueError as error:
        raise SettingsError(f"--text: {error}") from error
    print(f"erased from {done.rows} rows; {done.alias} stands in their place")
    if not done.tidied:
        print("the database is in use: run this again, so that nothing is left in its log")
    return 0 if done.tidied else 1


COMMAND = Command(add_arguments, run)
