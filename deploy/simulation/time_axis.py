"""The simulated school's clock: its days and weeks, and its incidents."""

import math
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from zlib import crc32

ZONE = 7 * 3600  # seconds ahead of UTC: the school lives in Vietnam, which has no summer time
DAY = 86_400
# What goes wrong, for how many minutes, and how often of a hundred incidents.
KINDS = {
    "slow": (24, 22),
    "errors": (24, 16),
    "payments": (38, 14),
    "cache": (32, 16),
    "host": (16, 12),
    "connections": (18, 12),
    "site": (6, 8),
}
WEEK = (1.06, 1.06, 1.06, 1.06, 1.0, 0.95, 0.8)  # how busy each day is, from Monday
# Month and day of public holidays with a fixed date, and of Teachers' Day: lessons go on, but many stay away.
HOLIDAYS = {(1, 1), (4, 30), (5, 1), (9, 2), (11, 20)}
ON_A_HOLIDAY = 0.6
UNREACHABLE = 11.3  # days before the end at which the site was last unreachable, so that uptime is not perfect
# Hours before the end at which the last day has its own: early enough that a dashboard shows them and their end.
LAST_DAY = {"cache": 20.5, "slow": 14.0, "errors": 9.0, "payments": 5.5, "host": 2.5}


@dataclass(frozen=True)
class Incident:
    """Something that goes wrong; times in Unix seconds."""

    kind: str
    start: float
    end: float


def incidents(seed: int, start: float, end: float) -> list[Incident]:
    """Give the incidents between two times: one every two days or so, five on the last day."""
    random_of = random.Random(f"incidents {seed}")  # noqa: S311  # a simulation
    past, at = [], end - DAY - 2 * 3600
    weights = [share for _, share in KINDS.values()]
    while (at := at - random_of.uniform(0.7, 3.4) * DAY) > start:
        kind = random_of.choices(list(KINDS), weights)[0]
        past.append(Incident(kind, at, at + KINDS[kind][0] * 60 * random_of.uniform(0.6, 1.8)))
    past += [Incident(kind, end - h * 3600, end - h * 3600 + KINDS[kind][0] * 60) for kind, h in LAST_DAY.items()]
    unreachable = end - UNREACHABLE * DAY
    if unreachable > start:
        past.append(Incident("site", unreachable, unreachable + KINDS["site"][0] * 60))
    return sorted(past, key=lambda incident: incident.start)


def activity(at: float) -> float:
    """Give how busy the school is at a time; 1 is the mean of a week."""
    local = at + ZONE
    hour = local % DAY / 3600
    evening = 1.6 * math.exp(-(((hour - 19.5) / 3.0) ** 2))
    morning = 0.7 * math.exp(-(((hour - 10) / 3.0) ** 2))
    return (0.25 + evening + morning) / 0.78 * of_day(int(local // DAY))


def of_day(number: int) -> float:
    """Give how busy a day is, by its number since 1970-01-01 where the school is."""
    day = datetime.fromtimestamp(number * DAY, UTC)
    return WEEK[day.weekday()] * (ON_A_HOLIDAY if (day.month, day.day) in HOLIDAYS else 1.0)


def over_days(at: float, days: int) -> float:
    """Give how busy so many days up to a time were, the day of that time as far as it has gone."""
    today, part = divmod((at + ZONE) / DAY, 1)
    shares = [part, *([1.0] * (days - 1)), 1 - part]
    return sum(share * of_day(int(today) - back) for back, share in enumerate(shares)) / days


@dataclass(frozen=True)
class Axis:
    """Equidistant times, and the state of the school at each."""

    seed: int
    start: int
    step: int
    count: int
    incidents: list[Incident] = field(repr=False)

    @cached_property
    def times(self) -> list[int]:
        """Unix seconds."""
        return [self.start + n * self.step for n in range(self.count)]

    @cached_property
    def activity(self) -> list[float]:
        """How busy, 1 is the mean."""
        return [activity(at) for at in self.times]

    @cached_property
    def _dice(self) -> list[float]:
        random_of = random.Random(f"noise {self.seed}")  # noqa: S311  # a simulation
        return [max(-2.5, min(2.5, random_of.gauss(0, 1))) for _ in range(4093)]

    def noise(self, name: str) -> list[float]:
        """Give numbers around 0 of deviation 1 that belong to a name."""
        at = crc32(name.encode()) + self.start // self.step
        dice = self._dice
        return [dice[(at + n) % 4093] for n in range(self.count)]

    def wave(self, name: str, base: float, swing: float = 0.0, noise: float = 0.0) -> list[float]:
        """Give a gauge that follows the school's day: ``base`` and ``swing`` for each unit of activity, and noise."""
        return [
            max(0.0, base + swing * busy + noise * chance)
            for busy, chance in zip(self.activity, self.noise(name), strict=True)
        ]

    def during(self, kind: str) -> list[float]:
        """Give 1 while an incident of a kind lasts, and 0."""
        shown = [0.0] * self.count
        for incident in self.incidents:
            if incident.kind == kind:
                first = max(0, math.ceil((incident.start - self.start) / self.step))
                for n in range(first, min(self.count, math.ceil((incident.end - self.start) / self.step))):
                    shown[n] = 1.0
        return shown

    def events(self, name: str, per_day: float, follow: float = 1.0) -> list[float]:
        """Give how many of something happen before each moment since the one before; ``follow`` 0: at all hours."""
        each = per_day * self.step / DAY
        return [
            each * (1 - follow + follow * busy) * (1 + 0.12 * chance)
            for busy, chance in zip(self.activity, self.noise(name), strict=True)
        ]
