"""Says how close a series came to its threshold, and what other thresholds would have made of it. Pure."""

import math
from collections.abc import Mapping, Sequence

import msgspec

from receiver.clients.promql import Comparison
from receiver.reports.review.firing import Firing, Sample, simulated

SHARES = (0.01, 0.05, 0.5, 0.95, 0.99)
WEEK = 7 * 86_400.0
_FACTORS = (0.5, 0.8, 1.25, 1.5, 2.0, 3.0)
_OFTEN = 1.0  # firings a week that somebody can bear and still look at each
_APART = 0.08  # two thresholds that are nearer to each other than that are one
_SPACE = 0.25  # of the threshold: nearer than that, a threshold that never fired is not loose


class Candidate(msgspec.Struct, frozen=True):
    """A threshold, and what it would have done."""

    limit: float
    firings: int
    seconds: float
    current: bool = False


class Closeness(msgspec.Struct, frozen=True):
    """How a series lay to its threshold: quantiles by SHARES, and the value that came closest to firing."""

    quantiles: tuple[float, ...]
    closest: float
    samples: int


class Advice(msgspec.Struct, frozen=True):
    """What to do: `keep`, `loosen` or `tighten`, to which threshold, and why."""

    verb: str
    limit: float | None
    why: str


def closeness(compared: Comparison, series: Sequence[Sequence[Sample]]) -> Closeness | None:
    """Look at all samples of all series; None if there is no number among them."""
    values = sorted(value for samples in series for _, value in samples if math.isfinite(value))
    if not values:
        return None
    return Closeness(
        tuple(quantile(values, share) for share in SHARES),
        values[-1] if compared.above else values[0],
        len(values),
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """Interpolate as Prometheus does; ``ordered`` is not empty."""
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def candidates(
    compared: Comparison, series: Mapping[str, Sequence[Sample]], step: float, wait: float, keep: float
) -> tuple[Candidate, ...]:
    """Try the threshold, others around it, and those that the series itself suggests; in the order of their numbers."""
    limit = compared.limit
    if limit is None or not compared.tunable:
        return ()
    values = sorted(value for samples in series.values() for _, value in samples if math.isfinite(value))
    tried = {limit, *(rounded(limit * factor) for factor in _FACTORS)}
    if values:
        shares = (0.99, 0.999) if compared.above else (0.01, 0.001)
        seen = {rounded(quantile(values, share)) for share in shares}
        for one in sorted(seen):
            if all(abs(one - other) > _APART * abs(other) for other in tried):
                tried.add(one)
        if values[0] >= 0 and values[-1] <= 1 and limit < 1:  # a share has no threshold of more than all
            tried = {one for one in tried if one < 1}
    return tuple(
        Candidate(one, len(firings), sum(firing.seconds for firing in firings), current=one == limit)
        for one in sorted(tried)
        for firings in [_firings(compared, series, one, step, wait, keep)]
    )


def _firings(
    compared: Comparison, series: Mapping[str, Sequence[Sample]], limit: float, step: float, wait: float, keep: float
) -> list[Firing]:
    firings: list[Firing] = []
    for samples in series.values():
        firings += simulated(samples, lambda value: compared.holds(value, limit), step, wait, keep)
    return firings


def advise(compared: Comparison, near: Closeness | None, tried: Sequence[Candidate], seconds: float) -> Advice | None:
    """Suggest one of the candidates for a period of ``seconds``; None where nothing can be said."""
    now = next((one for one in tried if one.current), None)
    if now is None or near is None:
        return None
    bearable = max(1.0, _OFTEN * seconds / WEEK)
    outward = [one for one in tried if (one.limit > now.limit) == compared.above and not one.current]
    outward.sort(key=lambda one: abs(one.limit - now.limit))
    if now.firings > bearable:
        for one in outward:
            if one.firings <= bearable:
                return Advice("loosen", one.limit, f"{now.firings} firings, {one.firings} with it")
        return Advice("keep", None, f"{now.firings} firings, and no threshold near it gives fewer: look at the cause")
    if now.firings:
        return Advice("keep", None, "it fires seldom enough to look at each")
    return _tighter(compared, near, now, tried)


def _tighter(compared: Comparison, near: Closeness, now: Candidate, tried: Sequence[Candidate]) -> Advice:
    """Suggest the middle way to what was seen, if that is far and would have been as quiet."""
    sign = 1.0 if compared.above else -1.0
    room = sign * (now.limit - near.closest)
    if room <= 0:
        return Advice("keep", None, f"it was crossed ({show(near.closest)}), but never for long enough")
    if near.quantiles[0] == near.quantiles[-1] == near.closest:
        return Advice("keep", None, "its series never moved: nothing is known of it")
    if room <= _SPACE * abs(now.limit):
        return Advice("keep", None, f"quiet, and {show(near.closest)} came near")
    least = near.closest + sign * max(_SPACE * abs(near.closest), room / 3)
    inward = [one for one in tried if not one.firings and 0 <= sign * (one.limit - least) < sign * (now.limit - least)]
    if not inward:
        return Advice("keep", None, "quiet")
    best = min(inward, key=lambda one: sign * one.limit)
    return Advice("tighten", best.limit, f"never came nearer than {show(near.closest)}")


def rounded(value: float) -> float:
    """Give two digits, as a person would write a threshold."""
    return float(f"{value:.2g}")


def show(value: float) -> str:
    """Write a number short."""
    if value == 0:
        return "0"
    if abs(value) >= 1e15 or abs(value) < 1e-4:  # noqa: PLR2004  # where digits no longer help
        return f"{value:.2e}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{float(f'{value:.3g}'):g}"  # noqa: PLR2004  # as above
