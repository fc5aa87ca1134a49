"""Rules, their tests and the configurations, judged by promtool and amtool; then what these pass silently.

What is wrong within a rule, the lint says: test_lint.py.
"""

import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from promql_parser import parse_duration

from rules.mutants import Bench

pytestmark = pytest.mark.stack

TOOLS = Path(".stack/bin")
RULES = sorted(Path("rules").glob("*.yml"))
TESTS = sorted(Path("rules/tests").glob("*.yml"))
PROMETHEUS = [Path("deploy/config/prometheus.yml"), Path("deploy/local/prometheus.yml")]
ALERTMANAGER = [Path("deploy/config/alertmanager.yml"), Path("deploy/local/alertmanager.yml")]


def tool(name: str, *words: object) -> subprocess.CompletedProcess[str]:
    assert (TOOLS / name).exists(), f"{name} is not there: run `make stack`"
    return subprocess.run([TOOLS / name, *map(str, words)], capture_output=True, text=True, check=False)


def alerts() -> dict[str, dict[str, Any]]:
    by_name: dict[str, dict[str, Any]] = {}
    for path in RULES:
        for group in yaml.load(path.read_text("utf-8"), yaml.CSafeLoader)["groups"]:
            for rule in group["rules"]:
                if "alert" in rule:
                    assert rule["alert"] not in by_name, f"{path}: {rule['alert']} stands twice; rename one"
                    by_name[rule["alert"]] = {**rule, "file": path, "group": group["name"]}
    return by_name


ALERTS = alerts()
# What the receiver cannot tell, or what says that nobody hears it: by Alertmanager's own mail as well.
BY_MAIL_TOO = {
    *("ReceiverDown", "ReceiverWatchdogLate", "ReceiverBacklog", "ReceiverNotificationsDead", "OnCallGap"),
    *("AlertmanagerNotificationsFailing", "IncidentUnacknowledged", "ReceiverStoreOutage"),
    "ReceiverIncidentsStuck",
}
# What would be an incident that it looks at itself.
BY_MAIL_ONLY = {"IncidentUnacknowledgedLong", "ReceiverResolvedStillFiring"}


