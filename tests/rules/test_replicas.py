"""Rules and dashboards are right with several exporters and receivers: what all of them show alike is read once."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from exporter.catalogue.model import SELF
from exporter.config import Config, shipped_catalogue
from rules.lint.expression import Path as Above
from rules.lint.expression import name_of, operator, selectors

# What exporters tell each other, so that each shows the same.
OF_EXPORTERS = {
    family.name
    for family in shipped_catalogue(Config()).families
    if family.type == "gauge" and (family.event != SELF or family.distinct)
}
# What receivers of one database read from it, and what they compute from the same configuration.
OF_RECEIVERS = {
    f"receiver_{name}"
    for name in (
        *("incidents", "open_incident_opened_timestamp_seconds", "incident_unacknowledged_age_seconds"),
        "incident_unacknowledged_overdue_seconds",
        *("outbox_oldest_age_seconds", "watchdog_last_seen_timestamp_seconds", "heartbeat_last_seen_timestamp_seconds"),
        *("heartbeat_missed", "oncall_covered", "oncall_info", "oncall_next_gap_seconds", "push_devices"),
        *(
            "reconcile_last_success_timestamp_seconds",
            "resolved_still_firing",
            "calendar_last_success_timestamp_seconds",
        ),
    )
}
SHARED = OF_EXPORTERS | OF_RECEIVERS
ALIKE = {"max", "min", "absent", "absent_over_time"}


def rules() -> Iterator[tuple[str, str]]:
    for path in sorted(Path("rules").glob("*.yml")):
        for group in yaml.load(path.read_text("utf-8"), yaml.CSafeLoader)["groups"]:
            for rule in group["rules"]:
                yield rule.get("alert") or rule["record"], rule["expr"]


def queries() -> Iterator[tuple[str, str]]:
    for path in sorted(Path("grafana/dashboards").glob("*.json")):
        for text in _expressions(json.loads(path.read_text("utf-8"))):
            timed = re.sub(r"\$__\w+|\$\{__\w+\}", "1h", text)
            yield path.stem, re.sub(r"\$\{?\w+\}?", "x", timed)


def _expressions(node: Any) -> Iterator[str]:  # noqa: ANN401  # JSON
    if isinstance(node, dict):
        if isinstance(node.get("expr"), str):
            yield node["expr"]
        node = list(node.values())
    if isinstance(node, list):
        for one in node:
            yield from _expressions(one)


def is_read_once(above: Above) -> bool:
    """Whether max or min, and neither of them for each instance, takes the series before anything else adds them up."""
    for node, outside in zip(reversed(above), [*reversed(above[:-1]), None], strict=True):
        name = operator(node)
        if not isinstance(node, promql_parser.AggregateExpr):
            if name in ALIKE:
                return True
            continue
        by = node.modifier is not None and node.modifier.type == promql_parser.AggModifierType.By
        if name == "count":  # whether there is any
            return isinstance(outside, promql_parser.BinaryExpr) and operator(outside) == ">"
        return name in ALIKE and not (node.modifier is not None and (not by or "instance" in node.modifier.labels))
    return False


def wrong(expression: str) -> set[str]:
    found = selectors(promql_parser.parse(expression))
    return {name_of(one) for one, above in found if name_of(one) in SHARED and not is_read_once(above)}


EVERY = [*rules(), *queries()]


def test_there_is_something_to_judge() -> None:
    read = {name_of(one) for _, text in EVERY for one, _ in selectors(promql_parser.parse(text))}
    assert len(read & OF_EXPORTERS) > 10
    assert len(read & OF_RECEIVERS) > 8


def test_gauges_that_all_replicas_show_alike_are_read_once() -> None:
    found = {(name, metric) for name, expression in EVERY for metric in wrong(expression)}
    # `unless on (job)` asks whether any receiver has it.
    found -= {("ReceiverWatchdogLate", "receiver_watchdog_last_seen_timestamp_seconds")}
    assert not found, f"put max by (...) or min by (...) around these, without instance: {found}"


@pytest.mark.parametrize(
    ("expression", "is_wrong"),
    [
        ("sum(class_seats_booked)", True),
        ("class_seats_booked > 3", True),
        ("max by (job, instance) (class_seats_booked)", True),
        ("sum(max by (class_type) (class_seats_booked))", False),
        ("time() - max(backup_last_success_timestamp_seconds)", False),
        ("max by (database) (sum by (database, instance) (backup_last_success_timestamp_seconds))", True),
        ("max without (class_type) (class_seats_booked)", True),
        ("count(class_seats_booked) > bool 0", False),
        ("count(class_seats_booked)", True),
        ("absent(class_seats_booked)", False),
        ("sum(rate(class_bookings_total[5m]))", False),
    ],
)
def test_the_judge_tells_them_apart(expression: str, is_wrong: bool) -> None:
    assert bool(wrong(expression)) is is_wrong
