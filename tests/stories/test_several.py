"""Two Prometheus, three Alertmanagers, two receivers on a PostgreSQL: one incident, one page, also when some die."""

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
from deploy.local.postgres import Postgres
from tests.stories.stack import ROOT, Stack, until
from tests.stories.stores import PROGRAMS
from tests.stories.test_outage import LINH, School, mails_to
from tests.stories.victoria import merged

pytestmark = [
    pytest.mark.stack,
    pytest.mark.story,
    pytest.mark.skipif(not PROGRAMS.exists(), reason="no PostgreSQL, Redis and nginx: see `make servers`"),
]

CLUSTER = ("alertmanager", "alertmanager_b", "alertmanager_c")
PAIR = ("prometheus", "prometheus_b")
RECEIVERS = ("receiver", "receiver_b")


class Several(Stack):
    """Both Prometheus send to all three Alertmanagers, and each of the three to both receivers.

    Each program has a file of its own: those of Stack are written anew for every one of a kind.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, ("0s", "300s", "600s", "900s"))
        self.ports |= {name: free_port() for name in ("postgres", RECEIVERS[1], *CLUSTER[1:], PAIR[1])}
        self._database = Postgres(self.ports["postgres"])
        self._gossip = {name: f"127.0.0.1:{free_port()}" for name in CLUSTER}

    async def __aexit__(self, *error: object) -> None:
        await super().__aexit__(*error)
        self._database.remove()

    async def stop(self, name: str, signum: signal.Signals = signal.SIGTERM) -> int:
        """Stop a program; PostgreSQL without waiting for its clients."""
        return await super().stop(name, signal.SIGINT if name == "postgres" else signum)

    async def _ready(self, name: str) -> bool:
        if name != "postgres":
            return await super()._ready(name)
        return self._database.is_ready()

    def _postgres(self) -> list[str]:
        self._database.create()
        return self._database.command()

    def _one_receiver(self, name: str) -> list[str]:
        """A receiver asks those that stay, as it would by a name behind which any of them answers."""
        words = super()._receiver()
        config = yaml.safe_load((self.folder / "receiver.yml").read_text("utf-8"))
        del config["database"]
        config |= {
            "listen": f"127.0.0.1:{self.ports[name]}",
            "postgres": {"url": f"postgresql://postgres@127.0.0.1:{self.ports['postgres']}/postgres"},
            "state_dir": str(self.folder / name),
            "alertmanager": {"url": self.url(CLUSTER[-1]), "prometheus_url": self.url(PAIR[-1])},
        }
        return [*words[:-1], f"--config.file={self._write(f'{name}-own', config)}"]

    def _receiver(self) -> list[str]:
        return self._one_receiver("receiver")

    def _receiver_b(self) -> list[str]:
        return self._one_receiver("receiver_b")

    def _one_alertmanager(self, name: str) -> list[str]:
        program = super()._alertmanager()[0]
        config = yaml.safe_load((self.folder / "alertmanager.yml").read_text("utf-8"))
        for one in config["receivers"]:
            for hook in one.get("webhook_configs", [])[:1]:
                again = str(hook["url"]).replace(self.url("receiver"), self.url(RECEIVERS[1]))
                one["webhook_configs"].append({**hook, "url": again})
        words = [program, f"--config.file={self._write(f'{name}-own', config)}"]
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
        path = self._write(f"{name}-own", config)
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
        await running.start("postgres")
        await running.start(*RECEIVERS, "exporter", *CLUSTER)
        await until("the three know each other", lambda: _all_three(running))
        await running.start(*PAIR)
        yield running


async def _all_three(stack: Several) -> bool:
    return await stack.members() == len(CLUSTER)


async def test_several_of_everything_page_once_and_go_on_when_some_of_them_die(stack: Several) -> None:
    school = School(stack)
    running = asyncio.ensure_future(school.run())
    try:
        await until("both heard of requests", partial(stack.fires_at_both, "Watchdog"))
        school.failing = 0.5
        await until("the on-call engineer has mail", lambda: mails_to(stack, LINH))
        await until("both fire", partial(stack.fires_at_both, "HighErrorRate"))
        for name in (CLUSTER[0], CLUSTER[1], PAIR[0], RECEIVERS[0]):
            await stack.stop(name, signal.SIGKILL)
        stack.ports["receiver"] = stack.ports[RECEIVERS[1]]
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
