"""The documentation says what the code does: diagrams are generated, links lead somewhere, `make help` is complete."""

import ast
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from receiver.__main__ import COMMANDS
from receiver.config.build import build_routing
from receiver.config.load import load
from receiver.incident.machine import TRANSITIONS
from receiver.incident.model import State
from receiver.metrics import Metrics

PAGES = [*sorted(Path("docs").rglob("*.md")), Path("README.md"), Path("CONTRIBUTING.md")]


def diagram() -> str:
    """The table as Mermaid; signals that change nothing are left out, or no reader would find those that do."""
    arrows: dict[tuple[State, State], list[str]] = {}
    for (state, signal), row in TRANSITIONS.items():
        if row.becomes is not state:
            arrows.setdefault((state, row.becomes), []).append(signal.value)
    lines = ["stateDiagram-v2", "    [*] --> new"]
    lines += [f"    {old} --> {new}: {', '.join(signals)}" for (old, new), signals in arrows.items()]
    return "\n".join([*lines, "    resolved --> [*]"])


def test_the_state_diagram_is_the_table() -> None:
    assert f"```mermaid\n{diagram()}\n```" in Path("docs/architecture.md").read_text("utf-8"), diagram()


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_inside_the_repository_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / target).exists(), f"{page} links to {target}, which is not there"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    texts = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-") for text in texts}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_to_a_section_lead_to_one(page: Path) -> None:
    for target, section in re.findall(r"\]\(([^)#\s]*)#([^)]+)\)", page.read_text("utf-8")):
        other = page.parent / target if target else page
        if not target.startswith(("http://", "https://")) and other.suffix == ".md":
            assert section in anchors(other), f"{page} links to {target}#{section}, which has no such heading"


def test_the_index_lists_every_page() -> None:
    index = Path("docs/README.md").read_text("utf-8")
    pages = {page.name for page in Path("docs").glob("*.md")} - {"README.md"}
    listed = set(re.findall(r"\]\(([\w-]+\.md)(?:#[\w-]+)?\)", index))
    assert pages == listed, f"docs/README.md: not listed {pages - listed}, not there {listed - pages}"
    assert "(docs/README.md)" in Path("README.md").read_text("utf-8")


def test_make_help_lists_every_target() -> None:
    text = Path("Makefile").read_text("utf-8")
    listed = subprocess.run(["make", "help"], capture_output=True, text=True, check=True).stdout
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert phony
    for target in phony[1].split():
        assert f"make {target}" in listed or target.endswith("-check"), f"{target} has no ## text in the Makefile"


def test_every_pitfall_names_a_test_that_exists() -> None:
    text = Path("docs/pitfalls.md").read_text("utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    assert len(named) > 40
    for path, name in named:
        assert re.search(rf"^(async )?def {name}\(", Path(path).read_text("utf-8"), re.MULTILINE), f"{path}::{name}"


@pytest.mark.parametrize("number", range(4))
def test_the_examples_of_the_page_on_call_load(tmp_path: Path, number: int) -> None:
    roles, *sections = re.findall(r"```yaml\n(.*?)```", Path("docs/oncall.md").read_text("utf-8"), re.DOTALL)
    example = yaml.safe_load(Path("tests/receiver/receiver.yml").read_text("utf-8"))
    example |= yaml.safe_load(sections[0]) | {"roles": {**example["roles"], **yaml.safe_load(roles)["roles"]}}
    engineers, own = example["schedules"], yaml.safe_load(sections[number])
    example |= own | {"schedules": {**engineers, **own.get("schedules", {})}}
    for person in example["people"].values():
        person.pop("pagerduty", None)
    path = tmp_path / "receiver.yml"
    path.write_text(yaml.safe_dump(example), "utf-8")
    config, source = load(path)
    assert build_routing(config, source).schedules


def test_the_page_names_every_command_and_metric() -> None:
    page = Path("docs/receiver.md").read_text("utf-8")
    for command in COMMANDS:
        assert f"`… {command}" in page or f"receiver {command}" in page, command
    for family in Metrics(["email"]).registry.collect():
        name = family.name + ("_total" if family.type == "counter" else "")
        assert name in page, f"docs/receiver.md says nothing of {name}"


PLACES = re.compile(
    r"/opt/heypeter/bin/heypeter-(?:receiver|exporter)|/etc/heypeter/(?:receiver|exporter)\.yml"
    r"|/etc/heypeter/secrets/(?:receiver|exporter)(?:/[\w-]+)?|/var/lib/heypeter-(?:receiver|exporter)"
)


@pytest.mark.parametrize("page", sorted(Path("docs/runbooks").glob("*.md")), ids=lambda page: page.stem)
def test_a_runbook_names_the_places_of_an_installation_with_systemd(page: Path) -> None:
    text, script = page.read_text("utf-8"), Path("deploy/systemd/install.sh").read_text("utf-8")
    for place in re.findall(r"/(?:opt|etc|var/lib)/heypeter[\w/.-]*\b", text):
        assert PLACES.fullmatch(place), f"{page}: {place}"
        secret = re.fullmatch(r"/etc/heypeter/secrets/\w+/(.+)", place)
        assert not secret or secret[1] in script, f"{page}: {place}"
    assert "python3 -m" not in text, f"{page}: the program is /opt/heypeter/bin/heypeter-receiver"
    for command in re.findall(r"bin/heypeter-receiver\s+(\w+)", text):
        assert command in COMMANDS, f"{page}: {command}"


def defined(path: Path) -> set[str]:
    """The functions of a module, and its methods as ``Class.method``."""
    names: set[str] = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef):
            names |= {
                f"{node.name}.{n.name}" for n in node.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
            }
    return names


def test_the_paths_in_the_architecture_name_functions_that_exist() -> None:
    text = Path("docs/architecture.md").read_text("utf-8")
    steps = re.findall(r"^ *((?:receiver|exporter|process)/\S+\.py) {2,}([\w.]+)(?: {2,}|$)", text, re.MULTILINE)
    assert {path.split("/")[0] for path, _ in steps} >= {"receiver", "exporter"}
    for path, name in steps:
        assert name in defined(Path(path)), f"docs/architecture.md: {path} defines no {name}"
