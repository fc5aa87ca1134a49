"""What the configuration says: priorities, teams, routes, people's own rules, and matchers as Alertmanager has them."""

import re
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from process.settings import SettingsError
from receiver.config.build import build_routing
from receiver.config.load import load
from receiver.incident.model import Data, EntryKind, Fact, Incident, Priority
from receiver.oncall.contact_rules import Contact, Person, Rule
from receiver.oncall.hours import parse as hours
from receiver.policy.matcher import MatcherError, match_all
from receiver.policy.matcher import parse as matcher
from receiver.policy.routing import PriorityRule, Route, TeamRule
from tests.receiver.config.test_config import edited
from tests.receiver.example_site import P1, P2, P3, P4, P5, START, an_alert, the_routing, with_p5

LINH = Person("Linh", (Contact("pagerduty", "staff"), Contact("slack", "U1"), Contact("email", "l@example.com")))


@pytest.mark.parametrize(
    ("text", "labels", "holds"),
    [
        ('severity="critical"', {"severity": "critical"}, True),
        ('severity="critical"', {}, False),
        ("severity=critical", {"severity": "critical"}, True),
        ('severity!="critical"', {}, True),
        ('job=~"api.*"', {"job": "api-1"}, True),
        ('job=~"api"', {"job": "api-1"}, False),  # anchored at both ends
        ('job!~"api|web"', {"job": "db"}, True),
        ('job=~""', {}, True),
        (r'path="a\"b\\c"', {"path": 'a"b\\c'}, True),
        (r'path=~"/v[0-9]+\\.json"', {"path": "/v2.json"}, True),
        ('team=""', {}, True),
    ],
)
def test_a_matcher_means_what_it_means_to_alertmanager(text: str, labels: dict[str, str], holds: bool) -> None:
    assert match_all((matcher(text),), labels) is holds


@pytest.mark.parametrize("text", ["", "severity", "=critical", 'a="b', 'a=~"("', "a==b=c d", "{a=b}"])
def test_what_is_no_matcher_is_named(text: str) -> None:
    with pytest.raises(MatcherError, match=r"invalid matcher"):
        matcher(text)


@given(st.text(max_size=30))
def test_any_text_is_a_matcher_or_the_named_error(text: str) -> None:
    try:
        parsed = matcher(text)
    except MatcherError:
        return
    assert parsed.op in {"=", "!=", "=~", "!~"}


def test_the_order_in_which_a_priority_is_found() -> None:
    routing = msgspec.structs.replace(
        the_routing(),
        team_severities={"payments": {"warning": P1}},
        service_severities={"checkout": {"warning": P3}},
        priority_rules=(PriorityRule((matcher('alertname=~"Backup.*"'),), P4),),
    )
    assert routing.priority({"priority": "P4", "severity": "critical"}) == (P4, None)
    assert routing.priority({"severity": "warning"}) == (P2, None)
    assert routing.priority({"severity": "warning", "team": "payments"}) == (P1, None)
    assert routing.priority({"severity": "warning", "team": "payments", "service": "checkout"}) == (P3, None)
    assert routing.priority({"alertname": "BackupFailed"}) == (P4, None)
    assert routing.priority({"alertname": "Other"}) == (P2, Fact(EntryKind.SEVERITY_MISSING, Data(priority=P2)))


_WORDS = st.sampled_from(["critical", "warning", "P1", "backend", "Backup", "", "x" * 600])
_LABELS = st.dictionaries(st.sampled_from(["priority", "severity", "team", "service", "alertname", "other"]), _WORDS)


@given(st.lists(_LABELS, max_size=8))
def test_what_was_asked_before_changes_no_answer(asked: list[dict[str, str]]) -> None:
    backup = (matcher("alertname=Backup"),)
    rules = {
        "priority_rules": (PriorityRule(backup, P4),),
        "team_rules": (TeamRule(backup, "backend"),),
        "routes": (Route(backup, (Contact("slack", "#backup"),)),),
    }
    before = the_routing()
    routing = msgspec.structs.replace(before, **rules)
    for labels in asked:
        before.priority(labels)
        fresh = msgspec.structs.replace(before, **rules)
        assert (routing.priority(labels), routing.team(labels)) == (fresh.priority(labels), fresh.team(labels))
        firing = Incident(id=1, key="k", alerts={"a": msgspec.structs.replace(an_alert(), labels=labels)})
        assert routing.places(firing) == fresh.places(firing)


