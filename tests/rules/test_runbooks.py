"""Runbooks: each alert has one, all have the same sections, and their queries and commands exist."""

import argparse
import ast
import functools
import re
from pathlib import Path
from typing import Any

import aiohttp
import promql_parser
import pytest
import yaml
from aiohttp.test_utils import TestClient, TestServer

from receiver.__main__ import COMMANDS, command
from receiver.app import Receiver
from receiver.config.load import load
from rules.lint.series import known
from tests.exporter.example_exporter import Time, an_application, an_exporter
from tests.receiver.channels.test_registry import written

PAGES = sorted(page for page in Path("docs/runbooks").glob("*.md") if page.stem != "README")
RULES = [
    rule
    for path in sorted(Path("rules").glob("*.yml"))
    for group in yaml.load(path.read_text("utf-8"), yaml.CSafeLoader)["groups"]
    for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
# Of a Debian or Ubuntu host with the school's stack on it.
INSTALLED = "/opt/heypeter/bin/heypeter-"  # by deploy/systemd/install.sh
PROGRAMS = {
    *(f"{INSTALLED}receiver", f"{INSTALLED}exporter", "cd", "sh"),
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
        "sqlite3",
        "ping",
        "promtool",
    ),
    *("ps", "psql", "python3", "redis-cli", "sed", "sha256sum", "sort", "ss", "systemctl", "tail", "timedatectl"),
    *("git", "python", "timeout", "top", "traceroute", "uniq", "uptime", "vmstat", "cat", "dpkg", "getent"),
}
# A unit whose log a page searches -> where its messages stand.
CODE_OF = {"heypeter-receiver": "receiver", "heypeter-exporter": "exporter"}
ADDRESSES = {"localhost:9095": "receiver", "localhost:3001": "exporter"}
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
    for commands in re.findall(r"```sh\n\s*(.*?)\n\s*```", page.read_text("utf-8"), re.DOTALL):
        block = re.sub(r"<<'(\w+)'.*?\n *\1(?=\n|$)", "", commands, flags=re.DOTALL)  # what a program reads
        calls = re.sub(r"'[^']*'|\"[^\"]*\"|\d?>&?\S+", "''", block)  # what is quoted or led elsewhere is data
        for call in re.split(r"[|;&\n]+", calls):
            words = call.strip().removeprefix("sudo ").split()
            assert not words or words[0] in PROGRAMS, f"{page}: {words[0]} is not in PROGRAMS"


def test_our_own_commands_have_the_options_that_they_need() -> None:
    calls = 0
    for page in Path("docs/runbooks").glob("*.md"):
        text = " ".join(page.read_text("utf-8").split())
        called = re.findall(rf"(?:python3? -m |{INSTALLED})(receiver [a-z][^`|;&]*)", text)
        for name, *words in (call.split() for call in called):
            assert words[0] in COMMANDS, f"{page}: the {name} has no command {words[0]}"
            parser = argparse.ArgumentParser(prog=f"{page}: {name} {words[0]}")
            command(COMMANDS[words[0]]).add_arguments(parser)
            parser.parse_args(words[1:])
            calls += 1
    assert calls > 5


@functools.cache
def logged(program: str) -> str:
    """All the messages that a program logs."""
    messages = []
    for path in [*Path(program).rglob("*.py"), *Path("process").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("log."):
                messages += [one.value for one in node.args if isinstance(one, ast.Constant)]
    return "\n".join(map(str, messages))


def test_a_page_searches_our_logs_for_words_that_are_logged() -> None:
    units = "|".join(CODE_OF)
    searches = [
        (page, unit, words)
        for page in PAGES
        for unit, searched in re.findall(
            rf"journalctl -u ({units}) .*\| grep (?:-E )?'([^']*)'", page.read_text("utf-8")
        )
        for words in searched.split("|")
    ]
    assert searches
    for page, unit, words in searches:
        assert words in logged(CODE_OF[unit]), f"{page}: {unit} logs nothing with {words!r}"


async def test_a_page_asks_our_own_programs_for_what_they_serve(tmp_path: Path) -> None:
    calls = {
        (program, "POST" if "-X POST" in line else "GET", path)
        for page in PAGES
        for line in page.read_text("utf-8").splitlines()
        for address, program in ADDRESSES.items()
        for path in re.findall(rf"{address}(/[^ ;'\"`]*)", line)
    }
    assert {program for program, _, _ in calls} == set(ADDRESSES.values())
    receiver = Receiver(*load(written(tmp_path, {})))
    async with aiohttp.ClientSession() as session:
        await receiver.start(session)
        applications = {"receiver": receiver.application(), "exporter": an_application(an_exporter(Time()))}
        for program, application in applications.items():
            async with TestClient(TestServer(application)) as client:
                for _, method, path in (call for call in calls if call[0] == program):
                    status = (await client.request(method, path)).status
                    assert status not in {404, 405}, f"docs/runbooks: the {program} has no {method} {path}"
        await receiver.stop()


def test_the_index_lists_every_alert_with_its_owner() -> None:
    text = Path("docs/runbooks/README.md").read_text("utf-8")
    for name, rule in ALERTS.items():
        priority = rule["labels"].get("priority", "P1 when silent")
        line = f"| [{name}]({name}.md) | {priority} | {team(rule)} |"
        assert line in text, f"docs/runbooks/README.md lacks the line {line}"
