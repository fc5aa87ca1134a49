"""Firings: against a plain machine that evaluates once a step as Prometheus does, and out of the samples of ALERTS."""

import math

from hypothesis import given
from hypothesis import strategies as st

from receiver.reports.review.firing import Firing, episodes, simulated, together

STEP = 30.0


def evaluated(values: list[float | None], limit: float, wait: int, keep: int) -> list[tuple[int, int]]:
    """The states of rules/alerting.go, evaluation by evaluation: first and last step of each firing; keeping counts."""
    fired: list[tuple[int, int]] = []
    active: int | None = None
    firing, gone = False, 0
    for n, value in enumerate([*values, *[None] * (keep + 1)]):
        if value is not None and value > limit:
            active = n if active is None else active
            gone = 0
            if not firing and n - active >= wait:
                firing = True
                fired.append((n, n))
        elif firing:
            gone += 1
            if gone > keep:
                firing, active, gone = False, None, 0
        else:
            active = None
        if firing:
            fired[-1] = (fired[-1][0], n)
    return fired


@given(
    st.lists(st.one_of(st.none(), st.integers(0, 9)), max_size=60),
    st.integers(0, 8),
    st.integers(0, 5),
    st.integers(0, 4),
)
def test_a_simulated_alert_fires_as_prometheus_evaluates_it(
    values: list[float | None], limit: int, wait: int, keep: int
) -> None:
    samples = [(n * STEP, float(value)) for n, value in enumerate(values) if value is not None]
    firings = simulated(samples, lambda value: value > limit, STEP, wait * STEP, keep * STEP)
    expected = evaluated(values, limit, wait, keep)
    assert [(one.start / STEP, one.end / STEP - 1) for one in firings] == [(first, last) for first, last in expected]


def test_a_number_that_is_none_holds_for_nothing() -> None:
    assert simulated([(0.0, math.nan), (30.0, math.nan)], lambda _: True, STEP, 0) == []


def test_two_firings_are_two_and_a_restart_makes_none() -> None:
    first, second = [float(n) for n in range(0, 300, 30)], [float(n) for n in range(480, 600, 30)]
    assert episodes([*first, *second], 30, 120) == [Firing(0, 300), Firing(480, 600)]
    assert episodes([*first[:4], *first[6:]], 30, 120) == [Firing(0, 300)]  # two evaluations missed: `for` is longer
    assert episodes([0.0, 60.0], 30, 0) == [Firing(0, 30), Firing(60, 90)]  # without a `for`, each false one ends it
    assert episodes([], 30, 0) == []


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20)), max_size=12))
def test_the_time_together_counts_no_second_twice(pairs: list[tuple[int, int]]) -> None:
    firings = [Firing(float(start), float(start + length)) for start, length in pairs]
    assert together(firings) == len({second for start, length in pairs for second in range(start, start + length)})
