"""rules/tables/ -> rules/: what is generated is fresh, and a table with a mistake is refused by its name and place."""

import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import yaml

from rules import expected_rules
from rules.thresholds import Table, written
from rules.writing import panels

RULES = """\
groups:
  - name: business_alerts
    rules:
      - alert: Few
        expr: |2
            heypeter:few:increase1h < 30
          and
            heypeter:few_other:increase1h >= 5
        for: 2h
        annotations: {description: "{{ $value }} (threshold 30)."}

      # Few, and fewer still.
      - alert: Fewer
        expr: heypeter:few:increase1h < 10
        for: 2h
        annotations: {description: "{{ $value }} (threshold 10)."}
  - name: others
    rules: []
"""


def table(alert: str = "Few", shown: str = "20", **limits: float) -> Table:
    all_limits = {"heypeter:few:increase1h": 20.5} | {key.replace("__", ":"): value for key, value in limits.items()}
    content = {"thresholds": [{"alert": alert, "limits": all_limits, "shown": shown, "for": "45m"}]}
    return msgspec.convert(content, Table)


def test_a_threshold_goes_to_its_alert_alone() -> None:
    new = written(table(heypeter__few_other__increase1h=7), {"a.yml": "groups: []\n", "business.yml": RULES})
    assert new["a.yml"] == "groups: []\n"
    few = (
        RULES.replace("increase1h < 30", "increase1h < 20.5")
        .replace(">= 5", ">= 7")
        .replace("(threshold 30)", "(threshold 20)")
        .replace("for: 2h", "for: 45m", 1)
    )
    assert new["business.yml"] == few
    yaml.safe_load(new["business.yml"])


def test_the_last_alert_of_a_file_is_found_too() -> None:
    new = written(table("Fewer"), {"business.yml": RULES})["business.yml"]
    assert new.count("< 20.5") == 1
    assert new.count("< 30") == 1
    assert new.endswith("  - name: others\n    rules: []\n")


@pytest.mark.parametrize(
    ("thresholds", "complaint"),
    [
        (table("Fews"), "Fews: no rule file has an alert with this name"),
        (table(heypeter__fw=3), "Few: found a comparison of heypeter:fw with a number 0 times"),
    ],
)
def test_what_no_rule_has_is_refused(thresholds: Table, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        written(thresholds, {"business.yml": RULES})


def test_a_rule_without_the_threshold_in_words_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Few: found \"\(threshold …\)\" in its description 0 times"):
        written(table(), {"business.yml": RULES.replace("(threshold 30)", "")})


def generate(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rules.generate", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree("rules", tmp_path / "rules", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "grafana").mkdir()
    shutil.copy("grafana/panels.yml", tmp_path / "grafana")
    return tmp_path


def test_the_rules_are_what_their_tables_say() -> None:
    done = generate(Path(), "--check")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "old"), [("benchmarks.yml", "for: 15"), ("slo.yml", "for: 15"), ("critical.yml", "> 0.05")]
)
def test_a_stale_file_is_named_and_then_mended(copy: Path, name: str, old: str) -> None:
    path = copy / "rules" / name
    right = path.read_text("utf-8")
    assert old in right
    path.write_text(right.replace(old, f"{old[:-1]}7"), "utf-8")
    done = generate(copy, "--check")
    assert done.returncode == 1
    assert done.stderr == f"rules/{name} differs from its table: run `python -m rules.generate`\n"
    assert generate(copy).returncode == 0
    assert path.read_text("utf-8") == right


@pytest.mark.parametrize(
    ("name", "old", "new", "complaint"),
    [
        ("thresholds.yml", "for: 2m", "for: soon", "rules/tables/thresholds.yml: Expected `str` matching regex"),
        ("thresholds.yml", "shown: 5%", "shwon: 5%", "rules/tables/thresholds.yml: Object"),
        ("thresholds.yml", "HighErrorRate #", "HighErorRate #", "rules/tables/thresholds.yml: HighErorRate: no rule"),
        ("slo.yml", "objective: 0.999", "objective: 1.999", "rules/tables/slo.yml: Expected `float` < 1"),
        ("slo.yml", "factor: 14.4", "factor: 144", "rules/tables/slo.yml: SLOBurnRateFast can never fire for"),
        ("benchmarks.yml", "better: below", "better: bellow", "rules/tables/benchmarks.yml: Invalid enum value"),
        ("benchmarks.yml", "\nbenchmarks:", "\nbenchmarks: [", "rules/tables/benchmarks.yml: while parsing"),
    ],
)
def test_a_mistake_in_a_table_is_one_message(copy: Path, name: str, old: str, new: str, complaint: str) -> None:
    path = copy / "rules/tables" / name
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    done = generate(copy)
    assert (done.returncode, done.stderr.startswith(complaint)) == (1, True), done.stderr
    assert "Traceback" not in done.stderr


def test_a_job_that_a_site_does_not_have_is_left_out_by_one_line() -> None:
    jobs = {"node": ["node_memory_MemAvailable_bytes"], "redis": ["redis_up"]}
    text = expected_rules.written(expected_rules.Table(jobs=jobs, without=["redis"]), panels())
    rules = {rule["alert"]: rule["expr"] for rule in yaml.safe_load(text)["groups"][0]["rules"]}
    assert rules["JobMissing"] == 'absent(up{job="node"})'
    assert "node_memory_MemAvailable_bytes" in rules["ExpectedMetricMissing"]
    assert "redis" not in text
    with pytest.raises(ValueError, match="unknown job 'rediss'"):
        expected_rules.Table(jobs=jobs, without=["rediss"])


def test_without_any_expected_metric_none_can_be_missing() -> None:
    text = expected_rules.written(expected_rules.Table(jobs={"prometheus": []}), panels())
    assert [rule["alert"] for rule in yaml.safe_load(text)["groups"][0]["rules"]] == ["JobMissing"]
