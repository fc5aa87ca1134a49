"""`python -m grafana.preview`: draws the dashboards with Grafana's own components, for the docs."""

import argparse
import asyncio
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import yaml

from grafana.preview.bundle import BundleError, bundle
from grafana.preview.picture import THEMES, WIDTHS, Shot, take
from grafana.preview.site import serve
from tests.browser import chromium, chromium_path, node_folder

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: list[str] | None = None) -> int:
    """Give the exit status: 1 if a picture could not be taken or shows something wrong."""
    words = _words(arguments)
    shots = _shots(words)
    if not shots:
        print(f"there is no dashboard {words.names or 'at all'} in {words.dashboards}", file=sys.stderr)
        return 1
    if chromium_path() is None:
        print("there is no Chromium here: run make browser", file=sys.stderr)
        return 1
    # Playwright's own node wants a library that a minimal system lacks.
    os.environ.setdefault("PLAYWRIGHT_NODEJS_PATH", str(node_folder() / "node"))
    try:
        page = bundle(print)
    except BundleError as error:
        print(error, file=sys.stderr)
        return 1
    return asyncio.run(_take_all(page, shots, words))


def _words(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m grafana.preview", description=__doc__)
    parser.add_argument("names", nargs="*", help="dashboards, by the names of their files; without any, all")
    parser.add_argument("--prometheus.url", dest="prometheus", required=True, help="where the data is")
    parser.add_argument("--dashboards", type=Path, default=ROOT / "grafana/dashboards", help="the folder of the JSON")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/images/dashboards", help="the folder of the pictures")
    parser.add_argument("--format", choices=("webp", "png"), default="webp")
    parser.add_argument("--themes", nargs="+", choices=THEMES, default=THEMES)
    parser.add_argument("--devices", nargs="+", choices=WIDTHS, default=tuple(WIDTHS))
    now = datetime.now(UTC)  # noqa: TID251  # a picture is of now, unless another time is asked for
    parser.add_argument("--at", type=_moment, default=now, help="as if it were this time (ISO 8601)")
    parser.add_argument("--rows", choices=("folded", "open"), default="folded", help="folded: as the JSON says")
    return parser.parse_args(arguments)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _shots(words: argparse.Namespace) -> list[Shot]:
    found = [path.stem for path in sorted(words.dashboards.glob("*.json")) if "panels" in json.loads(path.read_text())]
    names = [name for name in found if not words.names or name in words.names]
    return [Shot(name, theme, device) for name in names for device in words.devices for theme in words.themes]


def scrape_interval() -> str:
    """Give the `timeInterval` of the provisioned datasource, from which Grafana takes $__rate_interval."""
    text = (ROOT / "grafana/provisioning/datasources/prometheus.yml").read_text("utf-8")
    return str(yaml.safe_load(text)["datasources"][0]["jsonData"]["timeInterval"])


async def _take_all(page: Path, shots: list[Shot], words: argparse.Namespace) -> int:
    words.out.mkdir(parents=True, exist_ok=True)
    wrong = 0
    async with serve(page, words.dashboards, words.prometheus) as site, chromium() as browser:
        for shot in shots:
            path = words.out / f"{shot.name}.{words.format}"
            picture, problems = await take(browser, site, shot, words.format, words.at, words.rows, scrape_interval())
            path.write_bytes(picture)
            wrong += len(problems)
            print(f"{path}  {len(picture) // 1024} kB")
            for problem in problems:
                print(f"  {shot.name}: {problem}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
