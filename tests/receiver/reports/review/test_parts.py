"""The smaller parts of the review: dashboards, contacts, remembered baselines, curves, words and both reports."""

import math
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from receiver.incident.model import Plan, Priority, Step
from receiver.oncall.contact_rules import Contact, Person
from receiver.oncall.schedule import Layer, Schedule, Span
from receiver.policy.maintenance import Window
from receiver.policy.routing import Routing
from receiver.reports.review import baseline_history, wording
from receiver.reports.review.contacts import notes
from receiver.reports.review.dashboard import Panel, panels
from receiver.reports.review.firing import Firing
from receiver.reports.review.gather import thinned
from receiver.reports.review.model import Baseline, DeadPanel, Fired, Review, Rule
from receiver.reports.review.period import PERIODS, QUARTER, Part
from receiver.reports.review.render import html_page, markdown
from receiver.reports.review.sections import content

NOW = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)
RULE = Rule("TooHot", "a > 1", 0, 0, 30, "P1", "house", "/etc/prometheus/rules/critical.yml")


def a_baseline(**changes: object) -> Baseline:
    defaults = {"key": "cpu", "unit": "ratio", "target": 0.7, "above": False, "now": 0.5, "then": 0.4}
    return Baseline(**{**defaults, **changes})  # type: ignore[arg-type]


def a_review(period: str = "annual", **changes: object) -> Review:
    defaults = {"period": PERIODS[period], "start": NOW - DAY, "end": NOW, "since": NOW - DAY, "rules": 3}
    return Review(**{**defaults, **changes})  # type: ignore[arg-type]


def test_the_tables_alerts_are_those_of_the_table() -> None:
    table = yaml.safe_load(Path("rules/tables/thresholds.yml").read_text("utf-8"))["thresholds"]
    assert {entry["alert"] for entry in table} == wording.TABLED


def test_a_threshold_is_changed_where_it_stands() -> None:
    files = {"TooHot": "critical.yml", "HighErrorRate": "critical.yml", "A": "benchmarks.yml", "B": "slo.yml"}
    places = [wording.place(Rule(name, "", 0, 0, 30, "", "", f"/x/{file}")) for name, file in files.items()]
    tables = "rules/tables/"
    expected = ["rules/critical.yml", f"{tables}thresholds.yml", f"{tables}benchmarks.yml", f"{tables}slo.yml"]
    assert places == expected
    assert all(Path(path).is_file() for path in places)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(-50, 50)), max_size=40), st.booleans())
def test_a_thinned_line_keeps_the_worst(samples: list[tuple[float, float]], above: bool) -> None:
    line = thinned([samples], 0, 100, above=above, points=10)
    assert len(line) == 10
    known = [value for _, value in line if value is not None]
    assert bool(known) == bool(samples)
    if samples:
        worst = max if above else min
        assert worst(known) == worst(value for _, value in samples)


def test_a_thinned_line_has_holes_where_there_is_nothing() -> None:
    assert [value for _, value in thinned([[(5.0, 1.0), (95.0, math.nan)]], 0, 100, above=True, points=4)] == [
        *(1.0, None, None, None)
    ]


def test_variables_are_filled_in() -> None:
    text = b"""{"title": "T", "templating": {"list": [
        {"name": "job", "type": "query", "current": {"value": "app"}},
        {"name": "route", "type": "query", "current": {"value": ["$__all"]}, "allValue": ".+"},
        {"name": "team", "type": "query", "current": {"value": ["a", "b"]}},
        {"name": "env", "type": "query"},
        {"name": "size", "type": "interval", "query": "10m,1h"}]},
      "panels": [{"title": "P", "targets": [
        {"expr": "rate(a{j='$job',r=~'${route:regex}',t=~'[[team]]',e=~'$env'}[$__rate_interval])"},
        {"expr": "b[$size] offset $__range"}, {"expr": "", "hide": false}, {"expr": "c", "hide": true}]}]}"""
    assert panels(text, 3_600) == [
        Panel("T", "P", "rate(a{j='app',r=~'.+',t=~'(a|b)',e=~'.*'}[5m])"),
        Panel("T", "P", "b[10m] offset 3600s"),
    ]


def test_every_dashboard_of_ours_is_read_and_leaves_no_variable() -> None:
    read_panels = [
        p for path in sorted(Path("grafana/dashboards").glob("*.json")) for p in panels(path.read_bytes(), 604_800)
    ]
    assert read_panels
    # $1 is the first group of a label_replace, and no variable.
    assert not [panel.query for panel in read_panels if re.search(r"\$\{?[A-Za-z_]", panel.query)]


@pytest.mark.parametrize("text", [b"", b"[]", b'{"panels": []}', b'{"title": "T", "panels": 3}'])
def test_what_is_no_dashboard_says_so(text: bytes) -> None:
    with pytest.raises(ValueError, match="is not a dashboard of Grafana"):
        panels(text, 60)


