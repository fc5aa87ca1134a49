"""Renders GoAlert schedules minute by minute, as its own calculators do.

oncall/state.go and overridecalculator.go, schedule/rotation/rotation.go and schedule/rule/rule.go of target/goalert: a
rotation goes on from whoever is active when it is read, rules look at the clock of the schedule's zone, overrides map
the users of all rules, and a temporary schedule stands alone. It shares no code with the product or the stand-in.
"""

import calendar
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

Json = dict[str, Any]
STEP = timedelta(minutes=15)


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


class State:
    """Who is active in a rotation, from the time at which it was read."""

    def __init__(self, rotation: Json, now: datetime) -> None:
        self.rotation, self.zone, self.index = rotation, ZoneInfo(rotation["timeZone"]), rotation["activeUserIndex"]
        self.number = 0
        while self.handoff(self.number + 1) <= now:
            self.number += 1

    def handoff(self, number: int) -> datetime:
        local = instant(self.rotation["start"]).astimezone(self.zone).replace(tzinfo=None)
        many = number * self.rotation["shiftLength"]
        if self.rotation["type"] == "monthly":  # time.AddDate: what the month lacks runs over into the next
            month = local.month - 1 + many
            year, month = local.year + month // 12, month % 12 + 1
            beyond = max(0, local.day - calendar.monthrange(year, month)[1])
            local = local.replace(year=year, month=month, day=local.day - beyond) + timedelta(days=beyond)
        else:
            local += many * timedelta(hours={"hourly": 1, "daily": 24, "weekly": 168}[self.rotation["type"]])
        return local.replace(tzinfo=self.zone).astimezone(UTC)

    def user(self, at: datetime) -> str:
        while self.handoff(self.number + 1) <= at:
            self.number += 1
            self.index += 1
        users = self.rotation["userIDs"]
        return str(users[self.index % len(users)])


def is_active(rule: Json, at: datetime, zone: str) -> bool:
    local = at.astimezone(ZoneInfo(zone))
    now, day = f"{local:%H:%M}", (local.weekday() + 1) % 7
    days, start, end = rule["weekdayFilter"], rule["start"], rule["end"]
    if start >= end:
        return bool((days[day] and now >= start) or (days[(day - 1) % 7] and now < end))
    return bool(days[day] and start <= now < end)


def shifts(
    schedule: Json, rotations: list[Json], overrides: list[Json], known: set[str], now: datetime, end: datetime
) -> list[Json]:
    """Give what `shifts` answers, from the time of reading on."""
    states = {one["id"]: State(one, now) for one in rotations if one["userIDs"]}
    rows: list[Json] = []
    running: dict[str, Json] = {}
    at = now.replace(second=0, microsecond=0)
    at -= timedelta(minutes=at.minute % 15)
    while at < end:
        there = _there(schedule, states, overrides, max(at, now)) & known
        for user in [user for user in running if user not in there]:
            running.pop(user)["end"] = f"{at:%Y-%m-%dT%H:%M:%SZ}"
        for user in sorted(there - running.keys()):
            running[user] = {"userID": user, "start": f"{at:%Y-%m-%dT%H:%M:%SZ}", "end": f"{end:%Y-%m-%dT%H:%M:%SZ}"}
            rows.append(running[user])
        at += STEP
    return rows


def _there(schedule: Json, states: dict[str, State], overrides: list[Json], at: datetime) -> set[str]:
    for temporary in schedule["temporarySchedules"]:
        if instant(temporary["start"]) <= at < instant(temporary["end"]):
            return {s["userID"] for s in temporary["shifts"] if instant(s["start"]) <= at < instant(s["end"])}
    users = set()
    for assigned in schedule["targets"]:
        target = assigned["target"]
        if any(is_active(rule, at, schedule["timeZone"]) for rule in assigned["rules"]):
            state = states.get(target["id"])
            users |= {target["id"]} if target["type"] == "user" else {state.user(at)} if state else set()
    mine = [one for one in overrides if one["target"]["id"] == schedule["id"]]
    active = [one for one in mine if instant(one["start"]) <= at < instant(one["end"])]
    mapped = {one["removeUserID"]: "" for one in active if one["removeUserID"] and not one["addUserID"]}
    mapped |= {one["removeUserID"]: one["addUserID"] for one in active if one["removeUserID"] and one["addUserID"]}
    users = {mapped.get(user, user) for user in users} - {""}
    return users | {one["addUserID"] for one in active if one["addUserID"] and not one["removeUserID"]}
