"""Renders PagerDuty schedules tick by tick, as its documentation defines them, and merges equal ticks.

support.pagerduty.com/main/docs/schedule-basics: the highest layer that has somebody is on call, one person at a time,
and overrides stand above all layers. Turns of whole days hand over at the same time on the wall. It shares no code with
the product, nor with the stand-in.
"""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

Json = dict[str, Any]


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


class Layer:
    def __init__(self, layer: Json, zone: str, until: datetime) -> None:
        self.layer, self.zone, self.start = layer, ZoneInfo(zone), instant(layer["start"])
        self.end = instant(layer["end"]) if layer.get("end") else None
        virtual, length = instant(layer["rotation_virtual_start"]), layer["rotation_turn_length_seconds"]
        local = virtual.astimezone(self.zone).replace(tzinfo=None)
        self.turns = [virtual]
        while self.turns[-1] <= until:
            passed = timedelta(seconds=length * len(self.turns))
            by_wall = (local + passed).replace(tzinfo=self.zone).astimezone(UTC)
            self.turns.append(virtual + passed if length % 86400 else by_wall)

    def person(self, at: datetime) -> Json | None:
        if at < self.start or (self.end and at >= self.end) or not self.layer["users"] or not self.allowed(at):
            return None
        turn = max((n for n, begins in enumerate(self.turns) if begins <= at), default=None)
        users = self.layer["users"]
        found: Json | None = users[turn % len(users)]["user"] if turn is not None else None
        return found

    def allowed(self, at: datetime) -> bool:
        local = at.astimezone(self.zone)
        second = local.hour * 3600 + local.minute * 60
        for one in self.layer["restrictions"]:
            hour, minute, _ = one["start_time_of_day"].split(":")
            start, long = int(hour) * 3600 + int(minute) * 60, one["duration_seconds"]
            if one["type"] == "daily_restriction" and (second - start) % 86400 < long:
                return True
            week = local.weekday() * 86400 + second
            start += (one.get("start_day_of_week", 1) - 1) * 86400
            if one["type"] == "weekly_restriction" and (week - start) % 604800 < long:
                return True
        return not self.layer["restrictions"]


def final(schedule: Json, overrides: list[Json], start: datetime, end: datetime, known: set[str]) -> list[Json]:
    """Give the entries of the final schedule."""
    layers = [Layer(layer, schedule["time_zone"], end) for layer in schedule["schedule_layers"]]
    entries: list[Json] = []
    at, last = start, None
    while at < end:
        person = next((o["user"] for o in reversed(overrides) if instant(o["start"]) <= at < instant(o["end"])), None)
        for layer in layers:
            person = person or layer.person(at)
        if person and person["id"] not in known:
            person = None
        stamp = f"{at:%Y-%m-%dT%H:%M:%SZ}"
        if entries and person and last == person:
            entries[-1]["end"] = f"{at + timedelta(minutes=15):%Y-%m-%dT%H:%M:%SZ}"
        elif person:
            entries.append({"start": stamp, "end": f"{at + timedelta(minutes=15):%Y-%m-%dT%H:%M:%SZ}", "user": person})
        last = person
        at += timedelta(minutes=15)
    return entries
