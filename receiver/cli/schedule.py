"""`python -m receiver schedule`: who is on call now and in the days to come, to read or to subscribe to."""

import argparse
import asyncio
import sys
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from process.settings import SettingsError, Source
from receiver.cli.command import Command
from receiver.cli.instant import instant
from receiver.cli.stored_duty import with_stored_duty
from receiver.cli.tables import table
from receiver.config.build import build_routing
from receiver.config.load import Config, load
from receiver.messages.i18n import duration
from receiver.oncall.ical import export
from receiver.oncall.schedule import Shift, shifts
from receiver.policy.coverage import holders, role_shifts, roles
from receiver.policy.current import Current
from receiver.policy.routing import Routing
from receiver.reports.calendars import fill


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("--config.file", dest="config", type=Path, required=True, help="receiver.yml")
    parser.add_argument("--at", help="from when, as 2026-11-23T09:00 (UTC, or with an offset); now otherwise")
    parser.add_argument("--days", type=int, default=14, help="how many days ahead (14)")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--schedule", help="this schedule only")
    only.add_argument("--role", help="this role only, whoever and whatever holds it")
    parser.add_argument("--format", choices=["text", "ics"], default="text")
    parser.add_argument("--database", type=Path, help="covers from here; `database` of receiver.yml, if it is there")


def run(options: argparse.Namespace, now: datetime) -> int:
    """Print it; SettingsError says what is wrong with the question."""
    config, source = load(options.config)
    start = instant(options.at, "--at") if options.at else now.replace(microsecond=0)
    if not 1 <= options.days <= 366:  # noqa: PLR2004  # a year is enough for anybody
        raise SettingsError("--days: write 1 to 366")
    current = Current(build_routing(config, source), now)
    end = start + timedelta(days=options.days)
    read_calendars(config, source, current, start, end)
    routing = with_stored_duty(current.routing, options.database, config, source, start)
    if options.role is not None and options.role not in roles(routing):
        raise SettingsError(f"there is no role {options.role!r} in the matrix; there are {', '.join(roles(routing))}")
    chosen = [] if options.role else _chosen(routing, options.schedule)
    if options.format == "ics":
        if len(chosen) != 1 and not options.role:
            raise SettingsError("--format ics is of one schedule; choose it with --schedule")
        name = options.role or chosen[0]
        listed = role_shifts(routing, name, start, end) if options.role else shifts(routing.schedules[name], start, end)
        sys.stdout.buffer.write(export(name, listed, routing.directory, now, config.site.name))
        return 0
    # A role that one schedule holds is shown by that schedule.
    joint = [role for role in roles(routing) if len(routing.roles[role]) > 1 and options.schedule is None]
    print(show(routing, chosen, [options.role] if options.role else joint, start, end))
    return 0


def show(routing: Routing, chosen: list[str], joint: list[str], start: datetime, end: datetime) -> str:
    """Write who holds each role now, and the shifts of the chosen schedules and roles."""
    show_name = routing.directory.name
    lines = [(role, ", ".join(map(show_name, holders(routing, role, start))) or "NOBODY") for role in roles(routing)]
    parts = [f"On call at {start:%a %Y-%m-%d %H:%M} UTC", "", table(("role", "who"), lines, 80)]
    for name in chosen:
        schedule = routing.schedules[name]
        parts += ["", f"Schedule {name} ({schedule.zone}), {start:%Y-%m-%d} to {end:%Y-%m-%d}", ""]
        rows = [_row(routing, shift, schedule.zone) for shift in shifts(schedule, start, end)]
        parts.append(table(("from", "to", "length", "who"), rows, 80))
    for role in joint:
        parts += ["", f"Role {role} ({', '.join(routing.roles[role])}; UTC), {start:%Y-%m-%d} to {end:%Y-%m-%d}", ""]
        rows = [_row(routing, shift, "UTC") for shift in role_shifts(routing, role, start, end)]
        parts.append(table(("from", "to", "length", "who"), rows, 80))
    return "\n".join(parts)


def _row(routing: Routing, shift: Shift, zone: str) -> tuple[str, str, str, str]:
    local = (at.astimezone(ZoneInfo(zone)) for at in (shift.start, shift.end))
    names = [routing.directory.name(key) for key in shift.people if key in routing.people]
    begins, ends = (f"{at:%a %d %b %H:%M}" for at in local)
    return begins, ends, duration(shift.end - shift.start), ", ".join(names) or "NOBODY: a gap"


def read_calendars(config: Config, source: Source, current: Current, start: datetime, end: datetime) -> None:
    """Read what the running receiver reads; what it cannot use is said on standard error."""
    for outcome in asyncio.run(fill(config, source, current, start, end)):
        at = f"schedules.{outcome.schedule}.calendar"
        if outcome.failure:
            raise SettingsError(f"{at}: {outcome.failure}")
        for remark in outcome.remarks:
            print(f"warning: {at}: {remark.entry}: {remark.reason.value}", file=sys.stderr)


def _chosen(routing: Routing, name: str | None) -> list[str]:
    if name is not None and name not in routing.schedules:
        there = ", ".join(routing.schedules) or "none: roles are held by people"
        raise SettingsError(f"there is no schedule {name!r}; there are {there}")
    return [name] if name is not None else list(routing.schedules)


COMMAND = Command(add_arguments, lambda options, clock: run(options, clock()))
