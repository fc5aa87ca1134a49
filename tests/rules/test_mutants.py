"""The mutants judged by a real promtool: which tests notice which, and what the runner says of the others."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from rules.batch import noticed
from rules.mutants import main

pytestmark = pytest.mark.stack
Case = dict[str, Any]
PROMTOOL = Path(".stack/bin/promtool").absolute()

# One alert on a gauge, and one that reads a recorded series through another one.
RULES: dict[str, Any] = {
    "groups": [
        {"name": "a", "rules": [{"alert": "Full", "expr": "disk > 90", "for": "5m"}]},
        {
            "name": "b",
            "rules": [
                {"record": "job:x:rate5m", "expr": "sum by (job) (rate(x_total[5m]))"},
                {"record": "target", "expr": "vector(2)", "labels": {"of": "x"}},
                {"record": "target", "expr": "vector(7)", "labels": {"of": "y"}},
                {"alert": "Busy", "expr": 'job:x:rate5m > on () group_left () target{of="x"}'},
            ],
        },
    ]
}


def series(name: str, values: str) -> dict[str, str]:
    return {"series": name, "values": values}


def fires(time: str, alert: str, **labels: str) -> Case:
    return {"eval_time": time, "alertname": alert, "exp_alerts": [{"exp_labels": labels}]}


def quiet(time: str, alert: str) -> Case:
    return {"eval_time": time, "alertname": alert, "exp_alerts": []}


def one_test(*cases: Case, inputs: list[dict[str, str]], asked: list[Case] | None = None) -> Case:
    return {
        "interval": "1m",
        "input_series": inputs,
        "alert_rule_test": list(cases),
        "promql_expr_test": asked or [],
    }


FULL = one_test(
    *(quiet("14m", "Full"), fires("15m", "Full", host="a"), quiet("15m", "Busy")),
    inputs=[series('disk{host="a"}', "90x9 91x20"), series('disk{host="b"}', "90x40")],
)
BUSY = one_test(
    *(quiet("10m", "Busy"), fires("13m", "Busy", job="j"), quiet("12m", "Busy")),
    inputs=[series('x_total{job="j"}', "0+60x10 780+180x20"), series('x_total{job="k"}', "0+120x30")],
    asked=[
        {
            "eval_time": "0m",
            "expr": "target",
            "exp_samples": [{"labels": 'target{of="x"}', "value": 2}, {"labels": 'target{of="y"}', "value": 7}],
        }
    ],
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("tests", "tables"):
        (tmp_path / name).mkdir()
    (tmp_path / "r.yml").write_text(yaml.safe_dump(RULES), "utf-8")
    (tmp_path / "tables/survivors.yml").write_text("{}\n", "utf-8")
    return tmp_path


def judge(folder: Path, *tests: Case, words: tuple[str, ...] = ()) -> int:
    content = {
        "rule_files": ["../r.yml"],
        "evaluation_interval": "1m",
        "group_eval_order": ["a", "b"],
        "tests": [*tests],
    }
    (folder / "tests/r_test.yml").write_text(yaml.safe_dump(content), "utf-8")
    return main([f"--rules.dir={folder}", f"--promtool={PROMTOOL}", *words])


def test_a_test_set_that_brackets_everything_notices_every_mutant(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = judge(folder, FULL, BUSY)
    told = capsys.readouterr()
    assert (status, told.err) == (0, ""), told.out
    assert (
        told.out
        == "15 mutants of 5 rules: 15 detected by a test, 0 listed in rules/tables/survivors.yml, 0 undetected\n"
    )


def test_what_no_test_notices_is_named_with_its_file_and_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    without_a_host_at_90 = FULL | {"input_series": FULL["input_series"][:1]}
    without_a_host_at_90["input_series"] = [series('disk{host="a"}', "89x9 91x20")]
    # Windows are noticed only by a step.
    steady = BUSY | {"input_series": [series('x_total{job="j"}', "0+60x10 1000+180x20")]}
    steady["alert_rule_test"] = [quiet("10m", "Busy"), fires("20m", "Busy", job="j")]
    assert judge(folder, without_a_host_at_90, steady) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "rules/r.yml: Full: > becomes >=: no test detects this",
        "rules/r.yml: job:x:rate5m: [5m] becomes [2m]: no test detects this",
        "rules/r.yml: job:x:rate5m: [5m] becomes [10m]: no test detects this",
        "rules/r.yml: Busy: for: nothing becomes 1m: no test detects this",
        "rules/r.yml: Busy: > becomes >=: no test detects this",
        "15 mutants of 5 rules: 10 detected by a test, 0 listed in rules/tables/survivors.yml, 5 undetected",
    ]


def test_a_survivor_with_a_reason_is_excused_and_a_reason_without_a_survivor_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    above = FULL | {"input_series": [series('disk{host="a"}', "89x9 91x20")]}
    excuses = {"Full: > becomes >=": "a percentage is never exactly 90 here"}
    (folder / "tables/survivors.yml").write_text(yaml.safe_dump(excuses), "utf-8")
    assert judge(folder, above, BUSY) == 0
    assert "14 detected by a test, 1 listed in rules/tables/survivors.yml, 0 undetected" in capsys.readouterr().out
    assert judge(folder, FULL, BUSY) == 1
    stale = "survivors.yml: Full: > becomes >=: a test detects it, or it no longer exists; remove the line"
    assert stale in capsys.readouterr().out


def test_a_sample_is_one_mutant_of_each_rule_and_leaves_the_other_reasons_alone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "tables/survivors.yml").write_text("'Full: > becomes >=': a reason of another mutant\n", "utf-8")
    assert judge(folder, FULL, BUSY, words=("--sample",)) == 0
    said = "5 mutants of 5 rules: 5 detected by a test, 0 listed in rules/tables/survivors.yml, 0 undetected\n"
    assert capsys.readouterr().out == said


def test_the_tests_of_our_own_rules_notice_a_change_of_each_rule(capsys: pytest.CaptureFixture[str]) -> None:
    """All changes of all rules are judged by `make test-slow` and `make rules`."""
    status = main(["--sample"])
    told = capsys.readouterr()
    assert status == 0, told.out + told.err


def test_an_alert_that_is_asked_for_through_its_series_is_followed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    firing: Case = {"expr": 'count(ALERTS{alertname="Full", alertstate="firing"})'}
    asked: list[Case] = [
        firing | {"eval_time": "15m", "exp_samples": [{"labels": "{}", "value": 1}]},
        firing | {"eval_time": "14m"},
    ]
    through = one_test(inputs=FULL["input_series"], asked=asked)
    assert judge(folder, through, BUSY) == 0
    assert "15 detected" in capsys.readouterr().out


def test_a_mutant_that_cannot_be_evaluated_is_noticed_and_does_not_hide_the_others(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = RULES["groups"][0] | {"rules": [{"alert": "Full", "expr": "disk > on (host) group_left () (limit > 0)"}]}
    (folder / "r.yml").write_text(yaml.safe_dump({"groups": [rules]}), "utf-8")
    # Where the guard lets the second limit through, two limits of one host cannot be matched.
    limits = [series('limit{host="a"}', "90x20"), series('limit{host="a", of="b"}', "0x20")]
    only = one_test(fires("10m", "Full", host="a"), inputs=[series('disk{host="a"}', "95x20"), *limits])
    content = {"rule_files": ["../r.yml"], "evaluation_interval": "1m", "tests": [only]}
    (folder / "tests/r_test.yml").write_text(yaml.safe_dump(content), "utf-8")
    assert main([f"--rules.dir={folder}", f"--promtool={PROMTOOL}"]) == 1
    told = capsys.readouterr().out
    assert "Full: > becomes >= (no. 2): no test" not in told
    assert "Full: > becomes >=: no test detects this" in told
    assert "Full: 0 becomes 1: no test detects this" in told


def test_zero_many_times_is_not_a_hexadecimal_number(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = FULL | {"input_series": [*FULL["input_series"], series('disk{host="c"}', "ZERO")]}
    judge(folder, empty, BUSY)
    path = folder / "tests/r_test.yml"
    path.write_text(path.read_text("utf-8").replace("values: ZERO", "values: 0x40"), "utf-8")
    capsys.readouterr()
    # 128, as YAML has it, would be a disk that is full.
    assert main([f"--rules.dir={folder}", f"--promtool={PROMTOOL}"]) == 0
    assert "15 detected" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("tests", "words", "expected"),
    [
        ((FULL | {"alert_rule_test": [quiet("15m", "Full")]},), (), "a test of r_test.yml fails without any mutant"),
        ((FULL,), ("nowhere.yml",), "unknown rule file nowhere.yml (expected one of r.yml)"),
        ((FULL,), ("--promtool=/nowhere/promtool",), "/nowhere/promtool does not run"),
    ],
)
def test_what_cannot_be_judged_gives_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], tests: tuple[Case, ...], words: tuple[str, ...], expected: str
) -> None:
    assert judge(folder, *tests, words=words) == 1
    told = capsys.readouterr()
    assert told.err.startswith(expected)
    assert told.out == ""


def test_a_report_of_promtool_is_read_whatever_it_is_about() -> None:
    said = """
    name: something,
    alertname: A__mutant_3, time: 5m,
        exp:[],
        got:[ Labels:{alertname="A__mutant_3"} ]
    expr: "count(ALERTS{alertname=\\"B__mutant_12\\"})", time: 5m,
    rule: C__mutant_7, time: 0s, err: many-to-many matching not allowed
    alertname: D, time: 5m,
"""
    assert noticed(said) == ({3, 12}, {7}, ["alertname: D, time: 5m,"])
