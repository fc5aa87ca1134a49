"""Two stores' answers are the same, or what differs is named."""

import json

import pytest

from grafana.lint.board import parse
from grafana.queries.compare import counting, difference
from grafana.queries.plan import Request
from grafana.queries.prometheus import Answer, Labels, Points
from tests.grafana.good import dashboard

GET, PUT = {"__name__": "up", "method": "GET"}, {"method": "PUT"}
OF = {**GET, "cluster": "school"}


def answer(*series: tuple[Labels, Points], expr: str = "up", error: str = "") -> Answer:
    request = Request(parse("good.json", json.dumps(dashboard())), "1 A", "range", expr)
    return Answer(request, tuple(one for one, _ in series), 0.1, error, tuple(points for _, points in series))


def told(ours: Answer, theirs: Answer, *, strict: bool = False) -> str:
    found = difference(ours, theirs, ["cluster"], strict=strict)
    return str(found).partition(": ")[2] if found else ""


@pytest.mark.parametrize(
    ("ours", "theirs", "what"),
    [
        ((GET, ((0, "1"),)), (OF, ((0, "1.0000000000001"),)), ""),
        ((GET, ((0, "1"),)), (OF, ((0, "1.01"),)), "1 points differ"),
        ((GET, ((0, "1"),)), (PUT, ((0, "1"),)), 'lost {method="GET"}, more {method="PUT"}'),
        ((GET, ((0, "1"), (300, "1"))), (OF, ((0, "1"),)), ""),  # it had ended, without a stale marker
        ((GET, ((0, "1"), (315, "1"))), (OF, ((0, "1"),)), "1 points differ"),
        ((GET, ((0, "1"),)), (OF, ((0, "1"), (315, "1"))), "1 points differ"),
    ],
)
def test_what_differs_is_named(ours: tuple[Labels, Points], theirs: tuple[Labels, Points], what: str) -> None:
    assert told(answer(ours), answer(theirs)) == what


def test_of_counters_only_the_series_are_compared() -> None:
    expr = "sum(rate(a_total[5m]))"
    assert counting(answer(expr=expr).request)
    assert not counting(answer(expr="sum(a:rate5m)").request)
    one, other, two = (answer(*series, expr=expr) for series in ([(GET, ((0, "1"),))], [(OF, ((0, "2"),))], [PUT_TOO]))
    assert told(one, other) == ""
    assert told(one, other, strict=True) == "1 points differ"
    assert told(one, answer((OF, ((0, "2"),)), PUT_TOO, expr=expr)) == ""
    assert told(one, two) == 'lost {method="GET"}'


def test_what_fails_is_told() -> None:
    assert told(answer((GET, ())), answer(error="parse error")) == "parse error"


def test_seconds_since_then_are_the_same_to_a_few_microseconds() -> None:
    ours, theirs = ((GET, ((0.0, "2.6796820163726807"),)), (OF, ((0.0, "2.6796817779541016"),)))
    assert told(answer(ours, expr="time() - a"), answer(theirs, expr="time() - a")) == ""
    assert told(answer(ours, expr="a"), answer(theirs, expr="a")) == "1 points differ"


PUT_TOO: tuple[Labels, Points] = (PUT, ((0, "1"),))
