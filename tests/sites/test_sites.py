"""Folders of sites: HeyPeter Academy's gives what is shipped, and a ferry operator's passes all checks without code."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from deploy.site.__main__ import main as make
from exporter.__main__ import main as exporter
from grafana.lint.__main__ import main as lint_dashboards
from receiver.__main__ import main as receiver
from rules import site
from rules.lint.__main__ import main as lint_rules
from rules.mutants import Bench
from rules.writing import SITE

FERRY = Path("tests/sites/ferry")
pytestmark = pytest.mark.stack
PROMTOOL = Path(".stack/bin/promtool").absolute()
SHIPPED = (
    *("rules/*.yml", "grafana/panels.yml", "grafana/dashboards/*.json", "grafana/provisioning/*/*.yml"),
    "docs/runbooks/*.md",
)
# Of the school; heypeter-receiver and heypeter-exporter are names of programs, which runbooks name.
WORDS = re.compile(r"heypeter(?!-(?:receiver|exporter)\b)|school|student|teacher|class_book|lesson", re.IGNORECASE)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def ferry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ferry") / "made"
    assert make([str(FERRY), "--out", str(folder)]) == 0
    return folder


def test_what_is_shipped_is_what_the_shipped_table_gives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("rules/tables", "deploy/config"):
        shutil.copytree(folder, tmp_path / "own" / folder)
    assert make([str(tmp_path / "own"), "--out", str(tmp_path / "made")]) == 0
    assert capsys.readouterr().out == ""  # nothing is left out
    shipped = [path for pattern in SHIPPED for path in Path().glob(pattern)]
    assert len(shipped) > 100
    assert [str(path) for path in shipped if (tmp_path / "made" / path).read_bytes() != path.read_bytes()] == []


def test_the_ferry_s_exporter_has_its_events_and_not_the_school_s(
    ferry: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = ferry / "deploy/config/exporter.yml"
    assert exporter(["check", "--config.file", str(config)]) == 0
    capsys.readouterr()
    assert exporter(["metrics-doc", "--config.file", str(config)]) == 0
    page = capsys.readouterr().out
    assert "ticket_revenue_nok_total" in page
    assert not WORDS.search(page)


def test_the_ferry_s_receiver_passes_its_checks(ferry: Path) -> None:
    config = ferry / "deploy/config"
    assert receiver(["check", "--config.file", str(config / "receiver.yml")]) == 0
    assert receiver(["test", str(config / "receiver_test.yml")]) == 0
    priorities = yaml.safe_load((config / "receiver.yml").read_text("utf-8"))["response_times"]
    assert list(priorities) == ["P1", "P2", "P3", "P4", "P5"]


def test_the_ferry_s_rules_pass_the_lint(ferry: Path, capsys: pytest.CaptureFixture[str]) -> None:
    passed = lint_rules(["--root", str(ferry), "--promtool", str(PROMTOOL)]) == 0
    assert passed, capsys.readouterr().out


def test_the_ferry_s_rules_pass_our_tests_and_its_own(ferry: Path) -> None:
    tests = sorted((ferry / "rules/tests").glob("*.yml"))
    assert len(tests) > 20
    failures = Bench.of(ferry / "rules", PROMTOOL).failures()
    assert not failures, "\n".join(failures)[-6000:]


def test_the_ferry_s_dashboards_pass_the_lint(ferry: Path, capsys: pytest.CaptureFixture[str]) -> None:
    passed = lint_dashboards(["--root", str(ferry)]) == 0
    assert passed, capsys.readouterr().out
    titles = [
        yaml.safe_load(path.read_text("utf-8"))["title"] for path in (ferry / "grafana/dashboards").glob("*.json")
    ]
    assert {"Fjordlinjen: sailings", "Fjordlinjen: MySQL", "Fjordlinjen: on call"} <= set(titles)


def test_grafana_is_told_of_the_ferry_s_folder_and_traces(ferry: Path) -> None:
    told = {path.name: yaml.safe_load(path.read_text("utf-8")) for path in ferry.glob("grafana/provisioning/*/*.yml")}
    (provider,), (source,) = told["fjord.yml"]["providers"], told["prometheus.yml"]["datasources"]
    assert (provider["name"], provider["folder"], provider["folderUid"]) == ("fjord", "Fjordlinjen", "fjord")
    assert source["uid"] == "fjord-prometheus"
    (trace,) = source["jsonData"]["exemplarTraceIdDestinations"]
    assert trace["url"] == f"{site.read(FERRY / site.TABLE).traces}/$${{__value.raw}}/"


def test_nothing_of_the_ferry_speaks_of_the_school(ferry: Path) -> None:
    pages = ferry / "docs/runbooks"  # our advice about a program may speak of what a school does
    told = {path: WORDS.search(path.read_text("utf-8")) for path in files(ferry) if pages not in path.parents}
    assert len(told) > 60
    assert {str(path): found[0] for path, found in told.items() if found} == {}
    for path in files(pages):
        assert SITE.domain not in path.read_text("utf-8"), path.name


def test_a_folder_that_lacks_a_file_or_has_no_panel_is_told_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(FERRY, tmp_path / "own")
    (tmp_path / "own/grafana/boards/mysql.yml").unlink()
    assert make([str(tmp_path / "own"), "--out", str(tmp_path / "made")]) == 1
    assert "no panel shows MysqlConnectionsHigh, MysqlDown" in capsys.readouterr().err
    assert make([str(tmp_path / "own"), "--out", str(tmp_path / "own")]) == 1
    assert "is not empty" in capsys.readouterr().err
    (tmp_path / "own/rules/tables/slo.yml").unlink()
    assert make([str(tmp_path / "own"), "--out", str(tmp_path / "other")]) == 1
    assert "slo.yml: missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ('up{job="heypeter-app"}', 'up{job="ferry-web"}'),
        ('up{job=~"node|heypeter-app|redis"}', 'up{job=~"hosts|ferry-web|redis"}'),
        (r'"expr": "up{job=\"node\"}"', r'"expr": "up{job=\"hosts\"}"'),
        ("{job: node, team: backend}", "{job: hosts, team: web}"),
        ("node_load1 by node", "node_load1 by node"),
        ("heypeter:benchmark:value", "fjord:benchmark:value"),
        ("- name: heypeter_http", "- name: fjord_http"),
        (
            f"{SITE.dashboards}/heypeter-hosts?viewPanel=1",
            "https://grafana.fjordlinjen.example/d/fjord-hosts?viewPanel=1",
        ),
        (f"{SITE.runbooks}/A.md", "https://wiki.fjordlinjen.example/runbooks/A.md"),
        ("journalctl -u heypeter-receiver", "journalctl -u heypeter-receiver"),
        ("HeyPeter Academy: hosts", "Fjordlinjen: hosts"),
    ],
)
def test_names_and_addresses_are_those_of_the_site(ours: str, theirs: str) -> None:
    ferry = site.read(FERRY / site.TABLE)
    assert ferry.adapted(ours, SITE) == theirs
    assert SITE.adapted(ours, SITE) == ours


@pytest.mark.parametrize("fault", ["prefix: Fjord", "runbooks: nowhere", "colour: red"])
def test_a_fault_in_the_table_is_named(tmp_path: Path, fault: str) -> None:
    key = fault.partition(":")[0]
    lines = [line for line in (FERRY / site.TABLE).read_text("utf-8").splitlines() if not line.startswith(f"{key}:")]
    path = tmp_path / "site.yml"
    path.write_text("\n".join([fault, *lines]), "utf-8")
    with pytest.raises(ValueError, match=key):
        site.read(path)
