"""Write grafana/dashboards/*.json and grafana/panels.yml; `--check` only reports whether they are up to date."""

import sys
from pathlib import Path

import yaml

from grafana import board
from grafana.dashboards import (
    benchmarks,
    browsers,
    cache,
    database,
    executive,
    exporter,
    hosts,
    monitoring,
    oncall,
    operations,
    overview,
    receiver,
    requests,
    security,
    technical,
)
from grafana.panel import Board
from grafana.tables import Numbers
from rules.writing import SITE

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "grafana"
BOARDS = (
    *(overview.BOARD, executive.BOARD, operations.BOARD, benchmarks.BOARD, security.BOARD),
    *(technical.BOARD, requests.BOARD, browsers.BOARD, database.BOARD, cache.BOARD, hosts.BOARD),
    *(oncall.BOARD, receiver.BOARD, exporter.BOARD, monitoring.BOARD),
)
ABOUT = """\
# GENERATED from grafana/dashboards/*.py by `python -m grafana.build`. Do not edit.
# Which panel shows the series of which alert: `python -m grafana.links` writes the links of rules and runbooks from it.
"""


def explained(boards: tuple[Board, ...]) -> dict[str, tuple[str, int]]:
    """Return the dashboard and panel of each alert.

    Raises:
        ValueError: two panels explain one alert.

    """
    places: dict[str, tuple[str, int]] = {}
    for one in boards:
        for panel in one.panels():
            for alert in panel.explains:
                if alert in places:
                    raise ValueError(
                        f"{one.uid}: {panel.title} explains {alert}, and so does {places[alert]}; keep one"
                    )
                places[alert] = (one.uid, panel.id)
    return places


def texts(numbers: Numbers) -> dict[Path, str]:
    """Return the text of each file."""
    files = {FOLDER / file_name(one): board.written(one, numbers) for one in BOARDS}
    return files | {FOLDER / "panels.yml": table(BOARDS)}


def file_name(one: Board) -> str:
    """Say where a board's JSON is, below grafana/."""
    return f"dashboards/{one.uid.removeprefix(f'{SITE.prefix}-')}.json"


def table(boards: tuple[Board, ...]) -> str:
    """Return the text of panels.yml."""
    places = explained(boards)
    rows = {alert: {"dashboard": uid, "panel": number} for alert, (uid, number) in sorted(places.items())}
    return ABOUT + yaml.safe_dump(rows, sort_keys=False, default_flow_style=None, width=120)


def main(arguments: list[str]) -> int:
    """Write or check the files. Return 0 if they are (now) right, 1 after printing what is wrong."""
    try:
        wanted = texts(Numbers.read(ROOT))
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]
    if arguments != ["--check"]:
        for path in stale:
            path.write_text(wanted[path], "utf-8")
        return 0
    for path in stale:
        sys.stderr.write(f"{path.relative_to(ROOT)} is not what its source says: run `python -m grafana.build`\n")
    return 1 if stale else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
