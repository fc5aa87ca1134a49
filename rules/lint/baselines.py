"""What the promtool tests show of alerts that compare with a baseline: recognised by the names of the tests.

A test whose name holds one of MARKERS, and that has cases of an alert, shows the alert in that situation.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from promql_parser import parse_duration

OUTAGE, LONG_OUTAGE, GAP, NEW = "[outage of 3 h]", "[outage of 8 d]", "[gap]", "[new Prometheus]"
MARKERS = (OUTAGE, LONG_OUTAGE, GAP, NEW)
# A case of a long outage shows the alert firing after at least so many seconds.
LATEST = {OUTAGE: 3 * 3600.0, LONG_OUTAGE: 8 * 86_400.0}
_FIRING = re.compile(r'ALERTS\{alertname="(\w+)", alertstate="firing"\}')


class _Loader(yaml.CSafeLoader):
    """YAML in which `0x15` is promtool's series of zeros and no hexadecimal number."""


_INTEGER = re.compile(r"[-+]?(?:0|[1-9]\d*)$")
_Loader.yaml_implicit_resolvers = {
    first: [(tag, _INTEGER if tag.endswith(":int") else pattern) for tag, pattern in resolvers]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def shown(folder: Path) -> dict[str, frozenset[str]]:
    """Return the markers shown for each alert by the tests of a folder; yaml.YAMLError if a file cannot be read."""
    markers_of_alert: dict[str, set[str]] = {}
    for path in sorted(folder.glob("*.yml")):
        text = path.read_text("utf-8")
        if any(marker in text for marker in MARKERS):
            for test in yaml.load(text, _Loader)["tests"]:  # noqa: S506  # a safe loader
                for alert, marker in _of_test(test):
                    markers_of_alert.setdefault(alert, set()).add(marker)
    return {alert: frozenset(markers) for alert, markers in markers_of_alert.items()}


def _of_test(test: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    named = [marker for marker in MARKERS if marker in str(test.get("name", ""))]
    if not named:
        return
    cases = list(_cases(test))
    gaps = any(re.search(r"(?:^|\s)_", str(series["values"])) for series in test.get("input_series") or ())
    for marker in named:
        for alert, at, fires in cases:
            if _shows(marker, at, fires=fires, gaps=gaps):
                yield alert, marker


def _shows(marker: str, at: float, *, fires: bool, gaps: bool) -> bool:
    """Return whether a case shows what the marker says: firing late in an outage, samples missing, quiet at first."""
    if marker in LATEST:
        return at >= LATEST[marker] and (fires or marker == OUTAGE)
    return gaps if marker == GAP else not fires


def _cases(test: Mapping[str, Any]) -> Iterator[tuple[str, float, bool]]:
    for case in test.get("alert_rule_test") or ():
        yield case["alertname"], _seconds(case["eval_time"]), bool(case.get("exp_alerts"))
    for case in test.get("promql_expr_test") or ():
        for alert in _FIRING.findall(case["expr"]):
            yield alert, _seconds(case["eval_time"]), bool(case.get("exp_samples"))


def _seconds(duration: object) -> float:
    return parse_duration(str(duration)).total_seconds() if re.search("[1-9]", str(duration)) else 0.0
