"""Reads the calendars of a configuration for a command that runs once: `check`, `schedule` and `review`."""

from datetime import datetime, timedelta

import aiohttp
import msgspec

from process.settings import SettingsError, Source
from receiver.clients.calendar import Expander, FeedError, fetch
from receiver.config.calendars import feed
from receiver.config.load import Config
from receiver.oncall.calendar_entries import CalendarError, Remark, remarks, spans
from receiver.oncall.schedule import side_by_side
from receiver.policy.current import Current

_BEFORE = timedelta(days=2)


class Found(msgspec.Struct, frozen=True):
    """What came of one schedule's calendar: ``failure`` says why it could not be read, else it is empty."""

    schedule: str
    failure: str = ""
    remarks: tuple[Remark, ...] = ()


async def fill(config: Config, source: Source, current: Current, start: datetime, end: datetime) -> list[Found]:
    """Read each calendar into ``current`` as the running receiver does; one that fails leaves its schedule as it is."""
    outcomes = []
    expander = Expander()
    async with aiohttp.ClientSession() as session:
        for name, settings in config.schedules.items():
            if settings.calendar is None:
                continue
            try:
                wanted = feed(config, source, name)
                calendar = await expander.expand(await fetch(wanted, session), wanted.zone, start - _BEFORE, end)
            except (SettingsError, FeedError, CalendarError) as error:
                outcomes.append(Found(name, str(error)))
                continue
            directory = current.routing.directory
            current.set_calendar(name, side_by_side(spans(calendar, directory)))
            outcomes.append(Found(name, remarks=remarks(calendar, directory)))
    return outcomes
