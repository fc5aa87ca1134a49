"""Every check by its name: the function's own, with dashes; the first line of its docstring says what it finds."""

from collections.abc import Callable, Iterator

from rules.lint.checks import alerts, baselines, counting, names, quantiles, selection, sets, templates
from rules.lint.fault import Fault
from rules.lint.source import Rule
from rules.lint.world import World

Check = Callable[[Rule, World], Iterator[Fault]]
_EVERY: tuple[Check, ...] = (
    names.unknown_metric,
    names.unrecorded_series,
    names.unused_recording,
    names.unknown_label,
    names.not_in_every_version,
    selection.missing_job,
    selection.wrong_job,
    selection.integer_le,
    selection.short_range,
    selection.range_beyond_retention,
    selection.exporter_health,
    counting.counter_without_rate,
    counting.rate_of_gauge,
    counting.unaggregated_rate,
    counting.unaggregated_ratio,
    counting.mismatched_labels,
    counting.zero_divisor,
    counting.average_of_ratios,
    quantiles.quantile_without_le,
    quantiles.unaggregated_quantile,
    quantiles.threshold_between_buckets,
    templates.lost_label,
    templates.raw_value,
    templates.value_in_label,
    templates.anonymous_alert,
    templates.colliding_label,
    alerts.unfiltered_alert,
    alerts.impossible_threshold,
    alerts.absent_without_for,
    alerts.missing_label,
    alerts.wrong_priority,
    alerts.missing_annotation,
    alerts.missing_runbook,
    baselines.untested_baseline,
    baselines.unstated_lag,
    sets.duplicate_identity,
    sets.slow_recording,
    sets.newer_syntax,
)
CHECKS: dict[str, Check] = {check.__name__.replace("_", "-"): check for check in _EVERY}
# What the lint says of files and of its own comments; no comment can allow these.
INVALID, BAD_ALLOWANCE, UNUSED_ALLOWANCE = "invalid", "bad-allowance", "unused-allowance"


def about(name: str) -> str:
    """Say what a check finds."""
    return (CHECKS[name].__doc__ or "").strip().partition("\n")[0]
