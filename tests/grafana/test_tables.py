"""The numbers that dashboards take from the rules, and what the drawing makes of them."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import yaml

from grafana import board, build
from grafana.dashboards import oncall
from grafana.drawing import Place, draw, environment, lines, steps
from grafana.panel import Answer, Board, Burn, Count, Limit, Line, Number, Query, Rule, Section, Series, Target
from grafana.tables import Numbers, duration

NUMBERS = Numbers.read(Path())


def rule(expr: str, priority: str = "P1") -> Numbers:
    return replace(NUMBERS, alerts={"One": {"alert": "One", "expr": expr, "labels": {"priority": priority}}})


def test_the_documents_thresholds_are_those_of_the_table() -> None:
    table = yaml.safe_load(Path("rules/tables/thresholds.yml").read_text("utf-8"))["thresholds"]
    for row in table:
        limits = [NUMBERS.limit(Rule(row["alert"], position)).value for position in range(len(row["limits"]))]
        assert limits == list(row["limits"].values()), row["alert"]


def test_targets_objectives_and_response_times_are_those_of_their_tables() -> None:
    table = yaml.safe_load(Path("rules/tables/benchmarks.yml").read_text("utf-8"))["benchmarks"]
    for row in table:
        bad: Literal["above", "below"] = "above" if row["better"] == "below" else "below"
        assert NUMBERS.limit(Target(row["key"])) == Limit(row["target"], bad, "yellow")
    assert NUMBERS.limit(Count()).value == len(table)
    assert NUMBERS.limit(Burn("SLOBurnRateFast")) == Limit(14.4, "above", "red")
    assert [NUMBERS.limit(Answer(one)).value for one in ("P1", "P2", "P3", "P4")] == [900, 1800, 7200, 86400]


@pytest.mark.parametrize(
    ("expr", "position", "expected"),
    [
        ('sum(a{x="1"}) > 5', 0, Limit(5, "above", "red")),
        ("a / (b > 0) < 0.1 and c == 0", 0, Limit(0.1, "below", "red")),
        ("time() - max(a) > 3 * 86400", 0, Limit(259200, "above", "red")),
        ("a > 0.4 and (predict_linear(a[6h], 24 * 3600) <= 7 or d > 9)", 1, Limit(7, "below", "red")),
        ("a > 0.4 and (predict_linear(a[6h], 24 * 3600) <= 7 or d > 9)", 2, Limit(9, "above", "red")),
        ("sum(a > 3) > on (slo) 14 * b and c > 2", 0, Limit(2, "above", "red")),
    ],
)
def test_the_limit_of_an_alert_is_what_decides_and_no_guard_of_a_division(
    expr: str, position: int, expected: Limit
) -> None:
    assert rule(expr).limit(Rule("One", position)) == expected


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (Rule("Two"), "Two: unknown name in a panel"),
        (Rule("One", 1), "One has 1 thresholds"),
        (Target("speed"), "speed: unknown name in a panel"),
        (Burn("One"), "One: unknown name in a panel"),
        (Answer("P9"), "P9: unknown name in a panel"),
    ],
)
def test_a_number_that_is_not_there_is_named(number: Number, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rule("a > 1").limit(number)


def test_a_description_names_numbers_as_people_say_them() -> None:
    assert NUMBERS.say("Below {P1}; {cpu}.") == "Below 15 minutes; below 70%."
    assert NUMBERS.say("After {BackupStale} or {SecurityScanStale}; {DiskSpaceCritical}; {{x}}") == (
        "After 26 hours or 3 days; 10%; {{x}}"
    )
    assert [duration(n) for n in (45, 120, 86400)] == ["45 seconds", "2 minutes", "24 hours"]


def test_the_environment_is_written_into_selectors_and_never_into_strings() -> None:
    assert environment("a{}") == 'a{env=~"$environment"}'
    assert environment('sum(a{x="{}"}) / b{}') == ('sum(a{env=~"$environment", x="{}"}) / b{env=~"$environment"}')
    assert environment('label_replace(a{}, "x", "\\"{1}", "", "")').count("$environment") == 1


def test_a_state_is_good_on_one_side_and_bad_on_the_other() -> None:
    def colours(*limits: Limit) -> list[tuple[float | None, str]]:
        return [(step.value, step.color) for step in steps(list(limits), "green").build().steps]

    assert colours(Limit(3, "above", "red")) == [(None, "green"), (3, "red")]
    assert colours(Limit(0, "below", "red"), Limit(0.25, "below", "orange")) == [
        (None, "red"),
        (0, "orange"),
        (0.25, "green"),
    ]
    assert [step.color for step in lines([Limit(3, "below", "red")]).build().steps] == ["transparent", "red"]


def series(number: int, width: int = 24, explains: tuple[str, ...] = ()) -> Series:
    return Series(
        id=number,
        title=f"Panel {number}",
        about="It shows a.",
        unit="s",
        queries=(Query("a{}", "a"),),
        width=width,
        empty="none",
        explains=explains,
    )


def dashboard(*panels: Series) -> Board:
    return Board(
        uid="heypeter-x",
        title="x",
        about="x",
        span="now-6h",
        refresh="30s",
        variables=(),
        sections=(Section(1, "Row", (Line(8, panels),)),),
    )


def test_a_dashboard_that_would_be_wrong_is_not_written() -> None:
    assert '"id": 3' in board.written(dashboard(series(2, 12), series(3, 12)), NUMBERS)
    with pytest.raises(ValueError, match="heypeter-x: Panel 2 and Panel 2 both have the id 2"):
        board.written(dashboard(series(2, 12), series(2, 12)), NUMBERS)
    with pytest.raises(ValueError, match="heypeter-x: Panel 1 and Row both have the id 1"):
        board.written(dashboard(series(1)), NUMBERS)
    with pytest.raises(ValueError, match="heypeter-x: Panel 2, Panel 3 have a total width of 23"):
        board.written(dashboard(series(2, 12), series(3, 11)), NUMBERS)
    with pytest.raises(ValueError, match=r"heypeter-x: Panel 3 explains One, and so does .*; keep one"):
        build.explained((dashboard(series(2, 12, ("One",)), series(3, 12, ("One",))),))


def test_what_is_of_a_priority_that_nobody_has_configured_is_not_drawn() -> None:
    panel = next(one for one in oncall.BOARD.panels() if one.title == "MTTR (mean time to resolve)")
    five = replace(NUMBERS, response_times={**NUMBERS.response_times, "P5": 259200.0})
    drawn = [draw(panel, Place(0, 0, 4), numbers).targets or [] for numbers in (NUMBERS, five)]
    assert [len(targets) for targets in drawn] == [4, 5]
