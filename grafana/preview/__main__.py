"""`python -m grafana.preview`: renders the dashboards for the docs with Grafana's own components."""

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
from grafana.preview.digests import note, shows, stale
from grafana.preview.past import PastError, data_digest, past
from grafana.preview.picture import DEVICES, LONGEST, THEMES, PictureError, Shot, View, take
from grafana.preview.site import serve

ROOT = Path(__file__).resolve().parents[2]
PHONE = ("overview", "executive", "operations", "oncall")  # what people look at on a phone


def main(arguments: list[str] | None = None) -> int:
    """Give the exit status: 1 if a picture could not be taken or a panel failed to render."""
    options = _options(arguments)
    if options.check:
        return _name_stale(options)
    shots = _shots(options)
    if not shots:
        return _fail(f"no dashboard {' '.join(options.names)} in {options.dashboards}")
    if chromium_path() is None:
        return _fail("Chromium is not installed; run make browser")
    # Playwright's own node needs a library that a minimal system lacks.
    os.environ.setdefault("PLAYWRIGHT_NODEJS_PATH", str(node_folder() / "node"))
    try:
        wrong = asyncio.run(_take_all(bundle(print), shots, options))
    except (BundleError, PastError, PictureError) as error:
        return _fail(str(error))
    return 1 if wrong else 0


def _name_stale(options: argparse.Namespace) -> int:
    """Name the pictures that are older than what they show; they are no error, for a render takes minutes."""
    old = list(stale(options.out, options.dashboards, data_digest()))
    for line in old:
        print(line)
    if old:
        print(f"{len(old)} pictures in {options.out} are out of date; run make grafana-preview")
    return 1 if old and options.strict else 0


def _fail(why: str) -> int:
    print(f"grafana.preview: {why}", file=sys.stderr)
    return 1


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m grafana.preview", description=__doc__)
    parser.add_argument("names", nargs="*", help="dashboards by file name; default: all")
    parser.add_argument(
        "--prometheus.url", dest="prometheus", help="URL of a Prometheus; default: one with a simulated history"
    )
    parser.add_argument(
        "--at", type=_timestamp, help="time to show (ISO 8601); default: the end of the simulated history, or now"
    )
    parser.add_argument("--dashboards", type=Path, default=ROOT / "grafana/dashboards", help="folder of the JSON files")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/images/dashboards", help="folder for the pictures")
    parser.add_argument("--format", choices=("webp", "png"), default="webp")
    parser.add_argument("--themes", nargs="+", choices=THEMES, default=THEMES)
    parser.add_argument("--devices", nargs="+", choices=DEVICES, help="default: desktop, and phone for those in PHONE")
    parser.add_argument("--check", action="store_true", help="only name the pictures that are out of date (offline)")
    parser.add_argument("--strict", action="store_true", help="with --check: exit with 1 if one is out of date")
    parser.add_argument("--whole", action="store_true", help="capture the whole page instead of three screens")
    parser.add_argument("--rows", choices=("folded", "open"), default="folded", help="folded: as in the JSON")
    return parser.parse_args(arguments)


def _timestamp(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _shots(options: argparse.Namespace) -> list[Shot]:
    stems = [
        path.stem for path in sorted(options.dashboards.glob("*.json")) if "panels" in json.loads(path.read_text())
    ]
    names = [name for name in stems if not options.names or name in options.names]
    return [
        Shot(name, theme, device)
        for name in names
        for device in options.devices or (DEVICES if name in PHONE else ["desktop"])
        for theme in options.themes
    ]


def scrape_interval() -> str:
    """Give the `timeInterval` of the provisioned datasource, from which Grafana takes $__rate_interval."""
    text = (ROOT / "grafana/provisioning/datasources/prometheus.yml").read_text("utf-8")
    return str(yaml.safe_load(text)["datasources"][0]["jsonData"]["timeInterval"])


@asynccontextmanager
async def _data(options: argparse.Namespace) -> AsyncIterator[tuple[str, datetime]]:
    """Give the URL of the data and the time to show."""
    if options.prometheus:
        yield options.prometheus, options.at or datetime.now(UTC)  # noqa: TID251  # a live Prometheus shows the present
        return
    async with past(print) as (url, end):
        yield url, options.at or end


async def _take_all(page: Path, shots: list[Shot], options: argparse.Namespace) -> int:
    """Give how many panels failed. An empty one is no failure: with no firing alert, its list is empty."""
    options.out.mkdir(parents=True, exist_ok=True)
    wrong = 0
    async with _data(options) as (url, at), serve(page, options.dashboards, url) as site, chromium() as browser:
        view = View(at, options.rows, scrape_interval(), options.format)
        for shot in shots:
            tall = LONGEST if options.whole else DEVICES[shot.device].tall
            picture, errors, empty = await take(browser, site, shot, view, tall)
            path = options.out / f"{shot.name}.{options.format}"
            path.write_bytes(picture)
            if not options.prometheus and options.format == "webp":
                when = f"{at:%Y-%m-%dT%H:%M:%SZ}"
                source = options.dashboards / f"{shot.dashboard}.json"
                note(path, shot.dashboard, when, shows(source, data_digest(), when))
            print(f"{path}  {len(picture) // 1024} kB", flush=True)
            for problem in (*errors, *empty):
                print(f"  {problem}", flush=True)
            wrong += len(errors)
    return wrong


if __name__ == "__main__":
    raise SystemExit(main())