@pytest.fixture(scope="module")
def judged() -> dict[Path, subprocess.CompletedProcess[str]]:
    """All files at once, on all cores: one after the other they take twice as long."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(TESTS, pool.map(lambda path: tool("promtool", "test", "rules", path), TESTS), strict=True))


def test_every_rule_test_passes_over_the_rules_that_it_reads() -> None:
    failures = Bench.of(Path("rules"), TOOLS / "promtool").failures()
    assert not failures, "\n".join(failures)


@pytest.mark.slow
@pytest.mark.parametrize("path", TESTS, ids=str)
def test_promtool_runs_the_rule_tests(path: Path, judged: dict[Path, subprocess.CompletedProcess[str]]) -> None:
    assert judged[path].returncode == 0, judged[path].stdout + judged[path].stderr


@pytest.mark.parametrize("path", PROMETHEUS, ids=str)
def test_promtool_takes_the_configuration_with_all_rules(path: Path) -> None:
    done = tool("promtool", "check", "config", path)
    assert done.returncode == 0, done.stderr
    checked = re.findall(r"Checking (\S+\.yml)", done.stdout)
    assert len(checked) == 1 + len(RULES), f"{path}: rule_files must match rules/*.yml and nothing else: {checked}"


@pytest.mark.parametrize("path", ALERTMANAGER, ids=str)
def test_amtool_takes_the_configuration(path: Path) -> None:
    done = tool("amtool", "check-config", path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_is_routed_where_it_belongs(name: str) -> None:
    receiver = "watchdog" if name == "Watchdog" else "receiver"
    if name in BY_MAIL_TOO:
        receiver = "fallback-email,receiver"
    elif name in BY_MAIL_ONLY:
        receiver = "fallback-email"
    # The team of a burn rate is its objective's.
    labels = {k: v.replace("{{ $labels.team }}", "backend") for k, v in ALERTS[name]["labels"].items()}
    routed(receiver, {"alertname": name, **labels})


def test_an_alert_that_no_route_knows_still_reaches_the_receiver() -> None:
    routed("receiver", {"alertname": "SomethingNew"})
    routed("receiver", {"alertname": "SomethingNew", "severity": "info", "team": "nobody"})


def routed(receiver: str, labels: dict[str, str]) -> None:
    words = [f"{k}={v}" for k, v in labels.items()]
    config = f"--config.file={ALERTMANAGER[0]}"
    done = tool("amtool", "config", "routes", "test", config, f"--verify.receivers={receiver}", *words)
    assert done.returncode == 0, f"{ALERTMANAGER[0]}: {labels['alertname']}: {done.stdout}{done.stderr}"


@pytest.mark.parametrize("path", ALERTMANAGER, ids=str)
def test_alertmanager_uses_only_what_all_versions_know(path: Path) -> None:
    for receiver in yaml.safe_load(path.read_text("utf-8"))["receivers"]:
        for webhook in receiver.get("webhook_configs", []):
            newer = set(webhook) - {"url", "send_resolved", "max_alerts", "http_config"}
            assert not newer, f"{path}: {receiver['name']}: Alertmanager 0.25 refuses {newer}; leave it out"


@pytest.mark.parametrize("path", ALERTMANAGER, ids=str)
def test_no_beat_of_the_watchdog_is_left_out(path: Path) -> None:
    routes = yaml.safe_load(path.read_text("utf-8"))["route"]["routes"]
    route = next(route for route in routes if route["receiver"] == "watchdog")
    group, repeat = (parse_duration(route[name]) for name in ("group_interval", "repeat_interval"))
    # Equal to group_interval, a repeat is a moment too early at each flush and waits for the next one.
    assert repeat < group, f"{path}: Watchdog's repeat_interval must be a little below its group_interval"


def test_the_documents_ten_alerts_are_there() -> None:
    expected = {
        "HighErrorRate": ("critical_alerts", "critical", "backend", "2m", "High error rate detected"),
        "DatabaseDown": ("critical_alerts", "critical", "database", "1m", "Database is down"),
        "HighMemoryUsage": ("critical_alerts", "critical", "infrastructure", "5m", "Critical memory usage"),
        "DiskSpaceCritical": ("critical_alerts", "critical", "infrastructure", "5m", "Disk space critical"),
        "SlowResponseTime": ("warning_alerts", "warning", "backend", "10m", "Slow response times"),
        "HighDatabaseConnections": ("warning_alerts", "warning", "database", "5m", "High database connection count"),
        "CacheHitRateLow": ("warning_alerts", "warning", "backend", "15m", "Low cache hit rate"),
        "LowUserRegistrations": ("business_alerts", "warning", "product", "2h", "Low user registration rate"),
        "HighClassCancellationRate": ("business_alerts", "warning", "operations", "1h", "High class cancellation rate"),
        "PaymentFailureRate": ("business_alerts", "critical", "payments", "15m", "High payment failure rate"),
    }
    actual = {
        name: (rule["group"], rule["labels"]["severity"], rule["labels"]["team"], rule["for"], summary)
        for name, rule in ALERTS.items()
        if name in expected and (summary := rule["annotations"]["summary"])
    }
    assert actual == expected


@pytest.mark.parametrize("path", TESTS, ids=str)
def test_every_rule_file_of_a_test_exists(path: Path) -> None:
    content = yaml.safe_load(path.read_text("utf-8"))
    for pattern in content["rule_files"]:
        assert list(path.parent.glob(pattern)), f"{path}: {pattern} matches no file; promtool says nothing"
    groups = [
        group["name"]
        for pattern in content["rule_files"]
        for file in sorted(path.parent.glob(pattern))
        for group in yaml.safe_load(file.read_text("utf-8"))["groups"]
    ]
    assert content.get("group_eval_order") == groups, f"{path}: write group_eval_order: {groups}; it is random without"
    for test in content["tests"]:
        assert "interval" in test, f"{path}: {test['name']}: write the interval; its default differs by version"


def test_the_table_has_the_documents_fifteen_benchmarks() -> None:
    table = yaml.safe_load(Path("rules/tables/benchmarks.yml").read_text("utf-8"))["benchmarks"]
    targets = {"page_load": 3, "api_response": 0.5, "database_query": 0.1, "time_to_interactive": 5}
    targets |= {"first_contentful_paint": 1.5, "cpu": 0.7, "memory": 0.8, "disk_io": 0.8, "network_latency": 0.05}
    targets |= {"uptime": 0.999, "registrations": 50, "bookings": 200, "payment_success": 0.95, "retention": 0.8}
    assert {one["key"]: one["target"] for one in table} == targets | {"support_response": 7200}
