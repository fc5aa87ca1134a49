"""`python -m receiver drill`: sends a marked alert through the real Alertmanager and follows it to every channel.

It prints how long each hop took and who answered; then it ends the alert, and waits until everybody has heard that.
"""

import argparse
import asyncio
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp

from process.addresses import own_url
from process.findings import reason
from process.settings import Secret, SettingsError, require_secret
from receiver.cli.api_client import token_in
from receiver.cli.command import Command
from receiver.cli.tables import table
from receiver.config.load import load
from receiver.incident.model import EntryKind, Kind, Priority

_PATIENCE = aiohttp.ClientTimeout(total=10)
_SEVERITIES = {"P1": "critical", "P2": "warning", "P3": "info", "P4": "none", "P5": "none"}
_LASTING = timedelta(hours=1)  # an alert that nobody ends is over by then

_SHOWN = {EntryKind.ACKNOWLEDGED, EntryKind.DEAD, EntryKind.FALLBACK}
_ENDS = {EntryKind.RESOLVED, EntryKind.RESOLVED_QUIET, EntryKind.RESOLVED_BY_HAND}

Clock = Callable[[], datetime]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("--config.file", dest="config", type=Path, required=True, help="receiver.yml")
    parser.add_argument(
        "--alertmanager.url",
        dest="alertmanager",
        help="alertmanager.url of the file, or http://127.0.0.1:9093 without one, otherwise",
    )
    parser.add_argument(
        "--receiver.url", dest="receiver", help="the receiver's own; http://<listen> of the file otherwise"
    )
    parser.add_argument("--token.file", dest="token", type=Path, help="file of an API token; api.token_file otherwise")
    parser.add_argument("--priority", type=str.upper, choices=[p.value for p in Priority], default="P1", help="(P1)")
    parser.add_argument("--team", default="default", help="key in `teams` (default)")
    parser.add_argument("--wait", type=float, default=120.0, help="seconds for somebody to answer (120)")


def run(options: argparse.Namespace, clock: Clock) -> int:
    """0 if the alert reached a person, 1 if it did not."""
    return asyncio.run(_run(options, clock))


