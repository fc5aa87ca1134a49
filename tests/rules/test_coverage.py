"""Coverage of the rules by their tests: whatever promtool passes in silence is refused by name."""

from pathlib import Path

import pytest

from rules.coverage import coverage, main

RULES = """\
groups:
  - name: g
    rules:
      - {record: r, expr: x}
      - {alert: Loud, expr: x > 1}
      - {alert: Watchdog, expr: vector(1)}
"""
TESTS = """\
rule_files: [../a.yml]
tests:
  - alert_rule_test:
      - {eval_time: 1m, alertname: Loud, exp_alerts: [{exp_labels: {}}]}
      - {eval_time: 2m, alertname: Loud, exp_alerts: []}
      - {eval_time: 2m, alertname: Watchdog, exp_alerts: [{exp_labels: {}}]}
  - promql_expr_test: []
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tests").mkdir()
    (tmp_path / "a.yml").write_text(RULES, "utf-8")
    (tmp_path / "tests/a_test.yml").write_text(TESTS, "utf-8")
    return tmp_path


def broken(folder: Path, old: str, new: str, *, file: str = "tests/a_test.yml") -> list[str]:
    path = folder / file
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    return coverage(folder, folder / "tests").faults


def test_all_that_is_shown_is_counted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"--rules.dir={folder}"]) == 0
    assert capsys.readouterr().out == "2 of 2 alerts have a test that fires, 1 of 1 one that does not: 100%\n"


def test_an_alert_that_no_test_makes_fire_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faults = broken(folder, "alertname: Loud, exp_alerts: [{exp_labels: {}}]", "alertname: Loud, exp_alerts: []")
    assert faults == [f"{folder}/tests: no test fires Loud; add one"]
    assert main([f"--rules.dir={folder}"]) == 1
    told = capsys.readouterr()
    assert "1 of 2 alerts have a test that fires, 1 of 1 one that does not: 66%" in told.out
    assert "Loud" in told.err


def test_an_alert_that_is_never_quiet_is_named_and_the_watchdog_is_not(folder: Path) -> None:
    faults = broken(folder, "2m, alertname: Loud, exp_alerts: []", "2m, alertname: Loud, exp_alerts: [{}]")
    assert faults == [f"{folder}/tests: no test in which Loud does not fire; add one below its threshold"]


def test_an_alert_that_does_not_exist_is_named_and_counts_for_nothing(folder: Path) -> None:
    first, second = broken(folder, "alertname: Loud, exp_alerts: []", "alertname: Load, exp_alerts: []")
    assert first == f"{folder}/tests/a_test.yml: unknown alert Load"
    assert "no test in which Loud does not fire" in second


def test_an_alert_without_any_test_is_named_twice(folder: Path) -> None:
    faults = broken(folder, "- {record: r, expr: x}", "- {alert: New, expr: x}", file="a.yml")
    assert ["New" in fault for fault in faults] == [True, True]


def test_a_pattern_that_matches_nothing_is_named(folder: Path) -> None:
    faults = broken(folder, "[../a.yml]", "[../a.yml, ../b*.yml]")
    assert faults == [f"{folder}/tests/a_test.yml: ../b*.yml matches no rule file"]


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("a.yml", "groups: [", "a.yml: while parsing"),
        ("a.yml", "rules: []", "a.yml: missing list groups"),
        ("tests/a_test.yml", "[]", "a_test.yml: missing list tests"),
    ],
)
def test_a_file_that_is_none_gives_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], file: str, text: str, expected: str
) -> None:
    (folder / file).write_text(text, "utf-8")
    assert main([f"--rules.dir={folder}"]) == 1
    assert expected in capsys.readouterr().err


def test_a_folder_without_rules_gives_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"--rules.dir={tmp_path}"]) == 1
    assert capsys.readouterr().err == f"{tmp_path} contains no *.yml\n"


def test_the_tests_of_our_own_rules_show_every_alert_firing_and_quiet() -> None:
    result = coverage(Path("rules"), Path("rules/tests"))
    assert not result.faults
    assert result.figure.endswith("100%")
