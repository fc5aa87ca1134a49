"""Write what is generated from rules/tables/: three rule files, and the thresholds in the others.

`python -m rules.generate` writes the files; `--check` only compares them.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from rules import benchmark_rules, expected_rules, slo_rules, thresholds
from rules.writing import Panels, panels

FOLDER = Path(__file__).resolve().parent
GENERATED: dict[str, tuple[type[msgspec.Struct], Callable[[Any, Panels], str]]] = {
    "benchmarks.yml": (benchmark_rules.Table, benchmark_rules.written),
    "expected.yml": (expected_rules.Table, expected_rules.written),
    "slo.yml": (slo_rules.Table, slo_rules.written),
}


T = TypeVar("T", bound=msgspec.Struct)
BY_HAND = ("critical.yml", "warning.yml", "business.yml")


def texts(folder: Path = FOLDER, shown: Panels | None = None) -> dict[Path, str]:
    """Return the text of each generated file; ValueError names the table and its fault."""
    shown = panels(folder.parent) if shown is None else shown
    text_of_path = {
        folder / name: written(_table(folder, name, table), shown) for name, (table, written) in GENERATED.items()
    }
    edited = {name: (folder / name).read_text("utf-8") for name in BY_HAND if (folder / name).exists()}
    numbers = _table(folder, "thresholds.yml", thresholds.Table)
    try:
        edited = thresholds.written(numbers, edited)
    except ValueError as error:
        raise ValueError(f"rules/tables/thresholds.yml: {error}") from error
    return text_of_path | {folder / name: text for name, text in edited.items()}


def _table(folder: Path, name: str, kind: type[T]) -> T:
    try:
        return msgspec.convert(yaml.safe_load((folder / "tables" / name).read_text("utf-8")), kind)
    except (msgspec.ValidationError, yaml.YAMLError, OSError) as error:
        raise ValueError(f"rules/tables/{name}: {error}") from error


def main(arguments: list[str]) -> int:
    """Write or check the files. Return 0 if they are (now) right, 1 after printing what is wrong."""
    try:
        wanted = texts()
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]
    if arguments != ["--check"]:
        for path in stale:
            path.write_text(wanted[path], "utf-8")
        return 0
    for path in stale:
        sys.stderr.write(f"rules/{path.name} differs from its table: run `python -m rules.generate`\n")
    return 1 if stale else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
