"""`python -m rules.lint`: the shipped rules pass, real ones that were spoilt do not, and bad input is one message."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from rules.lint.__main__ import main
from rules.lint.register import CHECKS, about
from rules.lint.run import judged
from rules.lint.source import read
from rules.lint.world import world

pytestmark = pytest.mark.stack

PROMTOOL = Path(".stack/bin/promtool").absolute()
RULES = sorted(Path("rules").glob("*.yml"))
DOCUMENT = sorted(Path("tests/rules/document").glob("*.yml"))


def lint(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rules.lint", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_shipped_rules_pass() -> None:
    done = lint()
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    rules = sum(len(read(path).rules) for path in RULES)
    assert done.stdout == f"{rules} rules in {len(RULES)} files pass {len(CHECKS)} checks\n"


SPOILT = yaml.safe_load(Path("tests/rules/spoilt.yml").read_text("utf-8"))


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, int, str, str]]:
    """All that is said of the spoilt copy: file, line, the line's own text, and the message."""
    folder = tmp_path_factory.mktemp("rules")
    for path in RULES:
        shutil.copy(path, folder)
    for one in SPOILT:
        text = (folder / one["file"]).read_text("utf-8")
        assert one["old"] in text, f"{one['file']} has no {one['old']}"
        (folder / one["file"]).write_text(text.replace(one["old"], one["new"], 1), "utf-8")
    findings, _ = judged(sorted(folder.glob("*.yml")), PROMTOOL)
    lines = {path.name: path.read_text("utf-8").splitlines() for path in folder.glob("*.yml")}
    return [
        ((name := Path(f.file).name), f.line, lines[name][f.line - 1], f"{f.rule}: {f.check}: {f.text}")
        for f in findings
    ]


@pytest.mark.parametrize("one", SPOILT, ids=[one["said"].partition(": ")[0] for one in SPOILT])
def test_a_spoilt_rule_is_refused_by_its_name(one: dict[str, str], spoilt: list[tuple[str, int, str, str]]) -> None:
    texts = [text for file, _, _, text in spoilt if file == one["file"]]
    assert any(text.startswith(one["said"]) for text in texts), texts


def test_the_line_is_the_one_with_the_fault(spoilt: list[tuple[str, int, str, str]]) -> None:
    places = {text.partition(":")[0]: line for _, _, line, text in spoilt}
    assert 'pg_upp{job="postgres"}' in places["DatabaseDown"]
    assert "p95_5m > 4" in places["SlowResponseTime"]
    assert "{{ $labels.datname }}" in places["DatabaseDeadlocks"]
    assert "runbooks/Memory.md" in places["HighMemoryUsage"]


def test_the_documents_ten_are_refused_for_what_is_wrong_with_them() -> None:
    done = lint(*DOCUMENT)
    assert done.returncode == 1
    for said in (
        "warning.yml:27: CacheHitRateLow: unknown-metric: redis_hits_total is exported by nobody; did you mean",
        "did you mean redis_keyspace_hits_total?\n    fix: write redis_keyspace_hits_total, ",
        "warning.yml:27: CacheHitRateLow: unknown-metric: redis_misses_total is exported by nobody",
        'critical.yml:17: DatabaseDown: exporter-health: up{job="postgres"} is the exporter\'s',
        "critical.yml:7: HighErrorRate: unaggregated-rate: rate() of each method, route, status by itself",
        "critical.yml:14: HighErrorRate: raw-value: {{ $value }} is written as it is",
        "critical.yml:34: HighMemoryUsage: anonymous-alert: the text does not say which instance",
        "critical.yml:37: DiskSpaceCritical: zero-divisor: the divisor may be 0: node_filesystem_size_bytes",
        "warning.yml:7: SlowResponseTime: unaggregated-quantile: a quantile of each method, route by itself",
        "warning.yml:24: HighDatabaseConnections: anonymous-alert: the text does not say which datname",
        "business.yml:7: LowUserRegistrations: unaggregated-rate: rate() of each channel, plan by itself",
        "business.yml:17: HighClassCancellationRate: unaggregated-ratio: a share of rates of each by, channel",
        "business.yml:27: PaymentFailureRate: unaggregated-ratio: a share of rates of each provider, reason",
        "business.yml:27: PaymentFailureRate: zero-divisor: the divisor may be 0",
    ):
        assert said in done.stdout


def test_the_document_is_read_as_it_is() -> None:
    """Its ten, each with the number that it gives."""
    rules = {rule.name: rule for path in DOCUMENT for rule in read(path).rules}
    assert len(rules) == 10
    assert rules["CacheHitRateLow"].expr == "redis_hits_total / (redis_hits_total + redis_misses_total) < 0.8"


def test_github_gets_one_line_for_each_fault() -> None:
    done = lint(DOCUMENT[-1], "--format=github")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert all(line.startswith("::error file=tests/rules/document/warning.yml,line=") for line in lines)
    place = "::error file=tests/rules/document/warning.yml,line=27,title=unknown-metric::CacheHitRateLow: "
    said = "redis_hits_total is exported by nobody; did you mean redis_keyspace_hits_total?%0AFix: write"
    assert any(line.startswith(place + said) for line in lines), done.stdout


