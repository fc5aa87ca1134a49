"""Reads the times of the command line: in UTC, or with an offset."""

from datetime import UTC, datetime

from process.settings import SettingsError

_SHOWN = 40  # characters of a wrong one


def instant(text: str, option: str) -> datetime:
    """Give it in UTC; SettingsError if it is none, or one that cannot be told in every time zone."""
    try:
        read = datetime.fromisoformat(text)
        at = read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        at = datetime.min.replace(tzinfo=UTC)
    if not 1970 <= at.year < 2200:  # noqa: PLR2004  # what the receiver itself believes of an alert
        raise SettingsError(f"{option} {text[:_SHOWN]!r} is no time of the years 1970 to 2199; write 2026-11-23T03:00")
    return at
