"""Rules, their tests and the configurations, judged by promtool and amtool; then what these pass silently."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.stack

TOOLS = Path(".stack/bin")
RULES = sorted(Path("rules").glob("*.yml"))
TESTS = sorted(Path("rules/tests").glob("*.yml"))
RUNBOOKS = "https://github.com/heypeteracademy/monitoring/blob/main/"
PROMETHEUS = [Path("deploy/config/prometheus.yml"), Path("deploy/local/prometheus.yml")]
ALERTMANAGER = [Path("deploy/config/alertmanager.yml"), Path("deploy/local/alertmanager.yml")]


def tool(name: str, *words: object) -> subprocess.CompletedProcess[str]:
    assert (TOOLS / name).exists(), f"{name} is not there: run `make stack`"
    return subprocess.run([TOOLS / name, *map(str, words)], capture_output=True, text=True, check=False)


def alerts() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for path in RULES:
        for group in yaml.safe_load(path.read_text("utf-8"))["groups"]:
            for rule in group["rules"]:
                if "alert" in rule:
                    assert rule["alert"] not in found, f"{path}: {rule['alert']} stands twice; rename one"
                    found[rule["alert"]] = {**rule, "file": path}
    return found


def cases() -> list[tuple[Path, dict[str, Any]]]:
    return [
        (path, case)
        for path in TESTS
        for test in yaml.safe_load(path.read_text("utf-8"))["tests"]
        for case in test.get("alert_rule_test", [])
    ]


ALERTS = alerts()


@pytest.mark.parametrize("path", RULES, ids=str)
def test_promtool_takes_the_rules(path: Path) -> None:
    done = tool("promtool", "check", "rules", path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", TESTS, ids=str)
def test_promtool_runs_the_rule_tests(path: Path) -> None:
    done = tool("promtool", "test", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr


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
    if name.startswith("Receiver"):
        receiver = "fallback-email,receiver"
    labels = [f"{k}={v}" for k, v in {"alertname": name, **ALERTS[name]["labels"]}.items()]
    config = f"--config.file={ALERTMANAGER[0]}"
    done = tool("amtool", "config", "routes", "test", config, f"--verify.receivers={receiver}", *labels)
    assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"


def test_the_documents_ten_alerts_are_there() -> None:
    expected = {
        "HighErrorRate": ("critical", "backend", "2m"),
        "DatabaseDown": ("critical", "database", "1m"),
        "HighMemoryUsage": ("critical", "infrastructure", "5m"),
        "DiskSpaceCritical": ("critical", "infrastructure", "5m"),
        "SlowResponseTime": ("warning", "backend", "10m"),
        "HighDatabaseConnections": ("warning", "database", "5m"),
        "CacheHitRateLow": ("warning", "backend", "15m"),
        "LowUserRegistrations": ("warning", "product", "2h"),
        "HighClassCancellationRate": ("warning", "operations", "1h"),
        "PaymentFailureRate": ("critical", "payments", "15m"),
    }
    for name, (severity, team, wait) in expected.items():
        rule = ALERTS[name]
        assert (rule["labels"]["severity"], rule["labels"]["team"], rule["for"]) == (severity, team, wait), name


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_says_what_a_person_needs(name: str) -> None:
    rule, file = ALERTS[name], ALERTS[name]["file"]
    for label in ("severity", "team", *(() if name == "Watchdog" else ("priority",))):
        assert rule["labels"].get(label), f"{file}: {name} lacks the label {label}; add it"
    for annotation in ("summary", "description", "runbook_url"):
        assert rule["annotations"].get(annotation), f"{file}: {name} lacks the annotation {annotation}; add it"
    page = rule["annotations"]["runbook_url"].removeprefix(RUNBOOKS)
    assert page == f"docs/runbooks/{name}.md", f"{file}: {name} links to {page}"
    assert Path(page).is_file(), f"{file}: {name} has no runbook; write {page}"


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_is_shown_to_fire_and_to_be_quiet(name: str) -> None:
    mine = [case for _, case in cases() if case["alertname"] == name]
    assert any(case["exp_alerts"] for case in mine), f"rules/tests: nothing makes {name} fire; add a test that does"
    quiet = name == "Watchdog" or any(not case["exp_alerts"] for case in mine)
    assert quiet, f"rules/tests: nothing shows {name} quiet; add a test below its threshold"


def test_no_rule_test_speaks_of_an_alert_that_does_not_exist() -> None:
    for path, case in cases():
        assert case["alertname"] in ALERTS, f"{path}: no rule is called {case['alertname']}; promtool says nothing"


@pytest.mark.parametrize("path", TESTS, ids=str)
def test_every_rule_file_of_a_test_exists(path: Path) -> None:
    content = yaml.safe_load(path.read_text("utf-8"))
    for pattern in content["rule_files"]:
        assert list(path.parent.glob(pattern)), f"{path}: {pattern} matches no file; promtool says nothing"
    for test in content["tests"]:
        assert "interval" in test, f"{path}: {test['name']}: write the interval; its default differs by version"


def test_thresholds_of_quantiles_are_bucket_boundaries() -> None:
    catalogue = yaml.safe_load(Path("exporter/catalogue.yml").read_text("utf-8"))
    bounds = {f["name"]: catalogue["buckets"][f["buckets"]] for f in catalogue["families"] if "buckets" in f}
    recorded = {
        rule["record"]: match[1]
        for path in RULES
        for group in yaml.safe_load(path.read_text("utf-8"))["groups"]
        for rule in group["rules"]
        if "record" in rule and (match := re.search(r"histogram_quantile\(.*?(\w+)_bucket", rule["expr"]))
    }
    assert recorded
    compared = 0
    for name, rule in ALERTS.items():
        for series, threshold in re.findall(r"([\w:]+)\s*>=?\s*([\d.]+)", rule["expr"]):
            if series in recorded:
                compared += 1
                assert float(threshold) in bounds[recorded[series]], f"{name}: {threshold} is no bucket of {series}"
    assert compared


def test_every_metric_of_the_application_is_in_the_catalogue() -> None:
    catalogue = yaml.safe_load(Path("exporter/catalogue.yml").read_text("utf-8"))
    known = {family["name"]: set(family["labels"]) for family in catalogue["families"]}
    for path in RULES:
        for metric, labels in re.findall(r'(\w+)\{job="heypeter-app"([^}]*)\}', path.read_text("utf-8")):
            family = re.sub(r"_(bucket|sum|count)$", "", metric)
            assert family in known, f"{path}: {metric} is not in exporter/catalogue.yml"
            for label in re.findall(r"(\w+)\s*[=!]~?", labels):
                assert label in known[family], f"{path}: {metric} has no label {label}"
