"""`python -m deploy.site FOLDER --out OUT` makes the rules, dashboards and runbooks of the site in FOLDER.

FOLDER is laid out as this repository: rules/tables/site.yml and the site's tables of benchmarks, objectives and
expected jobs, deploy/config with its four configuration files, and its own rules, tests, boards and runbooks.
"""

import argparse
import sys
from pathlib import Path

from deploy.site.layout import make


def main(arguments: list[str]) -> int:
    """Return 0 if everything was written, 1 after printing what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m deploy.site", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the folder of the site")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write; it must be empty or new")
    options = parser.parse_args(arguments)
    try:
        left_out = make(options.folder.resolve(), options.out.resolve())
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.writelines(f"left out: {name}: {why}\n" for name, why in left_out.items())
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
