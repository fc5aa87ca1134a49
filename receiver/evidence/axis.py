"""Chooses readable ticks: round values, and round times in the reader's zone. Pure."""

import math
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_STEPS = (
    *(_MINUTE * n for n in (1, 2, 5, 10, 15, 30)),
    *(_HOUR * n for n in (1, 2, 3, 6, 12)),
    *(_DAY * n for n in (1, 2)),
)  # seconds
_LOOK = 900  # seconds; every zone's offset is a multiple of it
_SAME = 1e-9  # of a value: the digits of ticks that are nearer to each other would say nothing
_ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)


class Scale(msgspec.Struct, frozen=True):
    """The ends of a value axis, and its ticks."""

    low: float
    high: float
    ticks: tuple[float, ...]


def scale(values: tuple[float, ...], most: int) -> Scale:
    """Give an axis on which all values lie with some room, from 0 where they are not far from it."""
    low, high = min(values), max(values)
    same = high - low <= _SAME * max(abs(low), abs(high))
    if low >= 0 and (same or low < high / 2):
        low = 0.0
    if high <= 0 and (same or high > low / 2):
        high = 0.0
    if low == high:
        high = 1.0  # all are 0
    room = (high - low) * 0.06
    top, bottom = high + room * (high != 0.0), low - room * (low != 0.0)
    step = _nice((top - bottom) / most)
    first = math.ceil(bottom / step)
    ticks = tuple(number * step for number in range(first, math.floor(top / step) + 1))
    return Scale(bottom, top, ticks)


def decimals(step: float) -> int:
    """Say how many digits behind the point tell ticks apart that are ``step`` from each other."""
    for digits in range(9):
        if abs(round(step, digits) - step) < step * 1e-6:
            return digits
    return 9


def _nice(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in _ROUND if factor * power >= least * 0.999)


def times(start: datetime, end: datetime, zone: str, most: int) -> tuple[tuple[datetime, bool], ...]:
    """Give at most so many round times between two, each with whether it is midnight in the zone."""
    length = (end - start).total_seconds()
    step = next((one for one in _STEPS if length / one <= most), _STEPS[-1])
    where, look = ZoneInfo(zone), timedelta(seconds=math.gcd(_LOOK, step))
    at = start.replace(minute=0, second=0, microsecond=0)
    found: list[tuple[datetime, bool]] = []
    while at <= end:
        local = at.astimezone(where)
        passed = local.hour * _HOUR + local.minute * _MINUTE
        if at >= start and _is_round(local, passed, step):
            found.append((at, passed == 0))
        at += look
    return tuple(found)


def _is_round(local: datetime, passed: int, step: int) -> bool:
    if step < _DAY:
        return passed % step == 0
    return passed == 0 and local.toordinal() % (step // _DAY) == 0
