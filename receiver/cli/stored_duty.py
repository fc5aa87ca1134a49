"""Reads from the receiver's database what people have set for a while, for the commands that say who is on call."""

import asyncio
import sys
from datetime import datetime
from pathlib import Path

from process.settings import SettingsError
from receiver.actions.duty import window_of
from receiver.oncall.cover import CoverState
from receiver.policy.current import with_duty
from receiver.policy.routing import Routing
from receiver.store.base import StoreError
from receiver.store.sqlite.history import SQLiteHistory


def with_stored_duty(routing: Routing, named: Path | None, configured: Path, now: datetime) -> Routing:
    """Give the routing with covers and maintenance of the database that is named, or of the file's if it is there.

    One that was named and cannot be read is an error, and the file's a warning.
    """
    path = named or configured
    if named is None and not path.is_file():
        return routing
    try:
        return asyncio.run(_read(routing, path, now))
    except StoreError as error:
        if named is not None:
            raise SettingsError(f"{error}; name the receiver's database with --database") from error
        print(f"warning: covers are not read: {error}", file=sys.stderr)
        return routing


async def _read(routing: Routing, path: Path, now: datetime) -> Routing:
    store = SQLiteHistory(path)
    try:
        covers = tuple(one for one in await store.covers(now) if one.state is CoverState.ACTIVE)
        windows = [window_of(one) for one in await store.windows(now)]
        return with_duty(routing, covers, {}, tuple(one for one in windows if one is not None))
    finally:
        await store.close()
