"""Each check of the lint: a rule that it alone refuses, and the same rule mended, which nothing refuses."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from rules.lint.baselines import shown
from rules.lint.register import CHECKS
from rules.lint.run import of_rule
from rules.lint.series import known
from rules.lint.source import read
from rules.lint.world import World, installation
from rules.writing import RUNBOOKS, annotations, panels

SERIES, HERE = known(), replace(installation(), readers=frozenset({"job:read:rate5m"}))
PANELS = panels()
APP = 'job="heypeter-app"'
REQUESTS = f"rate(http_requests_total{{{APP}}}[5m])"
OF_A_DAY = f"rate(http_requests_total{{{APP}}}[1d])"
BUCKETS = f"rate(http_request_duration_seconds_bucket{{{APP}}}[5m])"
Case = dict[str, Any]
NO_PAGE = {"runbook_url": f"{RUNBOOKS}/NoPage.md"}


def alert(expr: str, text: str = "Something is wrong.", **more: Any) -> Case:  # noqa: ANN401  # YAML
    labels = {"severity": "warning", "priority": "P2", "team": "backend"}
    told = annotations("HighErrorRate", "Wrong", text, PANELS)
    return {"alert": "HighErrorRate", "expr": expr, "for": "2m", "labels": labels, "annotations": told} | more


def record(name: str, expr: str = f"sum by (job) ({REQUESTS})", **more: Any) -> Case:  # noqa: ANN401  # YAML
    return {"record": name, "expr": expr} | more


def shown_by_tests(expr: str) -> Case:
    """An alert that the tests of the rules show in all situations that a baseline needs."""
    return alert(expr) | {
        "alert": "ApplicationDown",
        "annotations": annotations("ApplicationDown", "Wrong", "Wrong.", PANELS),
    }


def without(key: str, **places: str) -> Case:
    """An alert that lacks a label or an annotation."""
    rule = alert(f"sum by (job) ({REQUESTS}) > 1")
    for place, name in places.items():
        rule[place] = {**{k: v for k, v in rule[place].items() if k != name}, **({name: key} if key else {})}
    return rule


FINE = alert(f"sum by (job) ({REQUESTS}) > 1")
BY_ROUTE = f"sum by (job, route) ({REQUESTS})"
P95 = f"histogram_quantile(0.95, sum by (job, le) ({BUCKETS}))"
FAILED = f"rate(payment_failures_total{{{APP}}}[5m])"
TRIED = f"rate(payment_attempts_total{{{APP}}}[5m])"
ON = "{{ $labels.route }}"
FED = record("job:fed:rate5m")
READER = record("job:read:rate5m", "max by (job) (job:fed:rate5m)")
# check -> what it refuses, and the same as it should be
CASES: dict[str, tuple[Case | list[Case], Case | list[Case]]] = {
    "unknown-metric": (
        alert('sum by (job) (rate(redis_hits_total{job="redis"}[5m])) > 1'),
        alert('sum by (job) (rate(redis_keyspace_hits_total{job="redis"}[5m])) > 1'),
    ),
    "unrecorded-series": (
        [record("job:read:rate5m"), alert("job:raed:rate5m > 1")],
        [record("job:read:rate5m"), alert("job:read:rate5m > 1")],
    ),
    "unused-recording": (record("job:unread:rate5m"), record("job:read:rate5m")),
    "unknown-label": (
        alert(f'sum by (job) (rate(http_requests_total{{{APP}, code="500"}}[5m])) > 1'),
        alert(f'sum by (job) (rate(http_requests_total{{{APP}, status="500"}}[5m])) > 1'),
    ),
    "not-in-every-version": (
        alert('max by (job) (pg_replication_lag_seconds{job="postgres"}) > 60'),
        alert('max by (job) (pg_settings_max_connections{job="postgres"}) > 60'),
    ),
    "missing-job": (alert("sum(rate(http_requests_total[5m])) > 1"), FINE),
    "wrong-job": (alert('min by (job) (pg_up{job="redis"}) == 0'), alert('min by (job) (pg_up{job="postgres"}) == 0')),
    "integer-le": (
        alert(f'sum by (job) (rate(http_request_duration_seconds_bucket{{{APP}, le="3"}}[5m])) > 1'),
        alert(f'sum by (job) (rate(http_request_duration_seconds_bucket{{{APP}, le="0.5"}}[5m])) > 1'),
    ),
    "short-range": (
        alert(f"sum by (job) (rate(http_requests_total{{{APP}}}[30s])) > 1"),
        alert(f"sum by (job) (rate(http_requests_total{{{APP}}}[1m])) > 1"),
    ),
    "range-beyond-retention": (
        shown_by_tests(f"sum by (job) (increase(http_requests_total{{{APP}}}[30d] offset 30d)) > 1"),
        alert(f"sum by (job) (increase(http_requests_total{{{APP}}}[30d])) > 1"),
    ),
    "exporter-health": (
        alert('up{job="redis"} == 0', "{{ $labels.instance }}"),
        alert('redis_up{job="redis"} == 0 or up{job="redis"} == 0', "{{ $labels.instance }}"),
    ),
    "counter-without-rate": (alert(f"sum by (job) (http_requests_total{{{APP}}}) > 1"), FINE),
    "rate-of-gauge": (
        alert('sum by (job) (rate(node_memory_MemAvailable_bytes{job="node"}[5m])) > 1'),
        alert('sum by (job) (deriv(node_memory_MemAvailable_bytes{job="node"}[5m])) > 1'),
    ),
    "unaggregated-rate": (alert(f"{REQUESTS} > 1", ON), FINE),
    "unaggregated-ratio": (
        alert(f"{FAILED} / ({TRIED} > 0) > 0.1", "{{ $labels.provider }}"),
        alert(f"sum by (job) ({FAILED}) / (sum by (job) ({TRIED}) > 0) > 0.1"),
    ),
    "mismatched-labels": (
        alert(f"{BY_ROUTE} / (sum by (job) ({REQUESTS}) > 0) > 0.1", ON),
        alert(f"{BY_ROUTE} / on (job) group_left () (sum by (job) ({REQUESTS}) > 0) > 0.1", ON),
    ),
    "zero-divisor": (
        alert(f"sum by (job) ({FAILED}) / sum by (job) ({TRIED}) > 0.1"),
        alert(f"sum by (job) ({FAILED}) / clamp_min(sum by (job) ({TRIED}), 1) > 0.1"),
    ),
    "average-of-ratios": (
        alert(f"avg by (job) ({BY_ROUTE} / ({BY_ROUTE} > 0)) > 0.1"),
        alert(f"max by (job) ({BY_ROUTE} / ({BY_ROUTE} > 0)) > 0.1"),
    ),
    "quantile-without-le": (
        alert(f"histogram_quantile(0.95, sum by (job) ({BUCKETS})) > 3"),
        alert(f"{P95} > 3"),
    ),
    "unaggregated-quantile": (alert(f"histogram_quantile(0.95, {BUCKETS}) > 3", ON), alert(f"{P95} > 3")),
    "threshold-between-buckets": (alert(f"{P95} > 4"), alert(f"{P95} > 5")),
    "lost-label": (alert(f"sum by (job) ({REQUESTS}) > 1", ON), alert(f"{BY_ROUTE} > 1", ON)),
    "raw-value": (
        alert(f"sum by (job) ({REQUESTS}) > 1", "{{ $value }} a second"),
        alert(f"sum by (job) ({REQUESTS}) > 1", "{{ $value | humanize }} a second"),
    ),
    "value-in-label": (
        FINE | {"labels": {**FINE["labels"], "level": "{{ $value | humanize }}"}},
        FINE | {"labels": {**FINE["labels"], "level": "high"}},
    ),
    "anonymous-alert": (alert(f"{BY_ROUTE} > 1"), alert(f"{BY_ROUTE} > 1", ON)),
    "colliding-label": (
        alert('max by (priority) (receiver_incident_unacknowledged_age_seconds{job="receiver"}) > 900'),
        alert('max by (job) (receiver_incident_unacknowledged_age_seconds{job="receiver"}) > 900'),
    ),
    "unfiltered-alert": (alert(f"sum by (job) ({REQUESTS}) > bool 1"), FINE),
    "impossible-threshold": (
        [record("x:objective:ratio", "vector(0.9)"), alert("x:objective:ratio > 14.4 * (1 - x:objective:ratio)")],
        [record("x:objective:ratio", "vector(0.95)"), alert("x:objective:ratio > 14.4 * (1 - x:objective:ratio)")],
    ),
    "absent-without-for": (alert('absent(up{job="node"})') | {"for": "0s"}, alert('absent(up{job="node"})')),
    "missing-label": (without("", labels="team"), FINE),
    "wrong-priority": (without("P1", labels="priority"), FINE),
    "missing-annotation": (without("", annotations="summary"), FINE),
    "missing-runbook": (without("", annotations="runbook_url"), FINE),
    "untested-baseline": (
        alert(f"sum by (job) (increase(http_requests_total{{{APP}}}[1h] offset 1d)) > 1"),
        shown_by_tests(f"sum by (job) (increase(http_requests_total{{{APP}}}[1h] offset 1d)) > 1"),
    ),
    "unstated-lag": (
        {"groups": [{"name": "a", "rules": [FED]}, {"name": "b", "rules": [READER]}]},
        {"groups": [{"name": "a", "rules": [FED, READER]}]},
    ),
    "duplicate-identity": (
        [FINE, FINE | {"for": "9m"}],
        [FINE, FINE | {"labels": {**FINE["labels"], "team": "payments"}}],
    ),
    "slow-recording": (
        {"interval": "5m", "rules": [record("job:read:rate5m")]},
        {"interval": "2m", "rules": [record("job:read:rate5m")]},
    ),
    "newer-syntax": (
        {"query_offset": "1m", "rules": [FINE]},
        {"limit": 9, "rules": [FINE]},
    ),
}

SLO_HIGH = [record("x:sli:ratio_rate1h"), record("x:objective:ratio", "vector(0.9)", labels={"slo": "x"})]
P95_READ = record("job:read:rate5m", P95)
ALSO_BAD: list[tuple[str, Case | list[Case]]] = [
    ("unknown-metric", alert('max by (job) ({__name__="pg_upp", job="postgres"}) < 1')),
    (
        "unrecorded-series",
        [record("job:read:rate5m", labels={"kind": "a"}), alert('sum(job:read:rate5m{kind="b"}) > 1')],
    ),
    ("unknown-label", alert(f"sum by (job, rout) ({REQUESTS}) > 1")),
    ("unknown-label", [record("job:read:rate5m"), alert('job:read:rate5m{route="/"} > 1')]),
    ("unknown-label", alert(f"{BY_ROUTE} * on (job) group_left (version) max by (job) ({REQUESTS}) > 1", ON)),
    ("not-in-every-version", alert('max by (job) (pg_stat_activity_count{job="postgres", wait_event="x"}) > 1')),
    ("wrong-job", alert('min by (job) (pg_up{job="postgress"}) == 0')),
    ("wrong-job", alert('min by (job) (up{job=~"web.*"}) == 0')),
    ("range-beyond-retention", shown_by_tests('min by (job) (avg_over_time(pg_up{job="postgres"}[50d])) < 1')),
    (
        "range-beyond-retention",
        shown_by_tests('min by (job) (max_over_time(pg_up{job="postgres"}[20d:1h] offset 30d)) < 1'),
    ),
    ("untested-baseline", alert('min by (job) (max_over_time(pg_up{job="postgres"}[1h])) < 1')),
    ("untested-baseline", alert('min by (job) (max_over_time(pg_up{job="postgres"}[1h:1m])) < 1')),
    (
        "untested-baseline",
        alert('min by (job) (predict_linear(node_filesystem_avail_bytes{job="node"}[30m], 3600)) < 0'),
    ),
    (
        "untested-baseline",
        [
            record("job:read:rate5m", f"sum by (job) (increase(http_requests_total{{{APP}}}[1h] offset 1d))"),
            alert("job:read:rate5m > 1"),
        ],
    ),
    ("untested-baseline", alert(f"sum by (job) ({REQUESTS}) < 0.1 * sum by (job) ({OF_A_DAY})")),
    ("untested-baseline", alert(f"sum by (job) ({OF_A_DAY}) > on (job) 9 * sum by (job) ({REQUESTS})")),
    ("untested-baseline", alert(f"sum by (job) ({REQUESTS}) / (sum by (job) ({OF_A_DAY}) > 0) < 0.1")),
    (
        "untested-baseline",
        [
            record("job:read:rate5m", f"sum by (job) ({OF_A_DAY})"),
            alert(f"sum by (job) ({REQUESTS}) < 0.1 * job:read:rate5m"),
        ],
    ),
    ("exporter-health", alert('up{job=~"postgres|receiver"} < 1', "{{ $labels.instance }}")),
    ("exporter-health", alert('max by (job) (up{job="nginx"}) != 1')),
    ("counter-without-rate", alert(f"sum by (job) (http_request_duration_seconds_count{{{APP}}}) > 1")),
    ("unaggregated-rate", alert(f"abs({REQUESTS}) > 1", ON)),
    ("unaggregated-ratio", record("job:read:rate5m", f"{FAILED} / ({TRIED} > 0)")),
    ("mismatched-labels", alert(f"{BY_ROUTE} > 1 and sum by (job) ({REQUESTS}) > 1", ON)),
    ("mismatched-labels", alert(f"{BY_ROUTE} > 1 and on (job) sum by (route) ({REQUESTS}) > 1", ON)),
    ("mismatched-labels", alert(f"sum by (job) ({REQUESTS}) > ignoring (method) {BY_ROUTE}")),
    ("zero-divisor", alert(f"1 / sum by (job) ({REQUESTS} > bool 0) > 1")),
    ("zero-divisor", [record("job:read:rate5m"), alert(f"sum by (job) ({FAILED}) / job:read:rate5m > 0.1")]),
    ("zero-divisor", alert(f"sum by (job) ({FAILED}) / (sum by (job) ({TRIED}) > -1) > 0.1")),
    ("threshold-between-buckets", [P95_READ, alert("max(job:read:rate5m) > 4")]),
    ("threshold-between-buckets", [P95_READ, alert("2 * 2 < job:read:rate5m")]),
    (
        "threshold-between-buckets",
        alert(f'sum by (job) (rate(http_request_duration_seconds_bucket{{{APP}, le="0.4"}}[5m])) > 1'),
    ),
    ("lost-label", alert(f"sum by (job) ({REQUESTS}) > 1", "{{ $labels.server }}")),
    ("lost-label", alert(f"{BY_ROUTE} > on (job) sum by (job) ({REQUESTS})", ON)),
    ("lost-label", alert('absent(up{job="node", instance=~"db.*"})', "{{ $labels.instance }}")),
    ("raw-value", [record("job:read:rate5m"), alert("job:read:rate5m > 1", "{{ $value }}s")]),
    ("raw-value", alert('max by (job) (node_timex_offset_seconds{job="node"}) > 1', "{{$value}}")),
    ("anonymous-alert", alert('pg_up{job="postgres"} == 0')),
    ("unfiltered-alert", alert(f"sum by (job) ({REQUESTS}) > 1 or sum by (job) ({REQUESTS})")),
    (
        "impossible-threshold",
        [*SLO_HIGH, alert("x:sli:ratio_rate1h > on () group_left () 14.4 * (1 - x:objective:ratio)")],
    ),
    ("impossible-threshold", [record("x:sli:ratio_rate1h"), alert("x:sli:ratio_rate1h < 0")]),
    ("missing-label", without("", labels="priority")),
    ("wrong-priority", without("urgent", labels="severity")),
    ("missing-runbook", without(f"{RUNBOOKS}/DatabaseDown.md", annotations="runbook_url")),
    (
        "missing-runbook",
        FINE | {"alert": "NoPage", "annotations": annotations("HighErrorRate", "Wrong", "Wrong.", PANELS) | NO_PAGE},
    ),
    ("missing-annotation", without("", annotations="dashboard_url")),
    ("newer-syntax", alert(f"sum by (job) (mad_over_time(http_requests_in_flight{{{APP}}}[5m])) > 1")),
]
ALSO_GOOD: list[Case | list[Case]] = [
    alert(
        'label_replace(absent(pg_up{job="postgres"}), "metric", "pg_up", "", "")',
        "{{ $labels.metric }} {{ $labels.job }}",
    ),
    alert(f"sum without (instance, method, status) ({REQUESTS}) > 1", ON),
    alert('count by (job) (count_values by (job) ("hash", alertmanager_config_hash{job="alertmanager"})) != 1'),
    alert(f"{BY_ROUTE} > on (job) group_left () sum by (job) ({REQUESTS})", ON),
    alert(
        'up{job="prometheus"} * on (instance) group_left (version) prometheus_build_info{job="prometheus"} == 0',
        "{{ $labels.instance }} runs {{ $labels.version }}",
    ),
    alert("vector(0) > 1"),
    alert(
        'sum by (job) (node_memory_MemFree_bytes{job="node"} / node_memory_MemTotal_bytes{job="node"} < bool 0.1) > 1'
    ),
    [record("x:objective:ratio", "vector(0.9)"), alert("sum(x:objective:ratio) / (1 - x:objective:ratio) > 20")],
    alert('max by (job) (redis_up{job="redis"}) == 1 and on (job) up{job="redis"} == 1'),
]


def complaints(tmp_path: Path, case: Case | list[Case]) -> list[tuple[str, str]]:
    """Names and texts of all that the checks find."""
    rules_of = case if isinstance(case, list) else [case]
    group = case if isinstance(case, dict) and "rules" in case else {"rules": rules_of}
    groups = case["groups"] if isinstance(case, dict) and "groups" in case else [{"name": "case", **group}]
    path = tmp_path / "case.yml"
    path.write_text(yaml.safe_dump({"groups": groups}, sort_keys=False), "utf-8")
    rules = read(path).rules
    around = World(SERIES, rules, HERE)
    return [(one.check, one.text) for rule in rules for one in of_rule(rule, around)]


@pytest.mark.parametrize(
    ("name", "values", "case", "seen"),
    [
        ("[outage of 3 h]", "1x9", {"eval_time": "3h", "exp_alerts": []}, True),
        ("[outage of 3 h]", "1x9", {"eval_time": "179m", "exp_alerts": [{}]}, False),
        ("[outage of 8 d]", "1x9", {"eval_time": "192h", "exp_alerts": [{}]}, True),
        ("[outage of 8 d]", "1x9", {"eval_time": "192h", "exp_alerts": []}, False),
        ("[outage of 8 d]", "1x9", {"eval_time": "191h", "exp_alerts": [{}]}, False),
        ("[gap]", "1x9 _x3 1x9", {"eval_time": "1h", "exp_alerts": []}, True),
        ("[gap]", "1x9", {"eval_time": "1h", "exp_alerts": []}, False),
        ("[new Prometheus]", "1x9", {"eval_time": "0m", "exp_alerts": []}, True),
        ("[new Prometheus]", "1x9", {"eval_time": "1h", "exp_alerts": [{}]}, False),
    ],
)
def test_a_marker_counts_only_with_a_case_that_shows_it(
    name: str, values: str, case: Case, seen: bool, tmp_path: Path
) -> None:
    tests = [
        {
            "name": f"{name} A",
            "input_series": [{"series": "a", "values": values}],
            "alert_rule_test": [case | {"alertname": "A"}],
        },
        {"name": "no marker", "alert_rule_test": [{"alertname": "A", "eval_time": "200h", "exp_alerts": [{}]}]},
    ]
    (tmp_path / "a_test.yml").write_text(yaml.safe_dump({"tests": tests}), "utf-8")
    assert shown(tmp_path) == ({"A": {name}} if seen else {})


def test_a_sample_of_alerts_shows_an_alert_firing(tmp_path: Path) -> None:
    case = {
        "eval_time": "9d",
        "expr": 'count(ALERTS{alertname="A", alertstate="firing"})',
        "exp_samples": [{"value": 1}],
    }
    (tmp_path / "a_test.yml").write_text(
        yaml.safe_dump({"tests": [{"name": "[outage of 8 d]", "promql_expr_test": [case]}]}), "utf-8"
    )
    assert shown(tmp_path) == {"A": {"[outage of 8 d]"}}


@pytest.mark.parametrize(
    ("comments", "checks"),
    [
        ("# pint disable rule/dependency\n    # lag: 30s", set()),
        ("# pint disable rule/dependency\n    # lag: 29s", {"unstated-lag"}),
        ("# pint disable rule/dependency", {"unstated-lag"}),
        ("# lag: 1m", {"unstated-lag"}),
    ],
)
def test_a_lag_is_stated_for_pint_and_for_people(comments: str, checks: set[str], tmp_path: Path) -> None:
    path = tmp_path / "case.yml"
    path.write_text(
        f"groups:\n- name: a\n  interval: 30s\n  rules:\n  - record: job:fed:rate5m\n    expr: {FED['expr']!r}\n"
        f"- name: b\n  rules:\n  - record: job:read:rate5m\n    {comments}\n    expr: {READER['expr']!r}\n",
        "utf-8",
    )
    rules = read(path).rules
    assert {one.check for rule in rules for one in of_rule(rule, World(SERIES, rules, HERE))} == checks


def test_every_check_has_its_case() -> None:
    assert list(CASES) == list(CHECKS)


@pytest.mark.parametrize("check", CASES)
def test_a_check_refuses_what_it_is_for_and_nothing_else(check: str, tmp_path: Path) -> None:
    bad, good = CASES[check]
    assert {name for name, _ in complaints(tmp_path, bad)} == {check}
    assert complaints(tmp_path, good) == []


@pytest.mark.parametrize(("check", "bad"), ALSO_BAD, ids=[name for name, _ in ALSO_BAD])
def test_a_check_refuses_it_in_other_shapes_too(check: str, bad: Case | list[Case], tmp_path: Path) -> None:
    assert {name for name, _ in complaints(tmp_path, bad)} == {check}


@pytest.mark.parametrize("good", ALSO_GOOD, ids=[str(n) for n, _ in enumerate(ALSO_GOOD)])
def test_what_only_looks_wrong_passes(good: Case | list[Case], tmp_path: Path) -> None:
    assert complaints(tmp_path, good) == []
