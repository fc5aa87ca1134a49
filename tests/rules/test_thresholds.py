"""A quantile that an alert compares with a number: the number is a boundary of the histogram's buckets.

histogram_quantile interpolates within a bucket. With bounds of 1 and 5 a true 2.6 s may read as 4.9 s, and an alert at
3 s fires for nothing; at a boundary the comparison is exact.
"""

import re
from pathlib import Path

import pytest
import yaml

from exporter.config import Config, shipped_catalogue

RULES = [
    rule
    for path in sorted(Path("rules").glob("*.yml"))
    for group in yaml.safe_load(path.read_text("utf-8"))["groups"]
    for rule in group["rules"]
]
BUCKETS = {family.name: family.buckets for family in shipped_catalogue(Config()).families if family.buckets}
_QUANTILE = re.compile(r"histogram_quantile\(.*?(\w+)_bucket", re.DOTALL)
_COMPARED = re.compile(r"([a-z][\w:]*(?:\{benchmark=[^}]*\})?)(?:\{[^}]*\})?\)?\s*[<>]=?\s*(?:bool\s+)?(\d+(?:\.\d+)?)")


def quantiles() -> dict[str, str]:
    """Recorded series that are quantiles, with their histogram; benchmarks by their label, for they share a name."""
    found: dict[str, str] = {}
    for rule in (rule for rule in RULES * 2 if "record" in rule):  # twice: a rule may read one of a later file
        key = rule.get("labels", {}).get("benchmark")
        name = f'{rule["record"]}{{benchmark="{key}"}}' if key else rule["record"]
        direct = _QUANTILE.search(str(rule["expr"]))
        through = next((found[other] for other in found if re.search(rf"(?<![\w:]){other}\b", str(rule["expr"]))), "")
        if direct or through:
            found[name] = direct[1] if direct else through
    return found


RECORDED = quantiles()


def compared(expression: str) -> list[tuple[str, float]]:
    """The histograms of which a quantile is compared, with the number."""
    pairs = [(RECORDED[name], float(number)) for name, number in _COMPARED.findall(expression) if name in RECORDED]
    direct = re.findall(r"histogram_quantile\(.*?(\w+)_bucket.*?\)\s*[<>]=?\s*(\d+(?:\.\d+)?)", expression, re.DOTALL)
    return pairs + [(name, float(number)) for name, number in direct]


ALERTS = {rule["alert"]: pairs for rule in RULES if "alert" in rule and (pairs := compared(str(rule["expr"])))}


def test_quantiles_are_found_at_all() -> None:
    assert {"SlowResponseTime", "PageLoadSlow", "ApiLatencyAboveBenchmark"} <= set(ALERTS)
    assert "MemoryAboveBenchmark" not in ALERTS
    assert compared("histogram_quantile(0.9, sum by (le) (rate(x_seconds_bucket[5m]))) > 2.5") == [("x_seconds", 2.5)]


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_every_threshold_is_a_boundary(alert: str) -> None:
    for name, number in ALERTS[alert]:
        assert name in BUCKETS, f"{alert}: {name} is no histogram of the catalogue"
        assert number in BUCKETS[name], f"{alert}: {number} is no boundary of {name}: add it to catalogue.yml"