def test_what_a_sender_makes_up_is_not_remembered_without_end() -> None:
    routing = the_routing()
    for number in range(3000):
        routing.priority({"severity": f"made-up-{number}"})
    assert len(routing._rulings) <= 1000  # noqa: SLF001
    routing._rulings.clear()  # noqa: SLF001
    routing.priority({"severity": "x" * 1_000_000})
    assert routing._rulings == {}  # noqa: SLF001


@pytest.mark.parametrize(
    ("labels", "named"),
    [({"priority": "P5"}, "P5"), ({"priority": "p 5", "severity": "critical"}, "p 5"), ({"severity": "p5"}, "p5")],
)
def test_a_fifth_priority_is_one_where_the_matrix_has_it_and_else_the_least_urgent(
    labels: dict[str, str], named: str
) -> None:
    assert with_p5().priority(labels) == (P5, None)
    assert the_routing().priority(labels) == (P4, Fact(EntryKind.PRIORITY_UNKNOWN, Data(named=named, priority=P4)))


def test_a_severity_that_names_a_priority_is_one_unless_a_table_or_a_rule_says_otherwise() -> None:
    routing = msgspec.structs.replace(
        the_routing(),
        severities={"P2": P1, "warning": P3},
        priority_rules=(PriorityRule((matcher("alertname=Backup"),), P4),),
    )
    assert routing.priority({"severity": "P2"}) == (P1, None)
    assert routing.priority({"severity": "p3"}) == (P3, None)
    assert routing.priority({"severity": "p3", "alertname": "Backup"}) == (P4, None)


def test_an_incident_whose_priority_the_matrix_has_lost_goes_on_as_the_least_urgent() -> None:
    assert the_routing().plan(P5, "default") == the_routing().plans[P4]


@pytest.mark.parametrize(
    ("labels", "priority"),
    [
        ({"severity": "Critical"}, P1),
        ({"severity": " CRITICAL "}, P1),
        ({"severity": "warning\t"}, P2),
        ({"severity": "Page"}, P3),
        ({"severity": "page"}, P4),  # as it is written comes first
        ({"severity": "PAGE"}, P3),
        ({"severity": "Warning", "team": "payments"}, P1),
        ({"severity": "Warning", "service": "checkout"}, P3),
        ({"priority": "p3", "severity": "critical"}, P3),
        ({"priority": " P1 "}, P1),
        ({"priority": "p 4"}, P4),
        ({"priority": "None", "severity": "info"}, P3),
        ({"priority": " ", "severity": "info"}, P3),
    ],
)
def test_priorities_and_severities_are_read_in_any_case_and_with_blanks(
    labels: dict[str, str], priority: Priority
) -> None:
    routing = msgspec.structs.replace(
        the_routing(),
        severities={"critical": P1, "warning": P2, "info": P3, "Page": P3, "page": P4},
        team_severities={"payments": {"WARNING ": P1}},
        service_severities={"checkout": {"warning": P3}},
    )
    assert routing.priority(labels) == (priority, None)


def an_incident(**labels: str) -> Incident:
    return Incident(id=1, key="k", team="backend", priority=P2, labels=labels)


def test_a_route_adds_its_places_or_takes_the_teams_away() -> None:
    security = Route((matcher('category="security"'),), (Contact("slack", "#security"),))
    routing = msgspec.structs.replace(the_routing(), routes=(security,))
    assert [c.address for c in routing.places(an_incident(category="security"))] == ["#security", "#alerts-backend"]
    assert [c.address for c in routing.places(an_incident())] == ["#alerts-backend"]
    alone = msgspec.structs.replace(routing, routes=(msgspec.structs.replace(security, only=True),))
    assert [c.address for c in alone.places(an_incident(category="security"))] == ["#security"]


def ways(person: Person, priority: Priority, at: datetime = START) -> list[str]:
    return [way.channel for way in person.ways(priority, at)]


