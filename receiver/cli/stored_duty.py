"""Reads from the receiver's database what people have set for a while, for the commands that say who is on call."""

import asyncio
import sys
from datetime import datetime
from pathlib import Path

from process.settings import SettingsError, Source
from receiver.actions.duty import window_of
from receiver.cli.database import database_of
from receiver.config.load import Config
from receiver.oncall.cover import CoverState
from receiver.policy.current import with_duty
from receiver.policy.routing import Routing
from receiver.store.base import StoreError
from receiver.store.command import CommandDatabase


def with_stored_duty(routing: Routing, named: Path | None, config: Config, source: Source, now: datetime) -> Routing:
    """Give the routing with covers and maintenance of the database that is named, or of the file's if it is there.

    One that was named and cannot be read is an error, and the file's a warning.
    """
    if named is None and config.database is not None and not config.database.is_file():
        return routing
    try:
        return asyncio.run(_read(routing, database_of(named, config, source), now))
    except StoreError as error:
        if named is not None:
            raise SettingsError(f"{error}; name the receiver's database with --database") from error
        print(f"warning: covers are not read: {error}", file=sys.stderr)
        return routing


async def _read(routing: Routing, database: CommandDatabase, now: datetime) -> Routing:
    store = database.history()
    try:
        covers = tuple(one for one in await store.covers(now) if one.state is CoverState.ACTIVE)
        windows = [window_of(one) for one in await store.windows(now)]
        return with_duty(routing, covers, {}, tuple(one for one in windows if one is not None))
    finally:
        await store.close()
