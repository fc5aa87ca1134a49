"""Closeness and advice: quantiles against the library's, more room never more firing, and each kind of advice."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.clients.promql import Comparison
from receiver.reports.review.threshold import WEEK, Advice, Candidate, advise, candidates, closeness, quantile, show

ABOVE, BELOW = Comparison("a", ">", 10.0, "a"), Comparison("a", "<", 10.0, "a")
STEP = 60


def samples(values: list[float]) -> list[tuple[float, float]]:
    return [(float(n * STEP), value) for n, value in enumerate(values)]


def advice(compared: Comparison, values: list[float], weeks: float = 1.0) -> Advice | None:
    series = {"one": samples(values)}
    tried = candidates(compared, series, STEP, 0, 0)
    return advise(compared, closeness(compared, list(series.values())), tried, weeks * WEEK)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=50))
def test_quantiles_are_those_of_the_library(values: list[float]) -> None:
    expected = statistics.quantiles(values, n=20, method="inclusive")
    quantiles = [quantile(sorted(values), n / 20) for n in range(1, 20)]
    assert quantiles == pytest.approx(expected, rel=1e-6, abs=1e-6)


@given(st.lists(st.integers(0, 40), max_size=60), st.sampled_from([ABOVE, BELOW]), st.integers(0, 4))
def test_a_looser_threshold_never_fires_for_longer(values: list[int], compared: Comparison, wait: int) -> None:
    tried = candidates(compared, {"one": samples([float(v) for v in values])}, STEP, wait * STEP, 0)
    ordered = tried if compared.above else tried[::-1]  # from tight to loose
    times = [one.seconds for one in ordered]
    assert times == sorted(times, reverse=True)
    assert [one.limit for one in tried if one.current] == [10.0]


def test_the_closest_value_is_the_one_nearest_to_firing() -> None:
    near = closeness(ABOVE, [samples([1, 2, 3]), samples([7, 5])])
    assert near is not None
    assert (near.closest, near.samples, near.quantiles[2]) == (7, 5, 3)
    under = closeness(BELOW, [samples([11, 20])])
    assert under is not None
    assert under.closest == 11
    assert closeness(ABOVE, [samples([float("nan")])]) is None


def test_what_fires_too_often_is_loosened_to_the_nearest_that_is_bearable() -> None:
    advised = advice(ABOVE, [0, 11, 0, 11, 0, 11, 0, 16] * 3)
    assert advised is not None
    assert (advised.verb, advised.limit) == ("loosen", 20.0)  # 12 fires at 16 still, and so does 15
    assert advised.why == "12 firings, 0 with it"
    seldom = advice(ABOVE, [0, 11, 0, 11, 0])
    assert seldom is not None
    assert seldom.verb == "loosen"
    once = advice(ABOVE, [0, 11, 0])
    assert once == Advice("keep", None, "it fires seldom enough to look at each")


def test_a_month_may_have_more_firings_than_a_week() -> None:
    values = [0.0, 11.0] * 4
    in_a_week, in_a_month = advice(ABOVE, values), advice(ABOVE, values, weeks=4.3)
    assert in_a_week is not None
    assert in_a_month is not None
    assert (in_a_week.verb, in_a_month.verb) == ("loosen", "keep")


@pytest.mark.parametrize(
    ("compared", "values", "expected"),
    [
        (ABOVE, [1.0, 2.0, 1.5], Advice("tighten", 5.0, "never came nearer than 2")),
        (ABOVE, [1.0, 2.0, 9.5], Advice("keep", None, "quiet, and 9.5 came near")),
        (ABOVE, [2.0, 2.0, 2.0], Advice("keep", None, "its series never moved: nothing is known of it")),
        (BELOW, [40.0, 30.0, 50.0], Advice("tighten", 20.0, "never came nearer than 30")),
        (ABOVE, [], None),
    ],
)
def test_a_quiet_alert(compared: Comparison, values: list[float], expected: Advice | None) -> None:
    assert advice(compared, values) == expected


def test_what_was_crossed_for_too_short_a_time_is_not_called_quiet() -> None:
    series = {"one": samples([1, 2, 30, 2])}
    tried = candidates(ABOVE, series, STEP, 300, 0)
    advised = advise(ABOVE, closeness(ABOVE, list(series.values())), tried, WEEK)
    assert advised == Advice("keep", None, "it was crossed (30), but never for long enough")


def test_a_share_is_never_asked_to_be_more_than_all() -> None:
    compared = Comparison("a", ">", 0.8, "a")
    tried = candidates(compared, {"one": samples([0.1, 0.99, 0.5])}, STEP, 0, 0)
    assert max(one.limit for one in tried) < 1
    assert Candidate(0.8, 1, 60.0, current=True) in tried


def test_numbers_are_short() -> None:
    assert [show(v) for v in (0.0, 0.123456, 3.0, 1234567.0, -0.00001)] == ["0", "0.123", "3", "1,234,567", "-1.00e-05"]