def test_the_first_rule_that_fits_says_which_channels() -> None:
    quiet = Rule(frozenset({"email"}), frozenset({P3, P4}))
    office = Rule(frozenset({"slack"}), frozenset({P2}), hours("09:00-18:00", ["mon"], "UTC"))
    linh = msgspec.structs.replace(LINH, rules=(quiet, office))
    assert ways(linh, P4) == ["email"]
    assert ways(linh, P2, START + timedelta(hours=7)) == ["slack"]
    assert ways(linh, P2) == ["pagerduty", "slack", "email"]
    assert ways(linh, P1) == ["pagerduty", "slack", "email"]


def test_a_p1_breaks_quiet_hours_and_nothing_else_does() -> None:
    linh = msgspec.structs.replace(LINH, quiet_hours=hours("22:00-07:00", [], "UTC"))
    assert ways(linh, P1) == ["pagerduty", "slack", "email"]
    assert ways(linh, P2) == ["email"]
    assert ways(linh, P2, START + timedelta(hours=5)) == ["pagerduty", "slack", "email"]


def test_quiet_hours_are_those_of_the_persons_own_clock() -> None:
    linh = msgspec.structs.replace(LINH, quiet_hours=hours("22:00-07:00", [], "Asia/Ho_Chi_Minh"))
    ten_there = START.astimezone(ZoneInfo("Asia/Ho_Chi_Minh"))
    assert ten_there.hour == 10
    assert ways(linh, P3) == ["pagerduty", "slack", "email"]


def test_comfort_never_leaves_a_person_without_any_way() -> None:
    only = msgspec.structs.replace(LINH, contacts=(Contact("pagerduty", "staff"),))
    ruled = msgspec.structs.replace(only, rules=(Rule(frozenset({"email"}), frozenset(Priority)),))
    assert ways(ruled, P3) == ["pagerduty"]
    hushed = msgspec.structs.replace(only, quiet_hours=hours("00:00-24:00", [], "UTC"))
    assert ways(hushed, P3) == ["pagerduty"]


def test_who_is_on_vacation_holds_no_role() -> None:
    away = msgspec.structs.replace(LINH, vacation=((START, START + timedelta(days=7)),))
    routing = msgspec.structs.replace(the_routing(), people={**the_routing().people, "linh": away})
    assert routing.holders("on-call-engineer", START) == ()
    assert routing.holders("on-call-engineer", START + timedelta(days=7)) == ("linh",)


EVERYTHING = """hours:
  office: {hours: "09:00-18:00", days: [mon, tue, wed, thu, fri], time_zone: Asia/Ho_Chi_Minh}
repeat_last_step: {P1: 30m}
acknowledge_for: {P1: 30m, P2: 2h}
priority_rules:
  - {match: ['alertname=~"Backup.*"'], priority: P3}
services:
  checkout: {severities: {warning: P1}}
routes:
  - {match: ['category="security"'], slack: "#security", only: true}
fallback: {slack: "#lost-pages", email: [lost@heypeteracademy.com]}
maintenance:
  - {name: upgrade, match: ['team="database"'], from: 2026-11-28T22:00, to: 2026-11-29T02:00, time_zone: Europe/Berlin}
  - {name: backup, match: ['alertname="Slow"'], hours: "02:00-03:00", days: [sun]}
flapping: {window: 5m, quiet: 10m}
roles:
"""


def everything(folder: Path, text: str = EVERYTHING) -> Path:
    """The example with these sections instead of its own."""
    path = edited(folder, "roles:\n", text)
    own = path.read_text("utf-8").replace(text, "@@@")
    for key in ("repeat_last_step", "acknowledge_for", "flapping", "fallback"):
        own = re.sub(rf"^{key}:.*\n", "", own, flags=re.MULTILINE)
    path.write_text(own.replace("@@@", text), "utf-8")
    return path


