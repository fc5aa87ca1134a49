"""`python -m grafana.lint [FILE ...]`: what is wrong in dashboards, told as compilers do (docs/dashboard-checks.md)."""

import argparse
import sys
from pathlib import Path

from grafana.lint.register import NAMES, about
from grafana.lint.run import judged
from rules.lint.telling import short, told
from rules.site import ROOT


def main(arguments: list[str]) -> int:
    """0 when nothing is wrong; 1 with a message for each thing that is."""
    parser = argparse.ArgumentParser(prog="python -m grafana.lint", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="dashboards; all of ours by default")
    parser.add_argument("--format", choices=("text", "github"), default="text")
    parser.add_argument("--list", action="store_true", help="list the checks and do nothing else")
    parser.add_argument("--root", type=Path, default=ROOT, help="the folder of a site (docs/site.md); ours by default")
    options = parser.parse_args(arguments)
    if options.list:
        sys.stdout.writelines(f"{name:28}{about(name)}\n" for name in NAMES)
        return 0
    every = sorted((options.root / "grafana/dashboards").glob("*.json"))
    files = list(dict.fromkeys(options.files)) or [short(path) for path in every]
    try:
        findings, panels = judged(files, options.root.resolve(), rules=not options.files)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    texts = [finding.github if options.format == "github" else finding.plain for finding in findings]
    if not findings and options.format == "text":
        texts = [f"{panels} panels in {len(files)} dashboards pass {len(NAMES)} checks\n"]
    return told(texts) or (1 if findings else 0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
