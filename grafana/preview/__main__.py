"""`python -m grafana.preview`: draws the dashboards with Grafana's own components, for the docs."""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import yaml

from deploy.local.chromium import chromium, chromium_path
from deploy.local.node import node_folder
from grafana.preview.bundle import BundleError, bundle
from grafana.preview.past import PastError, past
from grafana.preview.picture import DEVICES, LONGEST, THEMES, PictureError, Shot, View, take
from grafana.preview.site import serve

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: list[str] | None = None) -> int:
    """Give the exit status: 1 if a picture could not be taken or a panel could not be drawn."""
    words = _words(arguments)
    shots = _shots(words)
    if not shots:
        return _refuse(f"there is no dashboard {words.names or 'at all'} in {words.dashboards}")
    if chromium_path() is None:
        return _refuse("there is no Chromium here: run make browser")
    # Playwright's own node wants a library that a minimal system lacks.
    os.environ.setdefault("PLAYWRIGHT_NODEJS_PATH", str(node_folder() / "node"))
    try:
        wrong = asyncio.run(_take_all(bundle(print), shots, words))
    except (BundleError, PastError, PictureError) as error:
        return _refuse(str(error))
    return 1 if wrong else 0


def _refuse(why: str) -> int:
    print(f"grafana.preview: {why}", file=sys.stderr)
    return 1


def _words(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m grafana.preview", description=__doc__)
    parser.add_argument("names", nargs="*", help="dashboards, by the names of their files; without any, all")
    parser.add_argument("--prometheus.url", dest="prometheus", help="where the data is; without it, a simulated past")
    parser.add_argument(
        "--at", type=_moment, help="as if it were this time (ISO 8601); without it, the past's end, or now"
    )
    parser.add_argument("--dashboards", type=Path, default=ROOT / "grafana/dashboards", help="the folder of the JSON")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/images/dashboards", help="the folder of the pictures")
    parser.add_argument("--format", choices=("webp", "png"), default="webp")
    parser.add_argument("--themes", nargs="+", choices=THEMES, default=THEMES)
    parser.add_argument("--devices", nargs="+", choices=DEVICES, default=tuple(DEVICES))
    parser.add_argument("--whole", action="store_true", help="the whole page, not three screens of it")
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


@asynccontextmanager
async def _data(words: argparse.Namespace) -> AsyncIterator[tuple[str, datetime]]:
    """Give where to ask, and the time of the pictures."""
    if words.prometheus:
        yield words.prometheus, words.at or datetime.now(UTC)  # noqa: TID251  # a picture of a live Prometheus
        return
    async with past(print) as (url, end):
        yield url, words.at or end


async def _take_all(page: Path, shots: list[Shot], words: argparse.Namespace) -> int:
    """Give how many panels were wrong: an empty one may be well, as that of alerts that fire."""
    words.out.mkdir(parents=True, exist_ok=True)
    wrong = 0
    async with _data(words) as (url, at), serve(page, words.dashboards, url) as site, chromium() as browser:
        view = View(at, words.rows, scrape_interval(), words.format)
        for shot in shots:
            tall = LONGEST if words.whole else DEVICES[shot.device].tall
            picture, errors, empty = await take(browser, site, shot, view, tall)
            path = words.out / f"{shot.name}.{words.format}"
            path.write_bytes(picture)
            print(f"{path}  {len(picture) // 1024} kB", flush=True)
            for problem in (*errors, *empty):
                print(f"  {problem}", flush=True)
            wrong += len(errors)
    return wrong


if __name__ == "__main__":
    raise SystemExit(main())