def a_routing(**changes: object) -> Routing:
    phone, mail = Contact("pagerduty", "x"), Contact("email", "y")
    people = {
        "linh": Person("Linh", (phone, mail)),
        "marek": Person("Marek", (phone, mail)),
        "aisha": Person("Aisha", (mail,)),
        "peter": Person("Peter", ()),
    }
    layer = Layer("UTC", date(2026, 11, 2), 540, timedelta(days=7), (("linh",), ("marek",)))
    defaults = {
        "severities": {}, "unknown_severity": Priority.P2, "dwell": 300.0, "people": people, "teams": {},
        "plans": {Priority.P1: Plan((Step(0.0, ("engineer",)), Step(900.0, ("lead",))), 900.0)},
        "roles": {"engineer": ("rota",), "lead": ("aisha",)},
        "schedules": {"rota": Schedule("rota", "UTC", (layer,))},
    }  # fmt: skip
    return Routing(**{**defaults, **changes})  # type: ignore[arg-type]


def test_contacts_that_are_thin_are_noted_and_full_ones_are_not() -> None:
    noted = {(note.about, note.what) for note in notes(a_routing(), NOW, NOW + 14 * DAY)}
    assert noted == {
        ("Peter", "has no way to be reached"),
        ("Peter", "holds no role and is in no schedule"),
        ("role lead", "has one person only, Aisha"),
        ("role lead", "is reached by email alone"),
    }


def test_schedules_that_end_or_are_over_are_noted() -> None:
    ends = Layer("UTC", date(2026, 11, 2), 540, timedelta(days=7), (("linh",), ("marek",)), end=NOW + 2 * DAY)
    old = Span(NOW - 9 * DAY, NOW - 8 * DAY, ("marek",))
    windows = (Window("move", (), NOW - 3 * DAY, NOW - 2 * DAY),)
    routing = a_routing(schedules={"rota": Schedule("rota", "UTC", (ends,), (old,))}, windows=windows)
    noted = {note.about: note.what for note in notes(routing, NOW, NOW + 14 * DAY)}
    assert noted["role engineer"].startswith("nobody is on call from 2026-11-27 09:00 to 2026-12-09 09:00 UTC")
    assert noted["schedule rota"] == "has 1 override or swaps that are over"
    assert noted["maintenance move"] == "is over since 2026-11-23"
    quiet = {note.about for note in notes(routing, NOW, NOW + 14 * DAY, ["rota"])}
    assert "role engineer" not in quiet  # a calendar that is imported says the rest


def test_what_prometheus_forgot_is_remembered(tmp_path: Path) -> None:
    assert baseline_history.recall(tmp_path, NOW) is None
    for days, value in ((400, 0.1), (95, 0.3), (60, 0.9), (2, 0.8)):
        baseline_history.remember(tmp_path, NOW - timedelta(days=days), [a_baseline(now=value)])
    with (tmp_path / baseline_history.NAME).open("ab") as file:
        file.write(b"torn\n")
    remembered = baseline_history.recall(tmp_path, NOW)
    assert remembered is not None
    assert remembered.values == {"cpu": 0.3}
    line, known = baseline_history.filled([a_baseline(then=None), a_baseline()], remembered)
    assert (line.then, line.remembered) == (0.3, f"{NOW - timedelta(days=95):%Y-%m-%d}")
    assert (known.then, known.remembered) == (0.4, "")
    assert baseline_history.recall(tmp_path, NOW + 2 * QUARTER) is None  # a review in between was not held


def test_worse_is_what_moves_the_wrong_way() -> None:
    assert a_baseline().worse
    assert not a_baseline(above=True).worse
    assert not a_baseline(now=0.41).worse
    assert not a_baseline(then=None).worse
    assert wording.change(a_baseline()) == "+25.0% worse"
    assert wording.change(a_baseline(now=0.4)) == "same"


def test_lengths_and_values_are_as_people_say_them() -> None:
    shown = [
        wording.measured(v, u) for v, u in ((0.9995, "ratio"), (0.25, "seconds"), (5_000, "seconds"), (1e4, "count"))
    ]
    assert shown == ["99.95%", "250ms", "1h 23m", "10,000"]
    assert wording.spark([0, 1, None, 7]) == "▁▂ █"
    assert wording.spark([]) == ""


def test_what_an_alert_or_a_panel_is_called_cannot_break_either_report() -> None:
    evil = Rule("<script>|alert", "a > 1", 0, 0, 30, "P1", "a|b\nc")
    fired = Fired(evil, (Firing(0, 60),), 1, 60)
    dead = DeadPanel("<b>board</b>", "p|q", 'a{b=~".*"} < 3', "why\nnot")
    report = content(a_review(fired=(fired,), dead=(dead,), panels=1))
    shown, text = html_page(report), markdown(report)
    assert "<script" not in shown
    assert "<b>board" not in shown + text
    assert "&lt;script>\\|alert" in text
    assert "why not" in text
    assert all(line.count("|") - line.count("\\|") == 5 for line in text.splitlines() if "p\\|q" in line)


@pytest.mark.parametrize("period", PERIODS)
def test_an_empty_review_is_a_report_too(period: str) -> None:
    report = content(a_review(period, notes=()))
    assert "Nothing." in markdown(report)
    assert "<h2>What to do</h2><p>Nothing.</p>" in html_page(report)


def test_each_part_is_looked_at_by_some_review_and_all_of_them_by_the_annual() -> None:
    assert PERIODS["annual"].parts == frozenset(Part)
    assert Part.DASHBOARDS in PERIODS["weekly"].parts
    assert Part.THRESHOLDS in PERIODS["monthly"].parts
    assert Part.BASELINES in PERIODS["quarterly"].parts
