"""Checks of a rule among the others, and of what every version of Prometheus knows."""

from collections.abc import Iterator

from rules.lint.expression import operator, walk
from rules.lint.fault import Fault
from rules.lint.source import Rule
from rules.lint.world import World

# Since 2.42: `query_offset` 2.53, `labels` 3.0.
_GROUP_KEYS = {"name", "interval", "limit", "rules"}
_NEWER = {
    *("sort_by_label", "sort_by_label_desc", "mad_over_time", "double_exponential_smoothing", "info", "limitk"),
    *("limit_ratio", "histogram_avg", "histogram_stddev", "histogram_stdvar", "ts_of_max_over_time"),
    *("ts_of_min_over_time", "ts_of_last_over_time", "first_over_time", "ts_of_first_over_time"),
}
_LOOK_BACK = 300  # seconds; prometheus.io/docs/prometheus/latest/querying/basics/#staleness


def duplicate_identity(rule: Rule, world: World) -> Iterator[Fault]:
    """Two alerts with the same name and labels, or two rules that record the same series."""
    for other in world.rules:
        if other.file == rule.file and other.line == rule.line:
            return
        if (other.kind, other.name, other.labels) == (rule.kind, rule.name, rule.labels):
            text = f"{other.file}:{other.line} has the same name and labels"
            yield Fault(text, "rename one, or remove it", rule.name)


def slow_recording(rule: Rule, _: World) -> Iterator[Fault]:
    """A series recorded every five minutes or less often: it has gaps, because Prometheus looks back five minutes."""
    if rule.kind == "record" and rule.interval >= _LOOK_BACK:
        text = f"group {rule.group} records every {rule.interval:g}s"
        yield Fault(text, "move it to a group with an interval of at most 2m", rule.name)


def newer_syntax(rule: Rule, _: World) -> Iterator[Fault]:
    """A group key or a function that Prometheus 2.42 does not have."""
    newer = sorted(rule.keys - _GROUP_KEYS) if rule.first else []
    if newer:
        yield Fault(f"Prometheus 2.42 refuses {', '.join(newer)} in group {rule.group}", "leave it out", rule.name)
    for node, _above in walk(rule.tree):
        if operator(node) in _NEWER:
            yield Fault(f"Prometheus 2.42 has no {operator(node)}()", "write it with older functions", operator(node))
