"""A Prometheus that dies looks like recovery: nobody may be told that it is over, by any of the ways to find out."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from deploy.local.ports import free_port
from tests.stories.stack import PATIENCE, ROOT, TOOLS, Stack, until

pytestmark = pytest.mark.story


class Mortal(Stack):
    """A stack whose Prometheus watches one target, ``resend`` seconds apart; ``apis`` is what the receiver may ask."""

    def __init__(self, folder: Path, resend: int, apis: str) -> None:
        super().__init__(folder, steps=("0s", "15m", "30m", "60m"))
        self.resend, self.apis, self.shop = resend, apis, free_port()

    def _receiver(self) -> list[str]:
        command = super()._receiver()
        config = yaml.safe_load((self.folder / "receiver.yml").read_text("utf-8"))
        if self.resend < 60:
            config["watchdog"] = dict.fromkeys(("interval", "group_interval"), "2s")
            config["watchdog"]["resend_interval"] = f"{self.resend}s"
        if self.apis != "both":
            del config["alertmanager"]["prometheus_url"]
        if self.apis == "none":
            del config["alertmanager"]
        self._write("receiver", config)
        return command

    def _alertmanager(self) -> list[str]:
        command = super()._alertmanager()
        config = yaml.safe_load((self.folder / "alertmanager.yml").read_text("utf-8"))
        shipped = yaml.safe_load((ROOT / "deploy/config/alertmanager.yml").read_text("utf-8"))
        if self.resend < 60:
            config["route"]["routes"][0]["repeat_interval"] = "1s"  # of the Watchdog
        else:
            config["route"] = shipped["route"]
        self._write("alertmanager", config)
        return command

    def _prometheus(self) -> list[str]:
        interval = "1s" if self.resend < 60 else "30s"
        down = {"alert": "ShopDown", "expr": 'up{job="shop"} == 0', "labels": {"severity": "critical"}}
        watchdog = {"alert": "Watchdog", "expr": "vector(1)", "labels": {"severity": "none"}}
        rules = self._write("rules", {"groups": [{"name": "g", "interval": interval, "rules": [watchdog, down]}]})
        alertmanager = [{"targets": [f"127.0.0.1:{self.ports['alertmanager']}"]}]
        config = {
            "global": {"scrape_interval": interval, "scrape_timeout": "1s", "evaluation_interval": interval},
            "rule_files": [str(rules)],
            "alerting": {"alertmanagers": [{"static_configs": alertmanager}]},
            "scrape_configs": [
                {"job_name": "shop", "static_configs": [{"targets": [f"127.0.0.1:{self.shop}"]}]},
            ],
        }
        options = [f"--config.file={self._write('prometheus', config)}"]
        options += [f"--storage.tsdb.path={self.folder / 'prometheus'}", f"--rules.alert.resend-delay={self.resend}s"]
        return [str(TOOLS / "prometheus"), *options, f"--web.listen-address=127.0.0.1:{self.ports['prometheus']}"]

    async def named(self, name: str) -> dict[str, Any]:
        """The newest incident of one alert, with its timeline; empty if there is none."""
        matching = [incident for incident in await self.incidents() if incident["title"].startswith(name)]
        return await self.incident(matching[0]["id"]) if matching else {}

    async def kinds(self, name: str) -> list[str]:
        return [entry["kind"] for entry in (await self.named(name)).get("timeline", ())]

    async def told_resolved(self) -> bool:
        """Whether PagerDuty has been told that the shop's incident is over."""
        number = (await self.named("ShopDown"))["id"]
        keys = [(key, state) for (_, key), state in self.pagerduty.alerts.items() if f"heypeter-{number}-" in key]
        return any(state == "resolved" for _, state in keys)


async def serve_metrics(_request: web.Request) -> web.Response:
    return web.Response(text="a 1\n")


async def die_and_come_back(stack: Mortal, patience: float) -> None:
    async def is_triggered(name: str) -> bool:
        return (await stack.named(name)).get("state") == "triggered"

    async def is_held() -> bool:
        return "held" in await stack.kinds("ShopDown")

    async def fires_again() -> bool:
        kinds = await stack.kinds("ShopDown")
        return "alert_firing" in kinds[kinds.index("held") :]

    async def is_resolved(name: str) -> bool:
        return (await stack.named(name)).get("state") == "resolved"

    await stack.start("receiver", "alertmanager", "prometheus")
    await until("the shop's alert has opened an incident", lambda: is_triggered("ShopDown"), patience)
    await asyncio.sleep(2 * stack.resend)  # the Watchdog has been heard, and both have been posted again
    await stack.stop("prometheus", signal.SIGKILL)
    await until("Alertmanager's resolve is held back", is_held, patience)
    await until("somebody hears that monitoring is blind", lambda: is_triggered("WatchdogSilent"), patience)
    assert await is_triggered("ShopDown")
    assert not await stack.told_resolved()
    await stack.start("prometheus")
    await until("the shop's alert fires again, in the same incident", fires_again, patience)
    await until("monitoring is back", lambda: is_resolved("WatchdogSilent"), patience)
    assert await is_triggered("ShopDown")
    app = web.Application()
    app.add_routes([web.get("/metrics", serve_metrics)])
    async with TestServer(app, host="127.0.0.1", port=stack.shop):
        await until("the shop is back, and its incident is resolved", lambda: is_resolved("ShopDown"), patience)
    await until("whoever was paged is told so", stack.told_resolved, patience)
    assert (await stack.kinds("ShopDown")).count("reopened") == 0


async def test_a_dead_prometheus_is_no_recovery(tmp_path: Path) -> None:
    """Whatever the receiver may ask; beside each other, because each mostly waits."""

    async def story(apis: str) -> None:
        (tmp_path / apis).mkdir()
        try:
            async with Mortal(tmp_path / apis, 3, apis) as stack:
                await die_and_come_back(stack, PATIENCE)
        except AssertionError as error:
            error.add_note(f"apis: {apis}")
            raise

    async with asyncio.TaskGroup() as stories:
        for apis in ("both", "alertmanager", "none"):
            stories.create_task(story(apis))


@pytest.mark.slow
async def test_a_dead_prometheus_is_no_recovery_at_the_shipped_times(tmp_path: Path) -> None:
    async with Mortal(tmp_path, 60, "both") as stack:
        await die_and_come_back(stack, 900)
