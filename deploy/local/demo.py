"""The demo's story: a school's calm morning, a bad deploy, a page, an escalation, an answer, and the end of it."""

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
# DEMO COPY, made at the start of `make demo` from rules/{name}: windows of 5m are {window} here, groups are evaluated
# every 2s, and the critical alerts wait 4s. Never use it for anything else; never edit it: the original is the truth.
"""
CALM, PATIENCE = 12.0, 60.0


class Demo:
    """Prepares the shortened configuration, and tells the story."""

    def __init__(self, site: Site, terminal: Terminal) -> None:
        self._site, self._terminal = site, terminal

    def prepare(self) -> None:
        """Write the demo's copies: rules, scrape interval, grouping times, and a matrix in seconds."""
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
        """Tell the story once, and with ``keep`` go on sending; SiteError if something that must happen does not."""
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
                    self._terminal.say("The demo goes on with calm traffic; Ctrl-C stops it.")
                    await sending
            except aiohttp.ClientError as error:
                raise SiteError(f"the demo could not talk to exporter or receiver: {error}") from error
            finally:
                acts.cancel()
                sending.cancel()
                await asyncio.gather(acts, sending, return_exceptions=True)

    async def _acts(self, school: School, traffic: Traffic) -> None:
        terminal = self._terminal
        terminal.text("\n This demo runs on copies of the rules and the matrix with shortened times.\n\n")
        terminal.began()
        terminal.act("A school's morning: pages load, classes are booked, payments go through.")
        await asyncio.sleep(CALM)
        terminal.act("A deploy breaks /api/bookings: most bookings now end in a 500.")
        school.broken = True
        number = await self._until("HighErrorRate opens an incident", lambda i: i["state"] == "triggered")
        terminal.act(f"Prometheus fired, Alertmanager told the receiver: incident #{number}. Linh is paged.")
        await self._until("the tech lead is paged", lambda i: "engineering-manager" in i["next"])
        terminal.act("Linh did not answer: the matrix has moved on to the tech lead.")
        await asyncio.sleep(4)
        await self._answer(number, "Marek Novak")
        terminal.act("Marek acknowledged. Silence: nobody else is woken while he works.")
        await asyncio.sleep(8)
        terminal.act("Marek rolls the deploy back; bookings work again.")
        school.broken = False
        await self._until("the incident resolves", lambda i: i["state"] == "resolved")
        await asyncio.sleep(1)
        terminal.act(f"The errors stopped: incident #{number} is resolved, and all who were told know it.")
        await self._summary(number, traffic)

    async def _summary(self, number: int, traffic: Traffic) -> None:
        async with self._session.get(f"{self._site.url('receiver')}/api/v1/incidents/{number}") as answer:
            timeline = (await answer.json())["timeline"]
        lines = [f"   {line['at'][11:19]}  {line['text']}"[:80] for line in timeline]
        head = f"\n {traffic.sent:,} events were counted. What incident #{number} remembers (UTC):\n\n"
        self._terminal.text(head + "\n".join(lines) + "\n\n")

    async def _incidents(self) -> list[dict[str, Any]]:
        async with self._session.get(f"{self._site.url('receiver')}/api/v1/incidents") as answer:
            answer.raise_for_status()
            return list((await answer.json())["incidents"])

    async def _until(self, what: str, holds: Any) -> int:  # noqa: ANN401  # a question about the API's JSON
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for incident in await self._incidents():
                if incident["id"] not in self._known and "HighErrorRate" in incident["title"] and holds(incident):
                    return int(incident["id"])
            await asyncio.sleep(0.3)
        logs = self._site.shown / "logs"
        raise SiteError(f"the demo waited {PATIENCE:.0f} s in vain until {what}; the logs in {logs} may say why.")

    async def _answer(self, number: int, actor: str) -> None:
        url = f"{self._site.url('receiver')}/api/v1/incidents/{number}/acknowledge"
        async with self._session.post(url, json={"actor": actor}) as answer:
            answer.raise_for_status()


def shortened(rules: dict[str, Any]) -> dict[str, Any]:
    """Give a copy of a rule file in which an outage shows within seconds."""
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
