"""The rules of the live stories are the shipped ones, only quicker: lengths of time change, and thresholds do not."""

from typing import Any

import pytest
import yaml
from promql_parser import parse, parse_duration

from tests.stories.quick import Quick
from tests.stories.stack import ROOT

QUICK = Quick(60)


@pytest.mark.parametrize(
    ("shipped", "quick"),
    [
        ('rate(a_total{fstype=~"ext[234]|[0-9]+m"}[5m])', 'rate(a_total{fstype=~"ext[234]|[0-9]+m"}[5000ms])'),
        ("increase(a_total[1h] offset 1w) > 30", "increase(a_total[60000ms] offset 10080000ms) > 30"),
        ("up offset 5m == 1", "up offset 5000ms == 1"),
        ("predict_linear(a_bytes[6h], 24 * 3600) < 0", "predict_linear(a_bytes[360000ms], 24 * 60) < 0"),
        ("time() - a_timestamp_seconds > 26 * 3600", "time() - a_timestamp_seconds > 26 * 3600"),
    ],
)
def test_lengths_of_time_are_divided_and_thresholds_are_not(shipped: str, quick: str) -> None:
    rule = {"alert": "A", "expr": shipped, "for": "1m"}
    rules = {"groups": [{"name": "g", "interval": "30s", "rules": [rule]}]}
    (group,) = QUICK.rules(rules)["groups"]
    assert group == {"name": "g", "interval": "500ms", "rules": [{"alert": "A", "expr": quick, "for": "1000ms"}]}


def test_the_windows_that_the_objectives_write_in_seconds_are_divided_as_well() -> None:
    file = QUICK.rules(yaml.safe_load((ROOT / "rules/slo.yml").read_text("utf-8")))
    rules = [rule for group in file["groups"] for rule in group["rules"]]
    written = {rule["record"]: rule["expr"] for rule in rules if "slo:bad_events:increase" in rule.get("record", "")}
    assert written == {
        "slo:bad_events:increase1h": "sum_over_time(slo:bad_events:rate5m[60000ms:5000ms]) * 5",
        "slo:bad_events:increase6h": "sum_over_time(slo:bad_events:rate5m[360000ms:5000ms]) * 5",
    }
    uptime = [rule["expr"] for rule in rules if rule["expr"].startswith("sum(count_over_time(probe_success")]
    assert uptime == ['sum(count_over_time(probe_success{job="blackbox-http"}[5000ms])) / 5']


def same(rule: dict[str, Any]) -> tuple[object, ...]:
    waits = [parse_duration(rule[name]) for name in ("for", "keep_firing_for") if name in rule]
    return rule.get("alert", rule.get("record")), parse(rule["expr"]).prettify(), waits, rule.get("labels")


def test_in_real_time_they_are_the_shipped_ones() -> None:
    for path in (ROOT / "rules").glob("*.yml"):
        shipped = yaml.safe_load(path.read_text("utf-8"))
        for group, again in zip(shipped["groups"], Quick(1).rules(shipped)["groups"], strict=True):
            assert parse_duration(group["interval"]) == parse_duration(again["interval"])
            assert [same(rule) for rule in group["rules"]] == [same(rule) for rule in again["rules"]]
