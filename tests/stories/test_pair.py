"""A pair of Prometheus and a cluster of three Alertmanagers: one incident, one page, and no silence when some die."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.local.ports import free_port
from tests.stories.stack import ROOT, Stack, until
from tests.stories.test_outage import LINH, School, mails_to
from tests.stories.victoria import merged

pytestmark = [pytest.mark.stack, pytest.mark.story]

CLUSTER = ("alertmanager", "alertmanager_b", "alertmanager_c")
PAIR = ("prometheus", "prometheus_b")


class Several(Stack):
    """Both send to all three, and each of the three to the receiver, as deploy/long-term has it for a pair."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, ("0s", "300s", "600s", "900s"))
        self.ports |= {name: free_port() for name in ("alertmanager_b", "alertmanager_c", "prometheus_b")}
        self._gossip = {name: f"127.0.0.1:{free_port()}" for name in CLUSTER}

    def _receiver(self) -> list[str]:
        """The receiver asks those that stay, as it would by a name behind which any of them answers."""
        words = super()._receiver()
        config = yaml.safe_load((self.folder / "receiver.yml").read_text("utf-8"))
        config["alertmanager"] = {"url": self.url(CLUSTER[-1]), "prometheus_url": self.url(PAIR[-1])}
        self._write("receiver", config)
        return words

    def _one_alertmanager(self, name: str) -> list[str]:
        words = [word for word in super()._alertmanager() if not word.startswith(("--cluster", "--storage", "--web"))]
        words += [f"--storage.path={self.folder / name}", f"--web.listen-address=127.0.0.1:{self.ports[name]}"]
        words += [f"--cluster.listen-address={self._gossip[name]}", "--cluster.peer-timeout=3s"]
        # A test has no minute to wait until they have found each other.
        words += ["--cluster.gossip-interval=20ms", "--cluster.probe-interval=200ms", "--cluster.probe-timeout=100ms"]
        return [*words, *(f"--cluster.peer={address}" for other, address in self._gossip.items() if other != name)]

    def _alertmanager(self) -> list[str]:
        return self._one_alertmanager("alertmanager")

    def _alertmanager_b(self) -> list[str]:
        return self._one_alertmanager("alertmanager_b")

    def _alertmanager_c(self) -> list[str]:
        return self._one_alertmanager("alertmanager_c")

    def _one_prometheus(self, name: str, replica: str) -> list[str]:
        words = super()._prometheus()
        config = yaml.safe_load((self.folder / "prometheus.yml").read_text("utf-8"))
        pair: dict[str, Any] = yaml.safe_load((ROOT / "deploy/long-term/thanos.yml").read_text("utf-8"))
        config = merged(config, pair)
        config["global"]["external_labels"]["replica"] = replica
        targets = [f"127.0.0.1:{self.ports[one]}" for one in CLUSTER]
        config["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": targets}]}]
        path = self._write(name, config)
        listen, storage = f"127.0.0.1:{self.ports[name]}", self.folder / name
        own = [f"--config.file={path}", f"--web.listen-address={listen}", f"--storage.tsdb.path={storage}"]
        return [word for word in words if not word.startswith(("--config", "--web", "--storage"))] + own

    def _prometheus(self) -> list[str]:
        return self._one_prometheus("prometheus", "a")

    def _prometheus_b(self) -> list[str]:
        return self._one_prometheus("prometheus_b", "b")

    async def members(self) -> int:
        """How many of the cluster each of them knows, at the least."""
        known = []
        for name in CLUSTER:
            async with self.session.get(f"{self.url(name)}/api/v2/status") as answer:
                known.append(len((await answer.json())["cluster"]["peers"]))
        return min(known)

    async def open_incidents(self) -> list[str]:
        return [one["title"] for one in await self.incidents() if one["state"] != "resolved"]

    async def fires_at_both(self, alert: str) -> bool:
        """Whether both of the pair have it firing."""
        expression = f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})'
        return all([await self.query(expression, name) for name in PAIR])


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Several]:
    async with Several(tmp_path) as running:
        await running.start("receiver", "exporter", *CLUSTER)
        await until("the three know each other", lambda: _all_three(running))
        await running.start(*PAIR)
        yield running


async def _all_three(stack: Several) -> bool:
    return await stack.members() == len(CLUSTER)


async def test_a_pair_and_a_cluster_page_once_and_go_on_when_some_of_them_die(stack: Several) -> None:
    school = School(stack)
    running = asyncio.ensure_future(school.run())
    try:
        await until("both heard of requests", partial(stack.fires_at_both, "Watchdog"))
        school.failing = 0.5
        await until("the on-call engineer has mail", lambda: mails_to(stack, LINH))
        await until("both fire", partial(stack.fires_at_both, "HighErrorRate"))
        for name in (CLUSTER[0], CLUSTER[1], PAIR[0]):
            await stack.stop(name, signal.SIGKILL)
        (title,) = [one for one in await stack.open_incidents() if "error rate" in one.lower()]
        school.failing = 0.0
        await until("the end reaches the receiver", partial(_is_over, stack, title))
        await until("nothing is owed any more", stack.nothing_is_owed)
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    rung = [summary for summary in stack.pagerduty.rung if "HighErrorRate" in summary]
    assert len(rung) == 1, "the engineers were paged for it more than once"
    mails = [mail for mail in mails_to(stack, LINH) if "HighErrorRate" in str(mail["Subject"])]
    assert len({mail["References"] or mail["Message-ID"] for mail in mails}) == 1


async def _is_over(stack: Several, title: str) -> bool:
    return title not in await stack.open_incidents()
