"""The pages that list the keys of both files are up to date, and have every key that the structs and examples have."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
import yaml

from deploy.generate import reference
from exporter.config import Storage
from process.settings import Secret, Strict

FILES = ("receiver", "exporter")
ROW = re.compile(r"^\| `(?P<key>[^`]+)`(?: or `(?P<twin>[^`]+)`)? \| (?P<type>(?:[^|\\]|\\.)+) \|", re.MULTILINE)


class Page(NamedTuple):
    """Sections by anchor: the type of each key."""

    sections: dict[str, dict[str, str]]


def page(name: str) -> Page:
    found: dict[str, dict[str, str]] = {}
    text = Path(f"docs/reference-{name}.md").read_text("utf-8")
    for title, body in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL):
        rows: dict[str, str] = {}
        for row in ROW.finditer(body):
            rows |= {key: row["type"] for key in (row["key"], row["twin"]) if key}
        found[reference.anchor(title)] = rows
    return Page(found)


def missing(told: Page, section: str, value: object, at: str) -> Iterator[str]:
    """Keys of a part of a file that its section does not have."""
    assert isinstance(value, dict), at
    for key, inner in value.items():
        kind = told.sections[section].get(key)
        if kind is None:
            yield f"{at}.{key}"
            continue
        links = dict(re.findall(r"\[([^\]]*(?:\[\])?)\]\(#([\w-]+)\)", kind))
        if key == "channels" and isinstance(inner, dict):
            for name, settings in inner.items():
                yield from missing(told, links[name], settings, f"{at}.channels.{name}")
        elif links:
            (target,) = links.values()
            parts = (
                list(inner.values()) if kind.startswith("mapping") else inner if kind.startswith("list") else [inner]
            )
            for part in parts:
                yield from missing(told, target, part, f"{at}.{key}")


@pytest.mark.parametrize("name", FILES)
def test_the_page_is_generated_from_the_structs_as_they_are(name: str) -> None:
    path = Path(f"docs/reference-{name}.md")
    assert path.read_text("utf-8") == reference.texts()[path.resolve()], "run `python -m deploy.generate`"


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("folder", ["deploy/config", "tests"])
def test_the_page_has_every_key_of_the_examples(name: str, folder: str) -> None:
    path = Path(folder) / (f"{name}/{name}.yml" if folder == "tests" else f"{name}.yml")
    assert list(missing(page(name), "toplevel", yaml.safe_load(path.read_text("utf-8")), "")) == []


def test_the_page_has_the_keys_that_the_example_shows_as_comments() -> None:
    told = page("receiver")
    text = Path("deploy/config/receiver.yml").read_text("utf-8")
    shown = set(re.findall(r"^# ([a-z_]+):(?: |$)", text, re.MULTILINE))
    assert {"schedules", "heartbeats"} <= shown <= set(told.sections["toplevel"])


@pytest.mark.parametrize("name", FILES)
def test_every_link_within_the_page_leads_to_a_section(name: str) -> None:
    links = re.findall(r"\]\(#([\w-]+)\)", Path(f"docs/reference-{name}.md").read_text("utf-8"))
    assert links
    assert set(links) <= set(page(name).sections)


class Described(Strict, frozen=True):
    """A section."""

    key: Secret | None = None
    """What it is for."""
    key_file: Path | None = None
    size: int = 5
    """Bytes"""
    storage: Storage = Storage()
    """The other section"""


class Silent(Strict, frozen=True):
    """A section with a key that nobody has described."""

    size: int = 5


def test_a_key_has_type_default_and_meaning_and_stands_beside_its_file() -> None:
    rows = reference.page("example.yml", Described).split("\n")
    assert "| `key` or `key_file` | secret | unset | What it is for |" in rows
    assert "| `size` | whole number | `5` | Bytes |" in rows
    assert "| `storage` | [storage](#storage) |  | The other section |" in rows
    assert "## `storage`" in rows


def test_a_key_without_a_description_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"Silent\.size"):
        reference.page("example.yml", Silent)


def test_the_sections_are_all_structs_that_a_file_may_hold() -> None:
    kinds = [one.kind for one in reference.sections(reference.FILES["receiver"])]
    assert len(kinds) == len(set(kinds)) > 30
    assert all(issubclass(kind, msgspec.Struct) for kind in kinds)