def test_every_section_is_read(tmp_path: Path) -> None:
    routing = build_routing(*load(everything(tmp_path)))
    assert routing.plan(P1, "backend").repeat_every == 1800.0
    assert routing.plan(P2, "backend").acknowledge_for == 7200.0
    assert routing.plan(P3, "backend").acknowledge_for == 0.0
    assert routing.priority({"service": "checkout", "severity": "warning"})[0] is P1
    assert [c.address for c in routing.fallbacks] == ["#lost-pages", "lost@heypeteracademy.com"]
    pause = routing.maintenance({"team": "database"}, datetime.fromisoformat("2026-11-28T21:00:00+00:00"))
    assert pause is not None
    assert pause.until == datetime.fromisoformat("2026-11-29T01:00:00+00:00")
    assert routing.maintenance({"team": "database"}, datetime.fromisoformat("2026-11-29T01:00:00+00:00")) is None
    assert (routing.flap_window, routing.flap_quiet) == (300.0, 600.0)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("'alertname=~\"Backup.*\"'", "'alertname~Backup'", "priority_rules.match: invalid matcher"),
        ("from: 2026-11-28T22:00, to", "from: 2026-11-30T22:00, to", "maintenance: ends"),
        ("match: ['team=\"database\"'],", "match: [],", "maintenance.match: no matchers"),
        ('hours: "02:00-03:00", days: [sun]', "time_zone: UTC", "maintenance: set from and to"),
        ("{P1: 30m}\nack", "{P5: 30m}\nack", "'P5'"),
        ('"#lost-pages", email: [lost@', '"#lost-pages", email: [lost ', "fallback.email: invalid address"),
        ("days: [mon, tue,", "days: [mo, tue,", "hours.office: invalid day 'mo'"),
        ("only: true}", "onli: true}", "routes.onli: unknown key"),
    ],
)
def test_a_mistake_in_a_section_is_named(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in EVERYTHING
    with pytest.raises(SettingsError) as caught:
        build_routing(*load(everything(tmp_path, EVERYTHING.replace(old, new))))
    assert says in str(caught.value).replace("[0]", "").replace("[1]", "")


def test_a_team_may_have_a_matrix_of_its_own(tmp_path: Path) -> None:
    own = """  payments:
    slack: "#alerts-payments"
    response_times: {P1: 5m}
    escalation_matrix:
      - {after: 0m, P1: [on-call-engineer, tech-lead], P2: tech-lead, P3: tech-lead, P4: tech-lead}
      - {after: 5m, P1: cto}
"""
    line = '  payments:       {slack: "#alerts-payments", email: [payments@heypeteracademy.com]}\n'
    routing = build_routing(*load(edited(tmp_path, line, own)))
    plan = routing.plan(P1, "payments")
    assert [(step.after, step.roles) for step in plan.steps] == [
        (0.0, ("on-call-engineer", "tech-lead")),
        (300.0, ("cto",)),
    ]
    assert plan.response_time == 300.0
    assert routing.plan(P1, "backend").response_time == 900.0


def test_a_rule_names_the_team_of_alerts_whose_label_names_none(tmp_path: Path) -> None:
    rules = """team_rules:
  - {match: ['service=~"pay.*"'], team: payments}
  - {match: ['service="payroll"'], team: backend}
roles:
"""
    routing = build_routing(*load(edited(tmp_path, "roles:\n", rules)))
    assert routing.team({"service": "payroll"}) == ("payments", None)
    assert routing.team({"service": "payroll", "team": "frontend"}) == ("frontend", None)
    assert routing.team({"service": "payroll", "team": "gone"}) == ("payments", None)
    assert routing.team({"service": "blog"})[0] == "default"
    unknown = rules.replace("team: backend", "team: backened")
    with pytest.raises(SettingsError, match=r"team_rules\[1\].team: unknown team 'backened'"):
        load(edited(tmp_path, "roles:\n", unknown))


def test_a_team_may_repeat_and_keep_acknowledgements_for_times_of_its_own(tmp_path: Path) -> None:
    line = '  payments:       {slack: "#alerts-payments", email: [payments@heypeteracademy.com]}\n'
    own = '  payments: {slack: "#alerts-payments", repeat_last_step: {P1: 5m}, acknowledge_for: {P2: 20m}}\n'
    routing = build_routing(*load(edited(tmp_path, line, own)))
    assert (routing.plan(P1, "payments").repeat_every, routing.plan(P2, "payments").acknowledge_for) == (300.0, 1200.0)
    assert routing.plan(P1, "payments").acknowledge_for == routing.plan(P1, "backend").acknowledge_for == 3600.0
    assert routing.plan(P1, "backend").repeat_every == 1800.0
