"""Writes rules/benchmarks.yml from rules/tables/benchmarks.yml: what repeats is written once, and checked whole.

`python rules/generate.py` writes; with `--check` it only says whether the written file is what it would write.
"""

import sys
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import yaml

FOLDER = Path(__file__).resolve().parent
TABLE, WRITTEN = FOLDER / "tables/benchmarks.yml", FOLDER / "benchmarks.yml"
RUNBOOKS = "https://github.com/heypeteracademy/monitoring/blob/main/docs/runbooks"
HEAD = """\
# GENERATED from rules/tables/benchmarks.yml by rules/generate.py: change the table, then run it. Do not edit.
# One value series, one target series and one alert for each benchmark of the document, so that the dashboard shows
# exactly what alerts. `met` is 1 or 0, and absent where nothing is measured.
"""
SHOWN = {"seconds": "humanizeDuration", "ratio": "humanizePercentage", "count": 'printf "%.0f"'}


class Benchmark(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One line of the table."""

    key: Annotated[str, msgspec.Meta(pattern="^[a-z_]+$")]
    alert: Annotated[str, msgspec.Meta(pattern="^[A-Z][A-Za-z]+$")]
    title: str
    value: str
    target: float
    better: Literal["below", "above"]
    unit: Literal["seconds", "ratio", "count"]
    for_: str = msgspec.field(name="for")
    priority: Literal["P3", "P4"]
    team: str
    only_if: str = ""


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file."""

    benchmarks: list[Benchmark]


def spoken(benchmark: Benchmark) -> str:
    """Write the target as people say it."""
    if benchmark.unit == "ratio":
        return f"{benchmark.target * 100:g}%"
    if benchmark.unit == "count":
        return f"{benchmark.target:g}"
    seconds = benchmark.target
    return f"{seconds / 3600:g}h" if seconds >= 3600 else f"{seconds * 1000:g}ms" if seconds < 1 else f"{seconds:g}s"  # noqa: PLR2004  # an hour


def recorded(benchmarks: list[Benchmark]) -> list[dict[str, object]]:
    """Give the value, the target and the verdict of each."""
    rules: list[dict[str, object]] = []
    for one in benchmarks:
        labels = {"benchmark": one.key, "unit": one.unit}
        rules.append({"record": "heypeter:benchmark:value", "expr": one.value, "labels": labels})
        rules.append({"record": "heypeter:benchmark:target", "expr": f"vector({one.target:g})", "labels": labels})
    verdicts = []
    for better, sign in (("below", "<"), ("above", ">")):
        keys = "|".join(one.key for one in benchmarks if one.better == better)
        value = f'heypeter:benchmark:value{{benchmark=~"{keys}"}}'
        verdicts.append(f"({value} {sign} bool on (benchmark, unit) heypeter:benchmark:target)")
    rules.append({"record": "heypeter:benchmark:met", "expr": " or ".join(verdicts)})
    return rules


def alert(one: Benchmark) -> dict[str, object]:
    """Give the alert of one benchmark."""
    missed, meant = (">=", "below") if one.better == "below" else ("<=", "above")
    expr = f'heypeter:benchmark:value{{benchmark="{one.key}"}} {missed} {one.target:g}'
    value = "{{ $value | " + SHOWN[one.unit] + " }}"
    return {
        "alert": one.alert,
        "expr": f"{expr} and on () {one.only_if}" if one.only_if else expr,
        "for": one.for_,
        "labels": {"severity": "info", "priority": one.priority, "team": one.team},
        "annotations": {
            "summary": f"{one.title.partition(' (')[0]} misses its benchmark",
            "description": f"{one.title} is {value}; the benchmark is {meant} {spoken(one)}.",
            "runbook_url": f"{RUNBOOKS}/{one.alert}.md",
        },
    }


def written(table: Table) -> str:
    """Write the whole file."""
    groups = [
        {"name": "benchmarks", "interval": "1m", "rules": recorded(table.benchmarks)},
        {"name": "benchmark_alerts", "interval": "1m", "rules": [alert(one) for one in table.benchmarks]},
    ]
    return HEAD + yaml.safe_dump({"groups": groups}, sort_keys=False, width=110, allow_unicode=True)


def main(arguments: list[str]) -> int:
    """0 when the file is, or has been, written as it should be; 1 with one sentence otherwise."""
    try:
        table = msgspec.convert(yaml.safe_load(TABLE.read_text("utf-8")), Table)
    except (msgspec.ValidationError, yaml.YAMLError, OSError) as error:
        sys.stderr.write(f"{TABLE.relative_to(FOLDER.parent)}: {error}\n")
        return 1
    text = written(table)
    if arguments == ["--check"]:
        if WRITTEN.read_text("utf-8") == text:
            return 0
        sys.stderr.write("rules/benchmarks.yml is not what the table says: run `python rules/generate.py`\n")
        return 1
    WRITTEN.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