class Drill:
    """One exercise: ``begin``, ``follow``, ``end``; what happened is in ``hops``."""

    def __init__(
        self, session: aiohttp.ClientSession, options: argparse.Namespace, token: Secret, clock: Clock
    ) -> None:
        self._session, self._options, self._clock = session, options, clock
        self._headers = {"Authorization": f"Bearer {token.reveal()}"}
        self._receiver = options.receiver.rstrip("/")
        self.id = secrets.token_hex(4)
        self.began = clock()
        self.hops: list[tuple[str, float]] = []
        self.number = 0

    async def begin(self) -> None:
        """Hand the alert to Alertmanager."""
        await self._post(self.began + _LASTING)
        self._note("Alertmanager took the alert", self._clock())

    async def follow(self, wait: float) -> bool:
        """Wait for the incident, its pages, and an answer; says whether a person was reached."""
        deadline = self._clock() + timedelta(seconds=wait)
        await self._until(deadline, self._opened)
        if not self.number:
            return False
        await self._until(deadline, self._answered)
        timeline = (await self._incident())["timeline"]
        pages = [entry for entry in timeline if _is_sent(entry, Kind.PAGE)]
        for entry in timeline:
            if entry in pages or entry["kind"] in _SHOWN:
                self._note(entry["text"], _at(entry))
        return any(page["data"].get("person") for page in pages)

    async def end(self, wait: float) -> None:
        """End the alert, and wait until that has been told."""
        self.ended = self._clock()
        await self._post(self.ended)
        if not self.number:
            return
        await self._until(self._clock() + timedelta(seconds=wait), self._over)
        if not await self._over():
            self._note("Alertmanager has not sent the end yet (its group_interval)", self._clock())
        for entry in (await self._incident())["timeline"]:
            if entry["kind"] in _ENDS or _is_sent(entry, Kind.RESOLVED):
                self._note(entry["text"], _at(entry))

    def _note(self, what: str, at: datetime) -> None:
        self.hops.append((what, max(0.0, (at - self.began).total_seconds())))

    async def _opened(self) -> bool:
        answer = await self._get("/api/v1/incidents?limit=100")
        mine = [incident for incident in answer["incidents"] if self.id in str(incident["title"])]
        if mine:
            self.number = int(mine[0]["id"])
            opened = datetime.fromisoformat(mine[0]["opened_at"])
            self._note(f"the receiver opened incident #{self.number}", opened)
        return bool(mine)

    async def _answered(self) -> bool:
        return bool((await self._incident())["state"] != "triggered")

    async def _over(self) -> bool:
        """Everybody who was paged has heard the end, each by the same way."""
        incident = await self._incident()
        paged, ended = (
            {
                (entry["data"]["channel"], entry["data"]["address"])
                for entry in incident["timeline"]
                if _is_sent(entry, kind)
            }
            for kind in (Kind.PAGE, Kind.RESOLVED)
        )
        return bool(incident["state"] == "resolved" and paged <= ended)

    async def _incident(self) -> dict[str, Any]:
        return await self._get(f"/api/v1/incidents/{self.number}")

    async def _until(self, deadline: datetime, question: Callable[[], Awaitable[bool]]) -> None:
        while self._clock() < deadline:
            if await question():
                return
            await asyncio.sleep(0.25)

    async def _get(self, path: str) -> dict[str, Any]:
        url = f"{self._receiver}{path}"
        try:
            async with self._session.get(url, headers=self._headers, timeout=_PATIENCE) as answer:
                if answer.status != 200:  # noqa: PLR2004  # OK
                    raise SettingsError(f"the receiver answered {answer.status}; is --receiver.url right?")
                return await answer.json()  # type: ignore[no-any-return]
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise SettingsError(f"the receiver at {self._receiver} cannot be asked: {reason(error)}") from error

    async def _post(self, ends_at: datetime) -> None:
        options = self._options
        labels = {
            "alertname": "Drill",
            "drill": "true",
            "drill_id": self.id,
            "team": options.team,
            "priority": options.priority,
            "severity": _SEVERITIES[options.priority],
        }
        annotations = {
            "summary": f"exercise {self.id}",
            "description": "Nothing is broken. Somebody wants to know whether this message arrives, and who answers.",
        }
        times = {"startsAt": self.began.isoformat(), "endsAt": ends_at.isoformat()}
        url = f"{options.alertmanager.rstrip('/')}/api/v2/alerts"
        try:
            alert = [{"labels": labels, "annotations": annotations, **times}]
            async with self._session.post(url, json=alert, timeout=_PATIENCE) as answer:
                if answer.status != 200:  # noqa: PLR2004  # OK
                    raise SettingsError(f"Alertmanager answered {answer.status}; is --alertmanager.url right?")
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            where = options.alertmanager
            raise SettingsError(f"Alertmanager at {where} cannot be reached: {reason(error)}") from error


async def _run(options: argparse.Namespace, clock: Clock) -> int:
    config, source = load(options.config)
    if options.token:
        token = token_in(options.token)
    else:
        token = require_secret(source, ".api.token", config.api.token, config.api.token_file)
    options.receiver = options.receiver or own_url(config.listen)
    configured = config.alertmanager.url if config.alertmanager else ""
    options.alertmanager = options.alertmanager or configured or "http://127.0.0.1:9093"
    async with aiohttp.ClientSession() as session:
        drill = Drill(session, options, token, clock)
        await drill.begin()
        print(f"Drill {drill.id}: a {options.priority} of team {options.team}; waiting for an answer …", flush=True)
        try:
            reached = await drill.follow(options.wait)
        finally:
            await drill.end(options.wait)
    print()
    print(table(("after", "hop"), [(f"{seconds:.2f} s", text) for text, seconds in drill.hops], 100))
    print()
    print("The drill reached somebody." if reached else "The drill reached NOBODY: look at the hops above.")
    return 0 if reached else 1


def _is_sent(entry: dict[str, Any], kind: Kind) -> bool:
    return bool(entry["kind"] == EntryKind.TOLD and entry["data"].get("notification") == kind)


def _at(entry: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(entry["at"]).astimezone(UTC)


COMMAND = Command(add_arguments, run)
