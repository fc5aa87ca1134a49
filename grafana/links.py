"""Write the dashboard links of rules, rule tests and runbooks (`python -m grafana.links`); `--check` only compares.

grafana/panels.yml says which panel belongs to which alert. Its address is written after each runbook_url and into the
"Dashboard" link of each runbook. The generated rule files read the same table (rules/writing.py).
"""

import re
import sys
from pathlib import Path

import yaml

from rules.site import ROOT, TABLE, read
from rules.writing import DASHBOARDS

_RULE = re.compile(r"(?P<before>runbook_url: \S*/(?P<alert>\w+)\.md\n +dashboard_url: )\S+")
_RUNBOOK = re.compile(r"(?<=\[Dashboard\]\()[^)]*(?=\))")
Places = dict[str, str]


def places(text: str, dashboards: str = DASHBOARDS) -> Places:
    """Read the table: alert -> the address of its panel."""
    table = yaml.safe_load(text)
    return {alert: f"{dashboards}/{row['dashboard']}?viewPanel={row['panel']}" for alert, row in table.items()}


def in_rules(text: str, address_of_alert: Places) -> str:
    """Return a file of rules, or of their tests, with the panel link of each alert.

    Raises:
        ValueError: an alert has no panel, or a dashboard_url does not follow its runbook_url.

    """
    linked, count = _RULE.subn(lambda match: match["before"] + _place(match["alert"], address_of_alert), text)
    every = text.count("dashboard_url:")
    if count != every:
        raise ValueError(f"{every - count} of {every} dashboard_url lines do not follow a runbook_url; move them there")
    return linked


def in_runbook(alert: str, text: str, address_of_alert: Places) -> str:
    """Return the runbook of an alert with its panel link.

    Raises:
        ValueError: the alert has no panel, or the page has no dashboard link.

    """
    linked, count = _RUNBOOK.subn(_place(alert, address_of_alert), text)
    if count != 1:
        raise ValueError(f"it has {count} links called [Dashboard] (expected 1)")
    return linked


def _place(alert: str, address_of_alert: Places) -> str:
    if alert not in address_of_alert:
        raise ValueError(
            f"no panel shows {alert}: declare it on one (explains=...), then run `python -m grafana.build`"
        )
    return address_of_alert[alert]


def texts(root: Path) -> dict[Path, str]:
    """Return every file that has such links, with the links written; ValueError names the file and its fault."""
    dashboards = read(root / TABLE).dashboards
    address_of_alert = places((root / "grafana/panels.yml").read_text("utf-8"), dashboards)
    rules = [*sorted((root / "rules").glob("*.yml")), *sorted((root / "rules/tests").glob("*.yml"))]
    pages = sorted(page for page in (root / "docs/runbooks").glob("*.md") if page.stem != "README")
    linked = {}
    for path in [*rules, *pages]:
        text = path.read_text("utf-8")
        try:
            linked[path] = (
                in_runbook(path.stem, text, address_of_alert)
                if path.suffix == ".md"
                else in_rules(text, address_of_alert)
            )
        except ValueError as error:
            raise ValueError(f"{path.relative_to(root)}: {error}") from error
    return linked


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Write or check the links. Return 0 if they are (now) right, 1 after printing what is wrong."""
    try:
        wanted = texts(root)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    stale = [path for path, text in wanted.items() if path.read_text("utf-8") != text]
    if arguments != ["--check"]:
        for path in stale:
            path.write_text(wanted[path], "utf-8")
        return 0
    for path in stale:
        sys.stderr.write(f"{path.relative_to(root)}: dashboard links are out of date; run `python -m grafana.links`\n")
    return 1 if stale else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
