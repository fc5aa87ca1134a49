"""The demo: normal traffic, a bad deploy, a page, an escalation, an acknowledgement, and the resolve."""

import asyncio
import time
from typing import Any

import aiohttp
import yaml

from deploy.local.installation import ROOT, Site, SiteError, read, write
from deploy.local.terminal import Terminal
from deploy.simulation.school import School
from deploy.simulation.traffic import Traffic

WINDOW = "20s"
HEADER = """\
# Copy for `make demo`, rewritten at each start from rules/{name}: windows of 5m are {window}, groups are evaluated
# every 2s, and critical alerts wait 4s. Do not edit it or use it for anything else; edit rules/{name}.
"""
CALM, PATIENCE = 12.0, 60.0


class Demo:
    """Writes the demo's configuration and runs through the demo."""

    def __init__(self, site: Site, terminal: Terminal) -> None:
        self._site, self._terminal = site, terminal

    def prepare(self) -> None:
        """Write rules, scrape interval, grouping times and escalation matrix with times of seconds."""
        folder = self._site.data / "rules"
        folder.mkdir(exist_ok=True)
        for source in sorted((ROOT / "rules").glob("*.yml")):
            copy = yaml.safe_dump(shortened(yaml.safe_load(source.read_text("utf-8"))), sort_keys=False, width=120)
            (folder / source.name).write_text(HEADER.format(name=source.name, window=WINDOW) + copy, "utf-8")
        prometheus = read(self._site, "prometheus")
        prometheus["global"] |= {"scrape_interval": "1s", "evaluation_interval": "2s"}
        prometheus["rule_files"] = [str(folder / "*.yml")]
        write(self._site, "prometheus", prometheus)
        alertmanager = read(self._site, "alertmanager")
        alertmanager["route"] |= {"group_wait": "1s", "group_interval": "3s"}
        write(self._site, "alertmanager", alertmanager)
        receiver = read(self._site, "receiver")
        times = ("0s", "15s", "30s", "60s")
        receiver["escalation_matrix"] = [
            {**row, "after": after} for row, after in zip(receiver["escalation_matrix"], times, strict=True)
        ]
        write(self._site, "receiver", receiver)

    async def tell(self, *, keep: bool) -> None:
        """Run once, and with ``keep`` keep sending traffic; SiteError if an expected step does not happen."""
        token = self._site.secret("api-token").read_text("utf-8").strip()
        timeout = aiohttp.ClientTimeout(total=5)
        headers = {"Authorization": f"Bearer {token}"}
        async with aiohttp.ClientSession(timeout=timeout, headers=headers) as session:
            self._session = session
            self._known = {incident["id"] for incident in await self._incidents()}
            token = self._site.secret("exporter-token").read_text("utf-8").strip()
            school = School()
            traffic = Traffic(self._site.url("exporter"), token, school)
            acts, sending = asyncio.ensure_future(self._acts(school, traffic)), asyncio.ensure_future(traffic.run())
            try:
                await asyncio.wait([acts, sending], return_when=asyncio.FIRST_COMPLETED)
                if sending.done():
                    sending.result()
                await acts
                if keep:
                    self._terminal.say("The demo keeps sending normal traffic. Press Ctrl-C to stop.")
                    await sending
            except aiohttp.ClientError as error:
                raise SiteError(f"the demo cannot reach the exporter or the receiver: {error}") from error
            finally:
                acts.cancel()
                sending.cancel()
                await asyncio.gather(acts, sending, return_exceptions=True)

    async def _acts(self, school: School, traffic: Traffic) -> None:
        terminal = self._terminal
        terminal.text("\n This demo runs on copies of the rules and the matrix with shortened times.\n\n")
        terminal.began()
        terminal.act("Normal traffic: page views, class bookings, payments.")
        await asyncio.sleep(CALM)
        terminal.act("A deploy breaks /api/bookings: most bookings now return 500.")
        school.broken = True
        number = await self._until("HighErrorRate opens an incident", lambda i: i["state"] == "triggered")
        terminal.act(f"The alert fires and opens incident #{number}. Linh (on call) is paged.")
        await self._until("the tech lead is paged", lambda i: "engineering-manager" in i["next"])
        terminal.act("No answer from Linh: escalated to the tech lead.")
        await asyncio.sleep(4)
        await self._answer(number, "Marek Novak")
        terminal.act("Marek acknowledges. Nobody else is paged.")
        await asyncio.sleep(8)
        terminal.act("Marek rolls the deploy back. Bookings work again.")
        school.broken = False
        await self._until("the incident resolves", lambda i: i["state"] == "resolved")
        await asyncio.sleep(1)
        terminal.act(f"The errors stop. Incident #{number} is resolved and everyone notified before is told so.")
        await self._summary(number, traffic)

    async def _summary(self, number: int, traffic: Traffic) -> None:
        async with self._session.get(f"{self._site.url('receiver')}/api/v1/incidents/{number}") as answer:
            timeline = (await answer.json())["timeline"]
        lines = [f"   {line['at'][11:19]}  {line['text']}"[:80] for line in timeline]
        head = f"\n {traffic.sent:,} events counted. Timeline of incident #{number} (UTC):\n\n"
        self._terminal.text(head + "\n".join(lines) + "\n\n")

    async def _incidents(self) -> list[dict[str, Any]]:
        async with self._session.get(f"{self._site.url('receiver')}/api/v1/incidents") as answer:
            answer.raise_for_status()
            return list((await answer.json())["incidents"])

    async def _until(self, what: str, holds: Any) -> int:  # noqa: ANN401  # a predicate on the API's JSON
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for incident in await self._incidents():
                if incident["id"] not in self._known and "HighErrorRate" in incident["title"] and holds(incident):
                    return int(incident["id"])
            await asyncio.sleep(0.3)
        logs = self._site.shown / "logs"
        raise SiteError(f"timed out after {PATIENCE:.0f} s waiting until {what}. See the logs in {logs}.")

    async def _answer(self, number: int, actor: str) -> None:
        url = f"{self._site.url('receiver')}/api/v1/incidents/{number}/acknowledge"
        async with self._session.post(url, json={"actor": actor}) as answer:
            answer.raise_for_status()


def shortened(rules: dict[str, Any]) -> dict[str, Any]:
    """Give a copy of a rule file that detects an outage within seconds."""
    groups = []
    for group in rules["groups"]:
        critical = group["name"] == "critical_alerts"
        changed = [
            {
                **rule,
                "expr": str(rule["expr"]).replace("[5m]", f"[{WINDOW}]"),
                **({"for": "4s"} if critical and "for" in rule else {}),
            }
            for rule in group["rules"]
        ]
        groups.append({**group, "interval": "2s", "rules": changed})
    return {"groups": groups}
