"""Writes the numbers of a review as people read them, and says where a threshold is changed. Pure."""

from collections.abc import Sequence

from receiver.messages.i18n import duration
from receiver.reports.review.model import Baseline, Rule
from receiver.reports.review.threshold import Advice, Candidate, show

# The alerts whose numbers stand in rules/tables/thresholds.yml; a test compares the two.
TABLED = frozenset(
    {
        *("HighErrorRate", "HighMemoryUsage", "DiskSpaceCritical", "SlowResponseTime", "HighDatabaseConnections"),
        *("CacheHitRateLow", "LowUserRegistrations", "HighClassCancellationRate", "PaymentFailureRate"),
    }
)
_GENERATED = ("benchmarks.yml", "slo.yml")
_BLOCKS = "▁▂▃▄▅▆▇█"


def times(count: int) -> str:
    """Write once, twice, 7 times."""
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")


def many(count: int, what: str, whats: str = "") -> str:
    """Write 1 alert, 7 alerts."""
    return f"{count:,} {what if count == 1 else whats or what + 's'}"


def place(rule: Rule) -> str:
    """Say in which file the threshold of an alert is changed."""
    name = rule.file.rpartition("/")[2]
    if rule.name in TABLED:
        return "rules/tables/thresholds.yml"
    return f"rules/tables/{name}" if name in _GENERATED else f"rules/{name}"


def measured(value: float | None, unit: str) -> str:
    """Write a benchmark's value in its unit: seconds, ratio or count."""
    if value is None:
        return "no data"
    if unit == "ratio":
        return f"{value * 100:.4g}%"
    if unit == "seconds":
        return f"{value * 1000:.3g}ms" if value < 1 else f"{value:.3g}s" if value < 120 else duration(value)  # noqa: PLR2004
    return show(value)


def change(line: Baseline) -> str:
    """Write how a benchmark moved, in words where a sign alone would leave open whether that is good."""
    if line.change is None:
        return "-"
    if abs(line.change) < 0.0005:  # noqa: PLR2004  # less is rounded to nothing
        return "same"
    return f"{line.change:+.1%}" + (" worse" if line.worse else "")


def goal(line: Baseline) -> str:
    """Write the target with its side."""
    return "-" if line.target is None else f"{'above' if line.above else 'below'} {measured(line.target, line.unit)}"


def tried(candidates: Sequence[Candidate]) -> str:
    """Write each threshold with its firings; the present one in brackets."""
    parts = (f"{show(one.limit)}\u00a0→\u00a0{one.firings:,}" for one in candidates)
    return " · ".join(f"[{part}]" if one.current else part for part, one in zip(parts, candidates, strict=True))


def advised(advice: Advice | None) -> str:
    """Write what to do."""
    if advice is None:
        return "nothing to say: no data"
    if advice.limit is None:
        return f"keep: {advice.why}"
    return f"{advice.verb} to {show(advice.limit)}: {advice.why}"


def spark(values: Sequence[float | None], length: int = 24) -> str:
    """Draw a line of text: the mean of each part, from the lowest to the highest; a space is no data."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    drawn = []
    for n in range(min(length, len(values))):
        count = len(values)
        part = [
            v for v in values[n * count // min(length, count) : (n + 1) * count // min(length, count)] if v is not None
        ]
        mean = sum(part) / len(part) if part else None
        share = 0.0 if high == low or mean is None else (mean - low) / (high - low)
        drawn.append(" " if mean is None else _BLOCKS[min(len(_BLOCKS) - 1, int(share * len(_BLOCKS)))])
    return "".join(drawn)
