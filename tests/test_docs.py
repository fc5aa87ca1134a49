"""The documentation says what the code does: diagrams are generated, links lead somewhere, `make help` is complete."""

import re
import subprocess
from pathlib import Path

import pytest

from receiver.state import TRANSITIONS, State

PAGES = [*sorted(Path("docs").rglob("*.md")), Path("README.md"), Path("CONTRIBUTING.md")]


def diagram() -> str:
    """The table as Mermaid; signals that change nothing are left out, or no reader would find those that do."""
    arrows: dict[tuple[State, State], list[str]] = {}
    for (state, signal), after in TRANSITIONS.items():
        if after is not state:
            arrows.setdefault((state, after), []).append(signal.value)
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


def test_make_help_lists_every_target() -> None:
    text = Path("Makefile").read_text("utf-8")
    listed = subprocess.run(["make", "help"], capture_output=True, text=True, check=True).stdout
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert phony
    for target in phony[1].split():
        assert f"make {target}" in listed or target.endswith("-check"), f"{target} has no ## text in the Makefile"
