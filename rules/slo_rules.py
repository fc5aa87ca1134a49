"""Generate rules/slo.yml from rules/tables/slo.yml: seven error ratios, the budget left, burn-rate alerts."""

from typing import Annotated, Literal

import msgspec

from rules.writing import Panels, annotations, file, group

ABOUT = """\
# Multi-window, multi-burn-rate alerts (SRE workbook, chapter 5). Four alerts serve all objectives: they read
# series with the labels slo and team, and the objective is a series as well.
"""
WINDOWS = ("30m", "1h", "2h", "6h", "1d", "3d")
SEVERITIES = {"P1": "critical", "P2": "warning", "P3": "info", "P4": "info", "P5": "info"}
COUNTED = ("1h", "6h")
# Half of a long window in steps of ten minutes. With less, the ratio is not that of the window, and is not recorded.
HALF = {"6h": 18, "1d": 72, "3d": 216}


class Objective(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An objective; `bad` and `total` are PromQL: events per second over five minutes."""

    slo: Annotated[str, msgspec.Meta(pattern="^[a-z0-9-]+$")]
    team: str
    objective: Annotated[float, msgspec.Meta(gt=0, lt=1)]
    bad: str
    total: str
    least: Annotated[int, msgspec.Meta(ge=0)]


class Burn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A burn-rate alert: how fast the budget may be spent before it fires."""

    alert: Annotated[str, msgspec.Meta(pattern="^SLO[A-Za-z]+$")]
    long: Literal["1h", "6h", "1d", "3d"]
    short: Literal["5m", "30m", "2h", "6h"]
    factor: Annotated[float, msgspec.Meta(gt=0)]
    for_: str = msgspec.field(name="for")
    priority: Literal["P1", "P2", "P3", "P4", "P5"]
    spends: str


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    objectives: list[Objective]
    alerts: list[Burn]

    def __post_init__(self) -> None:
        """Reject an alert that can never fire because its limit is an error ratio of 1 or more."""
        for one in self.objectives:
            for burn in self.alerts:
                share = burn.factor * (1 - one.objective)
                if share >= 1:
                    text = f"{burn.factor:g} x {1 - one.objective:g} is {share:g}, and the error ratio cannot exceed 1"
                    raise ValueError(
                        f"{burn.alert} can never fire for {one.slo}: {text}; lower the factor or raise the objective"
                    )


def base(one: Objective) -> list[dict[str, object]]:
    """Return the series of one objective that all windows are computed from."""
    labels = {"slo": one.slo, "team": one.team}
    expressions = {
        "slo:objective:ratio": f"vector({one.objective:g})",
        "slo:bad_events_least:count": f"vector({one.least})",
        "slo:bad_events:rate5m": one.bad,
        "slo:events:rate5m": one.total,
    }
    return [{"record": name, "expr": expr, "labels": labels} for name, expr in expressions.items()]


def windows() -> list[dict[str, object]]:
    """Return the error ratio of each window, and the number of bad events where an alert reads it."""
    rules: list[dict[str, object]] = [
        {"record": "slo:sli_error:ratio_rate5m", "expr": "slo:bad_events:rate5m / (slo:events:rate5m > 0)"}
    ]
    for window in WINDOWS:
        bad, every = (f"avg_over_time(slo:{name}:rate5m[{window}])" for name in ("bad_events", "events"))
        measured = f" and count_over_time(slo:events:rate5m[{window}:10m]) > {HALF[window]}" if window in HALF else ""
        rules.append({"record": f"slo:sli_error:ratio_rate{window}", "expr": f"{bad} / ({every} > 0){measured}"})
    # Rates over five minutes, summed every five minutes, are the events that were counted. An average times the window
    # would be those of a whole window, even if only a part of it was measured.
    for window in COUNTED:
        number = f"sum_over_time(slo:bad_events:rate5m[{window}:5m]) * 300"
        rules.append({"record": f"slo:bad_events:increase{window}", "expr": number})
    return rules


def alert(burn: Burn, panels: Panels) -> dict[str, object]:
    """Return the rule of a burn-rate alert."""
    limit = f"on (slo, team) {burn.factor:g} * (1 - slo:objective:ratio)"
    counted = "1h" if burn.long == "1h" else "6h"
    expr = (
        f"slo:sli_error:ratio_rate{burn.long} > {limit} "
        f"and on (slo, team) slo:sli_error:ratio_rate{burn.short} > {limit} "
        f"and on (slo, team) slo:bad_events:increase{counted} >= on (slo, team) slo:bad_events_least:count"
    )
    share = "{{ $value | humanizePercentage }} of {{ $labels.slo }} events"
    return {
        "alert": burn.alert,
        "expr": expr,
        "for": burn.for_,
        "labels": {
            "severity": SEVERITIES[burn.priority],
            "priority": burn.priority,
            "team": "{{ $labels.team }}",
        },
        "annotations": annotations(
            burn.alert,
            f"Error budget of {{{{ $labels.slo }}}} is burning {burn.factor:g} times too fast",
            f"{share} in the last {burn.long} were bad: this rate spends {burn.spends}.",
            panels,
        ),
    }


def written(table: Table, panels: Panels) -> str:
    """Return the text of the rule file."""
    budget = (
        "1 - avg_over_time(slo:bad_events:rate5m[30d]) / (avg_over_time(slo:events:rate5m[30d]) > 0) "
        "/ (1 - slo:objective:ratio)"
    )
    left: list[dict[str, object]] = [{"record": "slo:error_budget_remaining:ratio", "expr": budget}]
    fast = [rule for one in table.objectives for rule in base(one)]
    share = windows()
    groups = [
        group("slo", "30s", [*fast, *(rule for rule in share if not slow(rule))]),
        group("slo_long", "2m", [*(rule for rule in share if slow(rule)), *left]),
        group("slo_alerts", "30s", [alert(burn, panels) for burn in table.alerts]),
    ]
    return file("slo.yml", ABOUT, groups)


def slow(rule: dict[str, object]) -> bool:
    """Whether a series changes so slowly that evaluating it every two minutes is enough."""
    return str(rule["record"]).endswith(("6h", "1d", "3d"))
