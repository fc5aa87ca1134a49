"""`python -m rules.check FILE`: the cases that name a rule of the file run, over what they read and nothing else."""

import shutil
from pathlib import Path

import pytest
import yaml

from rules.check import concerned, main, needed
from rules.lint.source import read

pytestmark = pytest.mark.stack
TEST = {
    "rule_files": ["../business.yml"],
    "tests": [
        {"name": "a", "alert_rule_test": [{"alertname": "LowUserRegistrations"}, {"alertname": "PaymentFailureRate"}]},
        {"name": "b", "promql_expr_test": [{"expr": "heypeter:class_bookings:increase1h > 3"}]},
        {"name": "c", "alert_rule_test": [{"alertname": "HighErrorRate"}]},
    ],
}


def test_only_the_cases_about_the_names_are_kept() -> None:
    cut = concerned(TEST, {"LowUserRegistrations", "heypeter:class_bookings:increase1h"})
    assert cut is not None
    assert [one["name"] for one in cut["tests"]] == ["a", "b"]
    assert cut["tests"][0]["alert_rule_test"] == [{"alertname": "LowUserRegistrations"}]
    assert concerned(TEST, {"DatabaseDown"}) is None


def test_what_a_case_reads_is_followed_to_its_source() -> None:
    rules = [rule for path in sorted(Path("rules").glob("*.yml")) for rule in read(path).rules]
    cut = concerned(TEST, {"PaymentFailureRate"})
    assert cut is not None
    recorded = {name for name in needed(cut, rules) if ":" in name}
    ratio, failures = "heypeter:payment_failures:ratio30m", "heypeter:payment_failures:increase30m"
    assert recorded == {ratio, failures, "heypeter:payment_attempts:increase30m"}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The shipped rules with three of their test files."""
    for path in Path("rules").glob("*.yml"):
        shutil.copy(path, tmp_path)
    (tmp_path / "tests").mkdir()
    for name in ("business_test.yml", "critical_test.yml", "years_test.yml"):
        shutil.copy(f"rules/tests/{name}", tmp_path / "tests")
    return tmp_path


def test_a_file_passes_with_all_its_cases(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = yaml.safe_load((copy / "tests/business_test.yml").read_text("utf-8"))
    names = {"LowUserRegistrations", "HighClassCancellationRate", "PaymentFailureRate"}
    cases = [case["alertname"] in names for one in content["tests"] for case in one.get("alert_rule_test", [])]
    assert main([str(copy / "business.yml")]) == 0
    said = capsys.readouterr().out
    assert said.endswith(f"\n{sum(cases)} cases of 1 test files pass\n"), said


def test_a_changed_number_is_noticed_by_its_own_test(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = copy / "business.yml"
    path.write_text(path.read_text("utf-8").replace("increase1h < 30", "increase1h < 20"), "utf-8")
    assert main([str(path), "--only", "LowUserRegistrations"]) == 1
    said = capsys.readouterr().out
    assert f"{copy / 'tests/business_test.yml'}: " in said
    assert "alertname: LowUserRegistrations" in said
    assert main([str(path), "--only", "PaymentFailureRate"]) == 0


def test_a_series_of_zeros_is_no_number_in_hexadecimal(copy: Path) -> None:
    """`0x80` is a series to promtool, and 128 to YAML."""
    assert "values: 0x80}" in (copy / "tests/critical_test.yml").read_text("utf-8")
    assert main([str(copy / "critical.yml"), "--only", "DiskSpaceCritical"]) == 0


def test_an_alert_without_a_test_is_named(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(copy / "warning.yml"), "--only", "RedisDown"]) == 1
    assert ": RedisDown: no test fires it or keeps it from firing" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "text", "said"),
    [
        (["--only", "LowUserRegistration"], None, "no rule in these files is called LowUserRegistration\n"),
        ([], "tests: [", "years_test.yml: did not find expected node content\n"),
        ([], "tests: []\n", "years_test.yml: a test file has `rule_files` and `tests`\n"),
    ],
)
def test_bad_input_is_one_message(
    words: list[str], text: str | None, said: str, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        (copy / "tests/years_test.yml").write_text(text, "utf-8")
    assert main([str(copy / "business.yml"), *words]) == 1
    err = capsys.readouterr().err
    assert err.endswith(said)
    assert err.count("\n") == 1
