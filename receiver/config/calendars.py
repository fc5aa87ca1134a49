"""Says which calendars receiver.yml names, and where they are."""

from process.settings import Source, require_secret
from receiver.clients.calendar import Feed
from receiver.config.load import Config


def feeds(config: Config, source: Source) -> list[tuple[Feed, float]]:
    """List each calendar with the seconds between two readings; SettingsError if the secret of its URL is missing."""
    return [
        (feed(config, source, name), float(settings.calendar.every))
        for name, settings in config.schedules.items()
        if settings.calendar is not None
    ]


def feed(config: Config, source: Source, name: str) -> Feed:
    """Give the calendar of one schedule, which must have one. Raises SettingsError as above."""
    settings = config.schedules[name]
    calendar = settings.calendar
    if calendar is None:
        raise source.error(f".schedules.{name}", "has no calendar")
    at = f".schedules.{name}.calendar.url"
    url = None if calendar.file else require_secret(source, at, calendar.url, calendar.url_file)
    return Feed(name, settings.time_zone, calendar.file, url, calendar.private_redirects)
