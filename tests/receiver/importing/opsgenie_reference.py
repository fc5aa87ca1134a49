"""Renders Opsgenie schedules minute by minute, as its documentation defines them, and merges equal minutes.

support.atlassian.com/opsgenie/docs/build-an-on-call-schedule; docs.opsgenie.com/docs/schedule-api. Hand-overs are found
by stepping from the start with a calendar, restrictions by looking at the clock on the wall. It shares no code with the
product, nor with the stand-in.
"""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

Json = dict[str, Any]
DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
MINUTES = {"hourly": 60, "daily": 1440, "weekly": 10080}


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def handovers(rotation: Json, zone: str, until: datetime) -> list[datetime]:
    """Every hand-over, by the wall clock for days, by the hours that pass otherwise."""
    step = MINUTES[rotation["type"]] * rotation.get("length", 1)
    first = instant(rotation["startDate"])
    local = first.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    found = list[datetime]()
    while not found or found[-1] <= until:
        if step % 1440:
            found.append(first + timedelta(minutes=step * len(found)))
        else:
            wall = local + timedelta(minutes=step * len(found))
            found.append(wall.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC))
    return found


def allowed(restriction: Json | None, at: datetime, zone: str) -> bool:
    if not restriction:
        return True
    local = at.astimezone(ZoneInfo(zone))
    if restriction["type"] == "time-of-day":
        one, now = restriction["restriction"], local.hour * 60 + local.minute
        start, end = one["startHour"] * 60 + one["startMin"], one["endHour"] * 60 + one["endMin"]
        return bool(start <= now < end if start < end else now >= start or now < end)
    now = local.weekday() * 1440 + local.hour * 60 + local.minute
    for one in restriction["restrictions"]:
        start = DAYS.index(one["startDay"]) * 1440 + one["startHour"] * 60 + one["startMin"]
        end = DAYS.index(one["endDay"]) * 1440 + one["endHour"] * 60 + one["endMin"]
        if start <= now < end if start < end else (now >= start or now < end):
            return True
    return False


def timeline(
    schedule: Json, overrides: list[Json], forwarding: list[Json], start: datetime, end: datetime, step: int = 30
) -> Json:
    """Give what `timeline` answers: the final periods of each rotation; overrides for all are one of their own."""
    zone = schedule["timezone"]
    everybody = [one for one in overrides if not one.get("rotations")]
    rotations = []
    for rotation in schedule["rotations"]:
        own = [one for one in overrides if rotation["name"] in [r["name"] for r in one.get("rotations", [])]]
        turns = handovers(rotation, zone, end)
        rows: list[tuple[datetime, Json]] = []
        at = start
        while at < end:
            rows.append((at, _who(rotation, turns, own, everybody, at, zone)))
            at += timedelta(minutes=step)
        rotations.append({"name": rotation["name"], "periods": _periods(rows, end, forwarding)})
    ticks = [start + timedelta(minutes=step * n) for n in range(int((end - start).total_seconds() // 60 // step))]
    rows = [(at, _covering(everybody, at) or {"type": "none"}) for at in ticks]
    rotations.append({"name": "overrides", "periods": _periods(rows, end, forwarding)})
    return {"finalTimeline": {"rotations": rotations}}


def _covering(overrides: list[Json], at: datetime) -> Json | None:
    found = [one["user"] for one in overrides if instant(one["startDate"]) <= at < instant(one["endDate"])]
    return found[-1] if found else None


def _who(
    rotation: Json, turns: list[datetime], own: list[Json], everybody: list[Json], at: datetime, zone: str
) -> Json:
    ended = rotation.get("endDate") and at >= instant(rotation["endDate"])
    if at < turns[0] or ended or not allowed(rotation.get("timeRestriction"), at, zone) or _covering(everybody, at):
        return {"type": "none"}
    passed = sum(turn <= at for turn in turns) - 1
    person: Json = rotation["participants"][passed % len(rotation["participants"])]
    return _covering(own, at) or person


def _periods(rows: list[tuple[datetime, Json]], end: datetime, forwarding: list[Json]) -> list[Json]:
    periods: list[Json] = []
    for at, person in rows:
        for rule in forwarding:
            mine = person.get("id") == rule["fromUser"]["id"]
            if mine and instant(rule["startDate"]) <= at < instant(rule["endDate"]):
                person = {"type": "user", **rule["toUser"]}  # noqa: PLW2901
                break
        if not periods or periods[-1]["recipient"] != person:
            if periods:
                periods[-1]["endDate"] = f"{at:%Y-%m-%dT%H:%M:%SZ}"
            periods.append({"startDate": f"{at:%Y-%m-%dT%H:%M:%SZ}", "type": "default", "recipient": person})
    if periods:
        periods[-1]["endDate"] = f"{end:%Y-%m-%dT%H:%M:%SZ}"
    return [period for period in periods if period["recipient"]["type"] != "none"]
