"""`python -m receiver schedule`: who is on call now and in the days to come, to read or to subscribe to."""

import argparse
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from process.settings import SettingsError
from receiver.cli.tables import table
from receiver.config.build import routing
from receiver.config.load import Config, load
from receiver.oncall.ical import CalendarError, export, spans
from receiver.oncall.schedule import Shift, shifts
from receiver.policy.coverage import holders, roles
from receiver.policy.current import Live
from receiver.policy.routing import Routing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("--config.file", dest="config", type=Path, required=True, help="receiver.yml")
    parser.add_argument("--at", help="from when, as 2026-11-23T09:00 (UTC, or with an offset); now otherwise")
    parser.add_argument("--days", type=int, default=14, help="how many days ahead (14)")
    parser.add_argument("--schedule", help="this schedule only")
    parser.add_argument("--format", choices=["text", "ics"], default="text")


def run(options: argparse.Namespace, now: datetime) -> int:
    """Print it; SettingsError says what is wrong with the question."""
    config, source = load(options.config)
    start = _moment(options.at) if options.at else now.replace(microsecond=0)
    if not 1 <= options.days <= 366:  # noqa: PLR2004  # a year is enough for anybody
        raise SettingsError("--days: write 1 to 366")
    live = Live(routing(config, source), now)
    end = start + timedelta(days=options.days)
    _read_files(config, live, start, end)
    chosen = _chosen(live.routing, options.schedule)
    if options.format == "ics":
        if len(chosen) != 1:
            raise SettingsError("--format ics is of one schedule; choose it with --schedule")
        found = shifts(live.routing.schedules[chosen[0]], start, end)
        sys.stdout.buffer.write(export(chosen[0], found, live.routing.directory, now))
        return 0
    print(show(live.routing, chosen, start, end))
    return 0


def show(policy: Routing, chosen: list[str], start: datetime, end: datetime) -> str:
    """Write who holds each role now, and the shifts of each schedule with a bar for each day."""
    show_name = policy.directory.name
    lines = [(role, ", ".join(map(show_name, holders(policy, role, start))) or "NOBODY") for role in roles(policy)]
    parts = [f"On call at {start:%a %Y-%m-%d %H:%M} UTC", "", table(("role", "who"), lines, 80)]
    for name in chosen:
        schedule = policy.schedules[name]
        parts += ["", f"Schedule {name} ({schedule.zone}), {start:%Y-%m-%d} to {end:%Y-%m-%d}", ""]
        rows = [_row(policy, shift, schedule.zone) for shift in shifts(schedule, start, end)]
        parts.append(table(("from", "to", "length", "who"), rows, 80))
    return "\n".join(parts)


def _row(policy: Routing, shift: Shift, zone: str) -> tuple[str, str, str, str]:
    local = (at.astimezone(ZoneInfo(zone)) for at in (shift.start, shift.end))
    names = [policy.directory.name(key) for key in shift.people if key in policy.people]
    begins, ends = (f"{at:%a %d %b %H:%M}" for at in local)
    hours = (shift.end - shift.start).total_seconds() / 3600
    length = f"{hours / 24:g}d" if hours % 24 == 0 else f"{hours:g}h" if hours * 4 % 1 == 0 else f"{hours:.1f}h"
    return begins, ends, length, ", ".join(names) or "NOBODY: a gap"


def _read_files(config: Config, live: Live, start: datetime, end: datetime) -> None:
    """Calendars in files are read; one at a URL is known to the running receiver only."""
    directory = live.routing.directory
    for name, settings in config.schedules.items():
        if settings.calendar is None or settings.calendar.file is None:
            continue
        try:
            text = settings.calendar.file.read_bytes()
            live.calendar(name, spans(text, directory, settings.time_zone, start - timedelta(days=2), end))
        except (OSError, CalendarError) as error:
            raise SettingsError(f"schedules.{name}.calendar: {settings.calendar.file}: {error}") from error


def _chosen(policy: Routing, name: str | None) -> list[str]:
    if name is not None and name not in policy.schedules:
        there = ", ".join(policy.schedules) or "none: roles are held by people"
        raise SettingsError(f"there is no schedule {name!r}; there are {there}")
    return [name] if name is not None else list(policy.schedules)


def _moment(given: str) -> datetime:
    try:
        found = datetime.fromisoformat(given)
    except ValueError as error:
        raise SettingsError(f"--at {given!r} is no time; write 2026-11-23T09:00") from error
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
