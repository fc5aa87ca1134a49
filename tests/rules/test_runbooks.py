"""Runbooks: each alert has one, all have the same sections, and their queries and commands exist."""

import re
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from rules.lint.series import known

PAGES = sorted(page for page in Path("docs/runbooks").glob("*.md") if page.stem != "README")
RULES = [
    rule
    for path in sorted(Path("rules").glob("*.yml"))
    for group in yaml.safe_load(path.read_text("utf-8"))["groups"]
    for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
# Of a Debian or Ubuntu host with the school's stack on it.
PROGRAMS = {
    *("amtool", "awk", "chronyc", "curl", "cut", "df", "dig", "dmesg", "docker", "du", "echo", "find", "free", "grep"),
    *(
        "head",
        "iotop",
        "iostat",
        "journalctl",
        "ls",
        "mtr",
        "nginx",
        "npm",
        "openssl",
        "pg_isready",
        "ping",
        "promtool",
    ),
    *("ps", "psql", "python3", "redis-cli", "sed", "sha256sum", "sort", "ss", "systemctl", "tail", "timedatectl"),
    *("git", "python", "timeout", "top", "traceroute", "uniq", "uptime", "vmstat", "cat", "dpkg", "getent"),
}
RECEIVER_COMMANDS = {"check", "explain", "drill", "preview", "report", "schedule", "test"}
SECTIONS = ["What it means", "Impact", "Check", "Fix", "Resolved when"]
HANDLING = "[Handling any alert](README.md#handling-any-alert)"


@pytest.fixture(scope="module")
def series() -> dict[str, frozenset[str] | None]:
    """Every series that a query may name, with its labels where they are known."""
    recorded = {rule["record"]: None for rule in RULES if "record" in rule}
    return recorded | {name: one.possible for name, one in known().items()}


def selectors(query: str) -> list[promql_parser.VectorSelector]:
    all_selectors: list[promql_parser.VectorSelector] = []

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.MatrixSelector):
            all_selectors.append(node.vector_selector)
        elif isinstance(node, promql_parser.VectorSelector):
            all_selectors.append(node)

    promql_parser.walk(promql_parser.parse(query), visit)
    return all_selectors


def section(page: Path, title: str) -> str:
    match = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert match, f'{page} has no section "{title}"'
    return match[1]


def team(rule: dict[str, Any]) -> str:
    return str(rule["labels"]["team"]).replace("{{ $labels.team }}", "the objective's team")


def owner(rule: dict[str, Any]) -> str:
    labels = rule["labels"]
    name = team(rule)
    return f"**{labels.get('priority', 'P1 when silent')} · {name if ' ' in name else f'team {name}'}**"


def test_every_page_belongs_to_an_alert_and_every_alert_has_a_page() -> None:
    pages, alerts = {page.stem for page in PAGES}, set(ALERTS)
    assert pages == alerts, f"docs/runbooks: no page for {alerts - pages}; no alert for {pages - alerts}"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_page_names_its_owner_and_has_the_same_sections_as_the_others(page: Path) -> None:
    text = page.read_text("utf-8")
    rule = ALERTS[page.stem]
    links = f"[Dashboard]({rule['annotations']['dashboard_url']}) · {HANDLING}"
    assert text.startswith(f"# {page.stem}\n\n{owner(rule)}\n\n{links}\n"), f"{page}: wrong title, owner or links"
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS, f"{page}: expected the sections {SECTIONS}"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_page_says_something_in_every_section(page: Path) -> None:
    for title in SECTIONS:
        assert section(page, title).strip(), f'{page}: the section "{title}" is empty'
    assert re.search(r"^1\. ", section(page, "Check"), re.MULTILINE), f"{page}: nothing to check"
    assert re.search(r"^- .*: ", section(page, "Fix").replace("\n  ", " "), re.MULTILINE), (
        f"{page}: no cause with a fix"
    )


def test_the_links_of_the_pages_lead_somewhere() -> None:
    assert "\n## Handling any alert\n" in Path("docs/runbooks/README.md").read_text("utf-8")
    for page in PAGES:
        for target in re.findall(r"\]\(([A-Za-z]+)\.md[)#]", page.read_text("utf-8")):
            assert target == "README" or target in ALERTS, f"{page}: no runbook {target}"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_page_asks_for_series_that_exist(page: Path, series: dict[str, frozenset[str] | None]) -> None:
    for query in re.findall(r"```promql\n\s*(.*?)\n\s*```", page.read_text("utf-8"), re.DOTALL):
        for selector in selectors(query):
            assert selector.name in series, f"{page}: nothing exports {selector.name}; correct the query {query}"
            labels = {matcher.name for matcher in selector.matchers.matchers}
            allowed = series[selector.name]
            assert allowed is None or labels <= allowed, f"{page}: {selector.name} has no label {labels - allowed}"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_page_calls_only_programs_that_we_know(page: Path) -> None:
    for block in re.findall(r"```sh\n\s*(.*?)\n\s*```", page.read_text("utf-8"), re.DOTALL):
        calls = re.sub(r"'[^']*'|\"[^\"]*\"|\d?>&?\S+", "''", block)  # what is quoted or led elsewhere is data
        for call in re.split(r"[|;&\n]+", calls):
            words = call.split()
            assert not words or words[0] in PROGRAMS, f"{page}: {words[0]} is not in PROGRAMS"
            if words[1:3] == ["-m", "receiver"]:
                assert words[3] in RECEIVER_COMMANDS, f"{page}: the receiver has no command {words[3]}"


def test_the_index_lists_every_alert_with_its_owner() -> None:
    text = Path("docs/runbooks/README.md").read_text("utf-8")
    for name, rule in ALERTS.items():
        priority = rule["labels"].get("priority", "P1 when silent")
        line = f"| [{name}]({name}.md) | {priority} | {team(rule)} |"
        assert line in text, f"docs/runbooks/README.md lacks the line {line}"
