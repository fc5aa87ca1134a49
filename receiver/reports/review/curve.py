"""Thins many samples of many series to a line that a plot can show, without losing the peaks that matter. Pure."""

import math
from collections.abc import Sequence

from receiver.reports.review.firing import Sample

POINTS = 160  # of a line: one for each few pixels


def thinned(
    series: Sequence[Sequence[Sample]], start: float, end: float, *, above: bool, points: int = POINTS
) -> tuple[tuple[float, float | None], ...]:
    """Give the value nearest to firing within each part of the time, of all series; None where there is none."""
    worst: list[float | None] = [None] * points
    width = (end - start) / points
    for samples in series:
        for at, value in samples:
            n = min(points - 1, int((at - start) / width))
            known = worst[n]
            if math.isfinite(value) and (known is None or (value > known) == above):
                worst[n] = value
    return tuple((start + n * width, value) for n, value in enumerate(worst))
