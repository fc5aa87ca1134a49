"""Generates the event types of heypeter.d.mts from catalogue files: `python -m exporter.client.generate [--check]`.

For a catalogue of your own: `--catalogue own.yml --catalogue ferry.yml --output heypeter.d.mts`.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
TYPES = HERE / "heypeter.d.mts"
CATALOGUE = [HERE.parent / f"catalogue/{name}.yml" for name in ("own", "application", "school")]
BEGIN, END = "// <events>\n", "// </events>\n"
_STRINGS = {"text", "path", "identity"}
_OTHERS = {"switch": "boolean", "timestamp": "number | string | Date"}


def main(arguments: list[str] | None = None) -> int:
    """Return the exit status: 0 written or up to date, 1 out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the file is out of date")
    parser.add_argument("--catalogue", action="append", type=Path, help="a catalogue file; give own.yml first")
    parser.add_argument("--output", type=Path, default=TYPES, help="the file to write")
    options = parser.parse_args(arguments)
    old = options.output.read_text("utf-8") if options.output.exists() else ""
    new = generated(TYPES.read_text("utf-8"), merged(options.catalogue or CATALOGUE))
    if old == new:
        return 0
    if options.check:
        sys.stderr.write(f"{options.output} is out of date; run python -m exporter.client.generate\n")
        return 1
    options.output.write_text(new, "utf-8")
    return 0


def merged(files: list[Path]) -> dict[str, Any]:
    """Read catalogue files into one; an entry of a later file replaces that of the same name."""
    parts = [yaml.safe_load(path.read_text("utf-8")) for path in files]
    families = {family["name"]: family for part in parts for family in part.get("families", ())}
    named = {key: {k: v for part in parts for k, v in part.get(key, {}).items()} for key in ("domains", "events")}
    return {**named, "families": list(families.values())}


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
            known = catalogue["domains"][domain]
            if known.get("values") and "from" not in known:
                words[field] = known["values"]
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
