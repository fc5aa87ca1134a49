"""Generate rules/benchmarks.yml from rules/tables/benchmarks.yml: value, target, met and an alert per benchmark."""

from typing import Annotated, Literal

import msgspec

from rules.writing import SITE, Panels, annotations, file, group

ABOUT = """\
# A value series, a target series and an alert for each benchmark of the document. Dashboards show the same series.
# `met` is 1 or 0, and absent if nothing was measured.
"""
_SERIES = f"{SITE.prefix}:benchmark"
SHOWN = {"seconds": "humanizeDuration", "ratio": "humanizePercentage", "count": 'printf "%.0f"'}


class Benchmark(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One benchmark."""

    key: Annotated[str, msgspec.Meta(pattern="^[a-z_]+$")]
    alert: Annotated[str, msgspec.Meta(pattern="^[A-Z][A-Za-z]+$")]
    title: str
    value: str
    target: float
    better: Literal["below", "above"]
    unit: Literal["seconds", "ratio", "count"]
    for_: str = msgspec.field(name="for")
    priority: Literal["P3", "P4", "P5"]
    team: str
    only_if: str = ""


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    benchmarks: list[Benchmark]


def spoken(number: float, unit: str) -> str:
    """Format a target with its unit, e.g. 70%, 500ms, 2h."""
    if unit == "ratio":
        return f"{number * 100:g}%"
    if unit == "count":
        return f"{number:g}"
    return f"{number / 3600:g}h" if number >= 3600 else f"{number * 1000:g}ms" if number < 1 else f"{number:g}s"  # noqa: PLR2004  # an hour


def recorded(benchmarks: list[Benchmark]) -> list[dict[str, object]]:
    """Return the recording rules: value, target and met of each benchmark."""
    rules: list[dict[str, object]] = []
    for one in benchmarks:
        labels = {"benchmark": one.key, "unit": one.unit}
        rules.append({"record": f"{_SERIES}:value", "expr": one.value, "labels": labels})
        rules.append({"record": f"{_SERIES}:target", "expr": f"vector({one.target:g})", "labels": labels})
    verdicts = []
    for better, sign in (("below", "<"), ("above", ">")):
        keys = "|".join(one.key for one in benchmarks if one.better == better)
        value = f'{_SERIES}:value{{benchmark=~"{keys}"}}'
        verdicts.append(f"({value} {sign} bool on (benchmark, unit) {_SERIES}:target)")
    rules.append({"record": f"{_SERIES}:met", "expr": " or ".join(verdicts)})
    return rules


def alert(one: Benchmark, panels: Panels) -> dict[str, object]:
    """Return the alert of one benchmark."""
    missed, meant = (">=", "below") if one.better == "below" else ("<=", "above")
    expr = f'{_SERIES}:value{{benchmark="{one.key}"}} {missed} {one.target:g}'
    value = "{{ $value | " + SHOWN[one.unit] + " }}"
    return {
        "alert": one.alert,
        "expr": f"{expr} and on () {one.only_if}" if one.only_if else expr,
        "for": one.for_,
        "labels": {"severity": "info", "priority": one.priority, "team": one.team},
        "annotations": annotations(
            one.alert,
            f"Benchmark missed: {one.title.partition(' (')[0]}",
            f"{one.title}: {value} (benchmark: {meant} {spoken(one.target, one.unit)}).",
            panels,
        ),
    }


def written(table: Table, panels: Panels) -> str:
    """Return the text of the rule file."""
    alerts = [alert(one, panels) for one in table.benchmarks]
    groups = [group("benchmarks", "1m", recorded(table.benchmarks)), group("benchmark_alerts", "1m", alerts)]
    return file("benchmarks.yml", ABOUT, groups)
