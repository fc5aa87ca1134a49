"""Generates the event types of heypeter.d.mts from catalogue.yml: `python -m exporter.client.generate [--check]`."""

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
CATALOGUE, TYPES = HERE.parent / "catalogue/catalogue.yml", HERE / "heypeter.d.mts"
BEGIN, END = "// <events>\n", "// </events>\n"
_STRINGS = {"text", "path", "identity"}
_OTHERS = {"switch": "boolean", "timestamp": "number | string | Date"}


def main(arguments: list[str] | None = None) -> int:
    """Return the exit status: 0 written or up to date, 1 out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the file is out of date")
    options = parser.parse_args(arguments)
    old = TYPES.read_text("utf-8")
    new = generated(old, yaml.safe_load(CATALOGUE.read_text("utf-8")))
    if old == new:
        return 0
    if options.check:
        sys.stderr.write(f"{TYPES} is out of date; run python -m exporter.client.generate\n")
        return 1
    TYPES.write_text(new, "utf-8")
    return 0


def generated(text: str, catalogue: dict[str, Any]) -> str:
    """Return the file's text with a new block between the marks."""
    head, _, rest = text.partition(BEGIN)
    tail = rest.partition(END)[2]
    return head + BEGIN + events(catalogue) + END + tail


def events(catalogue: dict[str, Any]) -> str:
    """Return the TypeScript interface of all events that a server may send."""
    lines = ["/** Every event that a server may send, and its data. */", "export interface Events {"]
    for name, event in catalogue["events"].items():
        if event["from"] == "public":
            continue  # sent by browsers only
        words = _words(name, catalogue)
        fields = [_field(field, written, words.get(field, ())) for field, written in event["fields"].items()]
        lines.append(f"  {name}: " + ("{ " + "; ".join(fields) + " };" if fields else "Record<string, never>;"))
    return "\n".join([*lines, "}", ""])


def _words(event: str, catalogue: dict[str, Any]) -> dict[str, list[str]]:
    """Return the closed set of each text field whose label has one, so that editors can complete it."""
    words: dict[str, list[str]] = {}
    for family in catalogue["families"]:
        for name, label in family.get("labels", {}).items() if family["event"] == event else ():
            field, domain = (name, label) if isinstance(label, str) else (label["field"], label["domain"])
            values = catalogue["domains"][domain].get("values")
            if values:
                words[field] = values
    return words


def _field(name: str, written: str | list[str], words: list[str] | tuple[()]) -> str:
    if isinstance(written, list):
        return f"{name}: {_union(written)}"
    kind, optional = written.removesuffix("?"), "?" if written.endswith("?") else ""
    if kind == "text" and words:
        return f"{name}{optional}: {_union(words)} | (string & {{}})"  # any other word is counted as `other`
    return f"{name}{optional}: {'string' if kind in _STRINGS else _OTHERS.get(kind, 'number')}"


def _union(words: list[str] | tuple[()]) -> str:
    return " | ".join(f'"{word}"' for word in words)


if __name__ == "__main__":
    raise SystemExit(main())
