"""`python -m receiver review`: what the alerts, thresholds, baselines and dashboards of a period ask people to do."""

import argparse
import asyncio
import base64
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import aiohttp
import msgspec
from rich.console import Console
from rich.progress import Progress

from process.addresses import is_http, redacted
from process.settings import SettingsError
from receiver.cli.command import Command
from receiver.cli.database import add_database, database_of
from receiver.cli.instant import instant
from receiver.clients.http_api import ApiError
from receiver.clients.prometheus import Prometheus
from receiver.config.load import Site, load
from receiver.reports.review import baseline_history
from receiver.reports.review.dashboard import Panel, panels
from receiver.reports.review.gather import Empty, Gatherer
from receiver.reports.review.model import DeadPanel, Review, Rule
from receiver.reports.review.period import PERIODS, Part, Period
from receiver.reports.review.receiver_data import add_receiver_data
from receiver.reports.review.render import html_page, markdown
from receiver.reports.review.sections import content

_TIMEOUT = 150.0  # seconds for one query: a year of a busy alert takes Prometheus its own limit of two minutes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("--prometheus.url", dest="url", required=True, help="e.g. http://localhost:9090")
    parser.add_argument("--period", choices=list(PERIODS), required=True)
    parser.add_argument("--until", help="end of the period, e.g. 2026-11-30T09:00 (default: now)")
    parser.add_argument("--config.file", dest="config", type=Path, help="receiver.yml: for incidents and contacts")
    add_database(parser)
    parser.add_argument("--dashboards", type=Path, default=Path("grafana/dashboards"), help="folder of *.json files")
    parser.add_argument("--output", type=Path, default=Path(), help="folder for the reports (default: the current one)")
    parser.add_argument("--prometheus.bearer-token-file", dest="token_file", type=Path)
    parser.add_argument("--prometheus.username", dest="user")
    parser.add_argument("--prometheus.password-file", dest="password_file", type=Path)


def run(options: argparse.Namespace, now: datetime) -> int:
    """Write both reports; SettingsError says in one sentence what is in the way."""
    period = PERIODS[options.period]
    end = (instant(options.until, "--until") if options.until else now).replace(microsecond=0)
    if not is_http(options.url):
        raise SettingsError(f"invalid --prometheus.url {redacted(options.url)} (expected e.g. http://localhost:9090)")
    headers = _headers(options)
    panels_read, broken = _panels(options.dashboards, period)
    prefix = (load(options.config)[0].site if options.config else Site()).series_prefix
    review = asyncio.run(_review(options.url, headers, period, end, panels_read, prefix))
    review = _with(review, dead=(*review.dead, *broken))
    if options.config:
        review = asyncio.run(_with_receiver_data(review, options.config, options.database, now))
    try:
        _write(review, options.output, f"review-{options.period}-{end:%Y-%m-%d}")
    except OSError as error:
        raise SettingsError(f"--output {options.output}: {error.strerror or error}") from error
    return 0


async def _with_receiver_data(review: Review, path: Path, database: Path | None, now: datetime) -> Review:
    config, source = load(path)
    history = database_of(database, config, source).history()
    try:
        return await add_receiver_data(review, config, source, history, now)
    finally:
        await history.close()


def _write(review: Review, folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if review.baselines:
        remembered = baseline_history.filled(review.baselines, baseline_history.recall(folder, review.end))
        baseline_history.remember(folder, review.end, review.baselines)
        review = _with(review, baselines=remembered)
    shown = content(review)
    for suffix, text in (("md", markdown(shown)), ("html", html_page(shown))):
        (folder / f"{name}.{suffix}").write_text(text, "utf-8")
        sys.stdout.write(f"{folder / name}.{suffix}\n")


async def _review(
    url: str, headers: dict[str, str], period: Period, end: datetime, panels: Sequence[Panel], prefix: str
) -> Review:
    bar = Progress(console=Console(file=sys.stderr), disable=not sys.stderr.isatty(), transient=True)
    async with aiohttp.ClientSession() as session:
        prometheus = Prometheus(session, url, headers, _TIMEOUT)
        with bar:
            task = bar.add_task("rules", total=None)
            gatherer = Gatherer(
                prometheus, period, end, lambda what: bar.update(task, advance=1, description=what), prefix
            )
            try:
                rules = await gatherer.rules()
                since = await gatherer.since()
            except ApiError as error:
                raise SettingsError(f"--prometheus.url {redacted(url)}: {error}") from error
            except Empty as error:
                days = f"{end - period.length:%Y-%m-%d} to {end:%Y-%m-%d}"
                raise SettingsError(
                    f"--prometheus.url {redacted(url)}: no data from {days}; check the URL and --until"
                ) from error
            bar.update(task, total=2 + len(panels) + (len(rules) if Part.THRESHOLDS in period.parts else 0))
            return await _gathered(gatherer, rules, since, period, end, panels)


async def _gathered(
    gatherer: Gatherer, rules: Sequence[Rule], since: datetime, period: Period, end: datetime, panels: Sequence[Panel]
) -> Review:
    fired, never = await gatherer.fired(rules)
    return Review(
        period=period,
        start=end - period.length,
        end=end,
        since=since,
        rules=len(rules),
        fired=fired,
        never=never,
        tuned=await gatherer.tuned(rules, fired) if Part.THRESHOLDS in period.parts else (),
        baselines=await gatherer.baselines(rules) if Part.BASELINES in period.parts else (),
        panels=len(panels),
        dead=await gatherer.panels(panels),
        troubles=tuple(gatherer.troubles),
    )


def _panels(folder: Path, period: Period) -> tuple[list[Panel], list[DeadPanel]]:
    """Read the dashboards, if the period looks at them; one that is broken is a part of the report."""
    if Part.DASHBOARDS not in period.parts:
        return [], []
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise SettingsError(f"--dashboards {folder}: no *.json files found")
    panels_read, broken = list[Panel](), list[DeadPanel]()
    for path in paths:
        try:
            panels_read += panels(path.read_bytes(), int(period.length.total_seconds()))
        except (OSError, ValueError) as error:
            broken.append(DeadPanel(path.name, "(the whole file)", "", str(error)))
    return panels_read, broken


def _headers(options: argparse.Namespace) -> dict[str, str]:
    if options.token_file:
        return {"Authorization": f"Bearer {_secret(options.token_file, '--prometheus.bearer-token-file')}"}
    if options.user and options.password_file:
        pair = f"{options.user}:{_secret(options.password_file, '--prometheus.password-file')}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    if options.user or options.password_file:
        raise SettingsError("--prometheus.username and --prometheus.password-file must be used together")
    return {}


def _secret(path: Path, option: str) -> str:
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{option} {path}: cannot be read; give the path of a text file") from error


def _with(review: Review, **changes: object) -> Review:
    return msgspec.structs.replace(review, **changes)


COMMAND = Command(add_arguments, lambda options, clock: run(options, clock()))
