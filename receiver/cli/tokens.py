"""`python -m receiver token create|list|revoke`: the tokens of scripts, in the database, while the receiver runs.

In the database and not by the API: who may write its file runs this receiver, and the first token needs no other one.
The API has the same for administrators elsewhere: /api/v1/tokens.
"""

import argparse
import getpass
import sys
from datetime import datetime, timedelta
from pathlib import Path

from process.settings import SettingsError, parse_duration
from receiver.cli.command import Clock, Command
from receiver.cli.database import add_database, database_of
from receiver.cli.tables import table
from receiver.config.load import Config, load
from receiver.store.access import FullError, Token
from receiver.store.audit import Act
from receiver.store.command import CommandDatabase
from receiver.store.sql import access
from receiver.web.access import api_token, session_cookie

_VIA = "command line"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create", help="make one; it is shown once")
    listing = commands.add_parser("list", help="list all, without what they are")
    revoke = commands.add_parser("revoke", help="revoke one, for good")
    for one in (create, listing, revoke):
        one.add_argument("--config.file", dest="config", type=Path, required=True, help="receiver.yml")
        add_database(one)
    create.add_argument("--name", required=True, help="what it is for")
    create.add_argument("--scope", choices=sorted(api_token.SCOPES), default="read", help="what it may do (read)")
    create.add_argument("--owner", default="", help="key in `people`: it acts as this person, and leaves with them")
    create.add_argument("--valid-for", dest="valid_for", default="", help="how long it works, as 90d (for ever)")
    revoke.add_argument("number", type=int, help="its number in the list")


def run(options: argparse.Namespace, clock: Clock) -> int:
    """0, or 1 if there is nothing to revoke; StoreError, SettingsError."""
    (config, source), now = load(options.config), clock()
    database = database_of(options.database, config, source)
    if options.command == "create":
        return _create(options, config, database, now)
    if options.command == "list":
        return _list(database, now)
    act = Act(now, getpass.getuser(), _VIA, "", "token.revoke", f"token/{options.number}")
    with database.change() as db:
        revoked = access.revoke_token(db, options.number, act)
    print(f"token {options.number}: {'revoked' if revoked else 'there is none that works'}")
    return 0 if revoked else 1


def _create(options: argparse.Namespace, config: Config, database: CommandDatabase, now: datetime) -> int:
    name, owner = options.name.strip(), options.owner
    if not 0 < len(name) <= api_token.LONGEST_NAME:
        raise SettingsError(f"--name: 1 to {api_token.LONGEST_NAME} characters")
    if owner and owner not in config.people:
        raise SettingsError(f"--owner: {owner!r} is not a key in `people`")
    try:
        expires = now + timedelta(seconds=parse_duration(options.valid_for)) if options.valid_for else None
    except (ValueError, OverflowError) as error:
        raise SettingsError(f"--valid-for: {error}") from error
    token, secret = Token(name, options.scope, owner, now, expires), api_token.new_token()
    act = Act(now, getpass.getuser(), _VIA, "", "token.create", "", after=f"{name} ({options.scope})")
    try:
        with database.change() as db:
            number = access.add_token(db, session_cookie.hashed(secret), token, act)
    except FullError as error:
        raise SettingsError(str(error)) from error
    print(secret)
    until = f"until {expires:%Y-%m-%d %H:%M} UTC" if expires else "until it is revoked"
    said = f"token {number}, scope {options.scope}, works {until}; it is not shown again"
    print(said, file=sys.stderr)  # so that what is printed may be written to a file
    return 0


def _list(database: CommandDatabase, now: datetime) -> int:
    with database.change() as db:
        tokens = access.tokens(db)
    heads = ["", "name", "scope", "owner", "created", "expires", "last used", "works"]
    rows = [
        [
            str(token.id),
            token.name,
            token.scope,
            token.owner,
            *(f"{at:%Y-%m-%d}" if at else "-" for at in (token.created, token.expires, token.last_used)),
            "yes" if api_token.works(token, now) else "revoked" if token.revoked else "expired",
        ]
        for token in tokens
    ]
    print(table(heads, rows) if rows else "no tokens")
    return 0


COMMAND = Command(add_arguments, run)
