"""Mutants: each number, comparison, `for` and window of a rule changes once, and nothing else does."""

import pytest
from promql_parser import parse

from rules.mutation import Rule, changes, mutants, name_of


def whats(expression: str) -> list[str]:
    return [what for what, _ in changes({"record": "r", "expr": expression})]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("x > 0.05", ["> becomes >=", "> becomes <", "0.05 becomes 0.04", "0.05 becomes 0.0625"]),
        ("x <= 5", ["<= becomes <", "<= becomes >=", "5 becomes 4", "5 becomes 6"]),
        ("up == 0", ["== becomes !=", "0 becomes 1"]),
        # A share near 1 moves by its distance to 1; and 20 a fifth, as 86400 does.
        ("x != 0.95", ["!= becomes ==", "0.95 becomes 0.9375", "0.95 becomes 0.96"]),
        ("x + 20", ["20 becomes 16", "20 becomes 24"]),
        ("rate(x[5m])", ["[5m] becomes [2m]", "[5m] becomes [10m]"]),
        ("x offset 1w", ["offset 1w becomes offset 3d", "offset 1w becomes offset 2w"]),
        ("max_over_time(x[1h:5m])", [f"[1h:5m] becomes [{new}]" for new in ("30m:5m", "2h:5m", "1h:2m", "1h:10m")]),
        # The bucket that events are read from is a threshold; other labels are not, and names with digits are none.
        ('x1_total{le="0.5", a="7"}', ['le="0.5" becomes le="0.25"', 'le="0.5" becomes le="1"']),
        ('label_replace(x{status=~"5.."}, "a", "5m > 3", "", "")', []),
        ("x / 2 / 2", ["2 becomes 1", "2 becomes 3", "2 becomes 1 (no. 2)", "2 becomes 3 (no. 2)"]),
    ],
)
def test_what_changes(expression: str, expected: list[str]) -> None:
    assert whats(expression) == expected


def test_how_long_an_alert_waits_changes_and_an_alert_that_does_not_wait_begins_to() -> None:
    rule: Rule = {"alert": "A", "expr": "x", "for": "10m", "keep_firing_for": "15m"}
    assert [what for what, _ in changes(rule)] == [
        *("for: 10m becomes 5m", "for: 10m becomes 15m"),
        *("keep_firing_for: 15m becomes 10m", "keep_firing_for: 15m becomes 20m"),
    ]
    assert list(changes({"alert": "A", "expr": "x"})) == [
        ("for: nothing becomes 1m", {"alert": "A", "expr": "x", "for": "1m"})
    ]


def test_a_mutant_differs_in_one_place_and_still_parses() -> None:
    text = 'sum by (job) (rate(x{job="a"}[5m])) / (sum(rate(y[5m] offset 1d)) > 0.5)\n  and z5 >= 14.4 * (1 - w)'
    made = [rule["expr"] for _, rule in changes({"record": "r", "expr": text})]
    assert len(made) == len(set(made)) == 16
    for one in made:
        parse(one)
        begin = next(n for n, (a, b) in enumerate(zip(one, text, strict=False)) if a != b)
        # What follows the change is as it was: at most the change itself is missing from the end.
        assert text.endswith(one[begin + 8 :]), one


def test_mutants_know_where_their_rule_stands_and_what_it_is_called() -> None:
    target = {"record": "t", "expr": "vector(3)", "labels": {"of": "a"}}
    content = {
        "groups": [{"name": "one", "rules": []}, {"name": "two", "rules": [{"alert": "A", "expr": "x"}, target]}]
    }
    *_, last = mutants("f.yml", content)
    assert (last.place.file, last.place.group, last.place.position) == ("f.yml", "two", 1)
    assert last.title == 't{of="a"}: 3 becomes 4'
    assert name_of({"record": "t", "expr": "x"}) == "t"
