"""The links from an alert to its panel: written once, everywhere the same, and refused where something is missing."""

from pathlib import Path

import pytest

from grafana import links

TABLE = "One: {dashboard: heypeter-technical, panel: 7}\nTwo: {dashboard: heypeter-oncall, panel: 61}\n"
GRAFANA = "https://grafana.heypeteracademy.com/d"
RULES = """\
- alert: One
  annotations:
    runbook_url: https://github.com/x/docs/runbooks/One.md
    dashboard_url: {one}
- alert: Two
  annotations:
    runbook_url: https://github.com/x/docs/runbooks/Two.md
    dashboard_url: {two}
"""
OLD = RULES.format(one=f"{GRAFANA}/heypeter-technical", two=f"{GRAFANA}/heypeter-oncall?viewPanel=3")
NEW = RULES.format(one=f"{GRAFANA}/heypeter-technical?viewPanel=7", two=f"{GRAFANA}/heypeter-oncall?viewPanel=61")
PAGE = "# One\n\n[Dashboard]({})\n\n[Another](https://example.com)\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for folder in ("grafana", "rules/tests", "rules/tables", "docs/runbooks"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "rules/tables/site.yml").write_text(Path("rules/tables/site.yml").read_text("utf-8"))
    (tmp_path / "grafana/panels.yml").write_text(TABLE)
    (tmp_path / "rules/critical.yml").write_text(OLD)
    (tmp_path / "rules/tests/critical_test.yml").write_text(OLD)
    (tmp_path / "docs/runbooks/One.md").write_text(PAGE.format(f"{GRAFANA}/heypeter-technical"))
    (tmp_path / "docs/runbooks/README.md").write_text("One and Two")
    return tmp_path


def test_rules_tests_and_runbooks_lead_to_the_panel_and_a_second_run_changes_nothing(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert links.main(["--check"], project) == 1
    said = capsys.readouterr().err
    assert "rules/tests/critical_test.yml: dashboard links are out of date" in said
    assert (project / "rules/critical.yml").read_text() == OLD
    for _ in range(2):
        assert links.main([], project) == 0
        assert (project / "rules/critical.yml").read_text() == NEW
        assert (project / "rules/tests/critical_test.yml").read_text() == NEW
        page = (project / "docs/runbooks/One.md").read_text()
        assert page == PAGE.format(f"{GRAFANA}/heypeter-technical?viewPanel=7")
    assert links.main(["--check"], project) == 0


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("rules/critical.yml", OLD.replace("/Two.md", "/Three.md"), "rules/critical.yml: no panel shows Three"),
        ("rules/critical.yml", OLD + "    dashboard_url: x\n", "1 of 3 dashboard_url lines"),
        ("docs/runbooks/One.md", "# One\n", "docs/runbooks/One.md: it has 0 links called [Dashboard]"),
        ("docs/runbooks/Three.md", PAGE, "docs/runbooks/Three.md: no panel shows Three"),
    ],
)
def test_what_cannot_be_linked_is_named_and_nothing_is_written(
    project: Path, capsys: pytest.CaptureFixture[str], file: str, text: str, message: str
) -> None:
    (project / file).write_text(text)
    assert links.main([], project) == 1
    assert message in capsys.readouterr().err
    assert (project / "rules/tests/critical_test.yml").read_text() == OLD


def test_every_rule_test_and_runbook_of_ours_leads_to_its_panel(capsys: pytest.CaptureFixture[str]) -> None:
    assert links.main(["--check"]) == 0, capsys.readouterr().err
