"""`python -m deploy.generate` writes the files that follow from others; `--check` only compares them."""

import sys
from collections.abc import Callable
from pathlib import Path

from deploy.generate import build_lock, containers, kubernetes, openapi, reference, slack

ROOT = Path(__file__).resolve().parents[2]
PARTS: tuple[Callable[[], dict[Path, str]], ...] = (
    *(build_lock.texts, containers.texts, kubernetes.texts, openapi.texts, reference.texts, slack.texts),
)


def texts() -> dict[Path, str]:
    """Give the text of each generated file; ValueError names the source and its fault."""
    return {path: text for part in PARTS for path, text in part().items()}


def main(arguments: list[str]) -> int:
    """Write or check the files. Return 0 if they are (now) right, 1 after printing what is wrong."""
    try:
        wanted = texts()
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]
    for path in stale:
        if arguments == ["--check"]:
            print(f"{path.relative_to(ROOT)} differs from its source: run `python -m deploy.generate`", file=sys.stderr)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path], "utf-8")
    return 1 if stale and arguments == ["--check"] else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
