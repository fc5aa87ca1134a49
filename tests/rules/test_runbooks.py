"""Runbooks are read at 3 a.m.: each has the same parts, speaks of its alert, and asks only for series that exist."""

import re
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from receiver.metrics import Metrics

PAGES = sorted(page for page in Path("docs/runbooks").glob("*.md") if page.stem != "README")
RULES = [
    rule
    for path in sorted(Path("rules").glob("*.yml"))
    for group in yaml.safe_load(path.read_text("utf-8"))["groups"]
    for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
# Of Prometheus and the exporters that we only scrape.
FOREIGN = ("up", "pg_up", "node_filesystem_avail_bytes", "probe_success", "probe_http_duration_seconds")
CATALOGUE = yaml.safe_load(Path("exporter/catalogue.yml").read_text("utf-8"))
PARTS = ["What it means", "First", "Likely causes", "It is mended when", "To silence it while you work"]


def known() -> dict[str, set[str] | None]:
    """Every series that a query may name, with its labels where they are ours to know."""
    series: dict[str, set[str] | None] = {rule["record"]: None for rule in RULES if "record" in rule}
    series |= dict.fromkeys(FOREIGN)
    for family in CATALOGUE["families"]:
        suffixes = ("_bucket", "_sum", "_count") if family["type"] == "histogram" else ("",)
        series |= {family["name"] + suffix: {"job", "instance", "le", *family.get("labels", ())} for suffix in suffixes}
    for metric in Metrics(["log"]).registry.collect():
        series |= {sample.name: None for sample in metric.samples} | {metric.name: None}
    return series


def selectors(query: str) -> list[promql_parser.VectorSelector]:
    found: list[promql_parser.VectorSelector] = []

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.MatrixSelector):
            found.append(node.vector_selector)
        elif isinstance(node, promql_parser.VectorSelector):
            found.append(node)

    promql_parser.walk(promql_parser.parse(query), visit)
    return found


def section(page: Path, title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert found, f'{page} has no section "{title}"; write it'
    return found[1]


def owner(rule: dict[str, Any]) -> str:
    labels = rule["labels"]
    return f"**{labels.get('priority', 'P1 when it is silent')} · team {labels['team']}**"


def test_every_page_belongs_to_an_alert_and_every_alert_has_a_page() -> None:
    pages, alerts = {page.stem for page in PAGES}, set(ALERTS)
    assert pages == alerts, f"docs/runbooks: write pages for {alerts - pages}; delete or rename {pages - alerts}"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_page_has_its_parts_and_names_who_owns_it(page: Path) -> None:
    text = page.read_text("utf-8")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == PARTS, f"{page}: the sections are {PARTS}, in this order"
    assert text.startswith(f"# {page.stem}\n\n{owner(ALERTS[page.stem])}\n"), (
        f"{page} must begin with its alert's owner"
    )


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_page_gives_three_first_steps_and_the_right_silence(page: Path) -> None:
    steps = re.findall(r"^(\d)\. ", section(page, "First"), re.MULTILINE)
    assert steps == ["1", "2", "3"], f"{page}: give three first steps, not {len(steps)}"
    silence = section(page, PARTS[-1])
    expected = "Never" if page.stem == "Watchdog" else f"silence add alertname={page.stem} "
    assert expected in silence, f"{page}: the silence must name {page.stem} alone"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_page_asks_for_series_that_exist(page: Path) -> None:
    series = known()
    for query in re.findall(r"```promql\n\s*(.*?)\n\s*```", page.read_text("utf-8"), re.DOTALL):
        for selector in selectors(query):
            assert selector.name in series, f"{page}: nothing exports {selector.name}; correct the query {query}"
            labels = {matcher.name for matcher in selector.matchers.matchers}
            allowed = series[selector.name]
            assert allowed is None or labels <= allowed, f"{page}: {selector.name} has no label {labels - allowed}"


def test_the_index_lists_every_alert_with_its_owner() -> None:
    text = Path("docs/runbooks/README.md").read_text("utf-8")
    for name, rule in ALERTS.items():
        priority = rule["labels"].get("priority", "P1 when it is silent")
        line = f"| [{name}]({name}.md) | {priority} | {rule['labels']['team']} |"
        assert line in text, f"docs/runbooks/README.md lacks the line {line}"