RULE = "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: "
BROKEN = {
    "yaml": ("groups:\n  - name: g\n    rules:\n  - x: [\n", ":4: invalid: did not find expected"),
    "expression": (f"{RULE}rate(x[5m]\n", ':5: invalid: group "g", rule 1'),
    "key": (f"{RULE}up\n    fro: 5m\n", ":6: invalid: a rule has no key fro\n"),
    "empty": ("", ":1: invalid: there is no rule in it\n    fix: a rule file begins with `groups:`"),
    "no-groups": ("groups: []\n", ":1: invalid: there is no rule in it\n"),
    "other-file": ("scrape_configs: []\n", ":1: invalid: a rule file has no key scrape_configs\n    fix: a rule file"),
    "text": ("hello", ":1: invalid: this is no rule file\n    fix: a rule file begins"),
    "list": ("- a\n- b\n", ":1: invalid: this is no rule file\n"),
    "template": (f'{RULE}up\n    annotations: {{a: "{{{{ $labels. }}}}"}}\n', ':4: invalid: group "g", rule 1'),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_one_message(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, said = BROKEN[name]
    path = tmp_path / "rules.yml"
    path.write_text(text, "utf-8")
    assert main([str(path)]) == 1
    out = capsys.readouterr().out
    assert out.startswith(f"{path}{said}"), out
    assert out.count("\n") == 2, "one message, and its fix"


def test_a_missing_file_a_folder_and_bytes_are_one_message_each(tmp_path: Path) -> None:
    (tmp_path / "bytes.yml").write_bytes(b"\xff\xfe\x00\x01")
    done = lint(tmp_path / "none.yml", tmp_path, tmp_path / "bytes.yml")
    assert (done.returncode, done.stderr) == (1, "")
    assert f"{tmp_path}:1: invalid: there is no such file\n" in done.stdout
    assert f"{tmp_path / 'none.yml'}:1: invalid: there is no such file\n" in done.stdout
    assert f"{tmp_path / 'bytes.yml'}:1: invalid: " in done.stdout
    assert done.stdout.count(": invalid: ") == 3


def test_a_broken_file_beside_it_is_named_and_nothing_false_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy("rules/critical.yml", tmp_path)
    (tmp_path / "recording.yml").write_text("groups: [", "utf-8")
    assert main([str(tmp_path / "critical.yml")]) == 1
    out = capsys.readouterr().out
    assert out.startswith(f"{tmp_path / 'recording.yml'}:1: invalid: this is no YAML: did not find expected"), out
    assert out.count(": invalid: ") == out.count("fix: ") == 1


def test_without_promtool_it_says_how_to_get_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules/critical.yml", "--promtool", "nowhere/promtool"]) == 1
    assert capsys.readouterr().err == (
        "nowhere/promtool: No such file or directory: run `make stack`, or give --promtool\n"
    )


TWO = """\
groups:
  - name: one
    rules:
      # Above the first.
      # {first}
      - record: x:read:max
        expr: max by (job) (pg_up{{job="postgres"}})

      # {second}
      - record: x:unread:min
        expr: x:read:max  # {beside}
"""
ALLOWED = "lint: allow unused-recording: read by hand"
UNUSED = "unused-allowance: unused-recording finds nothing here any more"


@pytest.mark.parametrize(
    ("comments", "said"),
    [
        ({}, ["10: x:unread:min: unused-recording: no rule"]),
        ({"second": ALLOWED}, []),
        ({"beside": ALLOWED}, []),
        ({"first": ALLOWED}, [f"5: {UNUSED}", "10: x:unread:min: unused-recording: no rule"]),
        ({"second": ALLOWED, "beside": "lint: allow zero-divisor: why"}, ["11: unused-allowance: zero-divisor finds"]),
        (
            {"second": "lint: allow unused-recording"},
            ["9: bad-allowance: unused-recording is allowed without a reason"],
        ),
        (
            {"second": "lint: allow unsued-recording: why"},
            ["9: bad-allowance: there is no check unsued-recording", "10: x:unread:min: unused-recording: no rule"],
        ),
    ],
)
def test_a_comment_allows_one_check_for_one_rule(
    comments: dict[str, str], said: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rules.yml"
    path.write_text(TWO.format(**{"first": "x", "second": "x", "beside": "x"} | comments), "utf-8")
    assert main([str(path)]) == (1 if said else 0)
    lines = [line.removeprefix(f"{path}:") for line in capsys.readouterr().out.splitlines()[::2]] if said else []
    assert len(lines) == len(said)
    assert all(text.startswith(start) for text, start in zip(lines, said, strict=True)), lines


def test_an_answer_that_nobody_reads_to_its_end_is_no_fault() -> None:
    command = f"{sys.executable} -m rules.lint {DOCUMENT[0]} | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stdout.count("\n"), done.stderr) == (1, "")


def test_the_table_in_the_docs_lists_every_check() -> None:
    text = Path("docs/rule-checks.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (.*) \| \S.* \|$", text, re.MULTILINE))
    assert list(rows) == list(CHECKS), "docs/rule-checks.md: list the checks as `python -m rules.lint --list` does"
    for name, text in rows.items():
        assert text == about(name), f"docs/rule-checks.md: {name} is: {about(name)}"


def test_the_labels_that_the_lint_expects_are_those_that_promtool_sees() -> None:
    """Every firing case of rules/tests: the alert has the labels that are certain, and none that is impossible."""
    rules = tuple(rule for path in RULES for rule in read(path).rules)
    around = world(rules)
    expected = {rule.name: around.of_rule(rule) for rule in rules if rule.alerts}
    seen = 0
    for path in sorted(Path("rules/tests").glob("*.yml")):
        content: dict[str, Any] = yaml.load(path.read_text("utf-8"), yaml.CSafeLoader)
        for test in content["tests"]:
            for case in test.get("alert_rule_test", []):
                for fired in case["exp_alerts"]:
                    seen += 1
                    labels = set(fired.get("exp_labels", {}))
                    certain, possible = expected[case["alertname"]].certain, expected[case["alertname"]].possible
                    assert possible is not None
                    assert certain <= labels, f"{path}: {case['alertname']}: {certain - labels}"
                    assert labels <= possible, f"{path}: {case['alertname']}: {labels - possible}"
    assert seen > 80
