"""`python -m rules.lint [FILE ...]`: what is wrong in rule files, told as a compiler does (docs/rules.md)."""

import argparse
import sys
from pathlib import Path

from rules.lint.promtool import PromtoolError
from rules.lint.register import CHECKS, about
from rules.lint.run import judged
from rules.lint.telling import short, told
from rules.site import ROOT


def main(arguments: list[str]) -> int:
    """0 when nothing is wrong; 1 with a message for each thing that is."""
    parser = argparse.ArgumentParser(prog="python -m rules.lint", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="rule files; all of rules/ by default")
    parser.add_argument("--format", choices=("text", "github"), default="text")
    parser.add_argument("--list", action="store_true", help="list the checks and do nothing else")
    parser.add_argument("--promtool", type=Path, default=ROOT / ".stack/bin/promtool")
    parser.add_argument("--root", type=Path, default=ROOT, help="the folder of a site (docs/site.md); ours by default")
    options = parser.parse_args(arguments)
    if options.list:
        sys.stdout.writelines(f"{name:28}{about(name)}\n" for name in CHECKS)
        return 0
    files = options.files or [short(path) for path in sorted((options.root / "rules").glob("*.yml"))]
    try:
        findings, count = judged(list(dict.fromkeys(files)), options.promtool, options.root.resolve())
    except (PromtoolError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    texts = [finding.github if options.format == "github" else finding.plain for finding in findings]
    if not findings and options.format == "text":
        texts = [f"{count} rules in {len(files)} files pass {len(CHECKS)} checks\n"]
    return told(texts) or (1 if findings else 0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
