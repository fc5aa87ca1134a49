"""Whom the real Alertmanager tells, how often and when: groups, mute times, three nodes that speak with one voice."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import aiohttp
import pytest
import yaml

from tests.rules.alertmanager import CONFIG, LABELS, Alertmanager, Recorder, alert, configured
from tests.stories.stack import until

pytestmark = pytest.mark.stack

AT_ONCE = {"group_wait": "0s", "group_interval": "1s"}
SUPPRESSED = 'alertmanager_notifications_suppressed_total{reason="mute_time_interval"}'
WAITS_FOR_MORNING = {
    name
    for name, labels in LABELS.items()
    if labels["team"] in ("product", "operations") and labels["severity"] != "critical"
}


@dataclass(frozen=True)
class Site:
    """Where Alertmanagers run and whom they tell."""

    folder: Path
    session: aiohttp.ClientSession
    recorder: Recorder
    address: str
    running: list[Alertmanager]

    def node(self) -> Alertmanager:
        made = Alertmanager(self.folder / f"node-{len(self.running)}", self.session)
        self.running.append(made)
        return made


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    recorder = Recorder()
    async with aiohttp.ClientSession() as session:
        site = Site(tmp_path, session, recorder, await recorder.start(), [])
        yield site
        await asyncio.gather(*(node.kill() for node in site.running))
    await recorder.stop()


def zone_where_it_is(hour: int) -> str:
    """Name the fixed zone where the clock shows this hour now; POSIX writes west with a plus."""
    ahead = (hour - datetime.now(UTC).hour + 11) % 24 - 11
    return f"Etc/GMT{-ahead:+d}"


async def test_ten_hosts_with_one_trouble_are_one_message_and_two_troubles_are_two(site: Site) -> None:
    node = site.node()
    await node.start(configured(site.address, {"group_wait": "1s"}, None))
    hosts = [alert("HighMemoryUsage", "production", instance=f"host-{n}") for n in range(10)]
    slos = [alert("SLOBurnRateFast", "production", slo=slo) for slo in ("http-latency", "site-uptime")]
    await node.fire(*hosts, alert("DiskSpaceCritical", "production", instance="host-0"), *slos)
    expected = {
        ("HighMemoryUsage", "infrastructure", None): 10,
        ("DiskSpaceCritical", "infrastructure", None): 1,
        ("SLOBurnRateFast", "backend", "http-latency"): 1,
        ("SLOBurnRateFast", "backend", "site-uptime"): 1,
    }

    def told() -> bool:
        return len(site.recorder.told) >= len(expected)

    await until("every group was told", told)
    groups = [(one["groupLabels"], len(one["alerts"])) for one in site.recorder.told]
    assert {(g["alertname"], g["team"], g.get("slo")): size for g, size in groups} == expected, f"{CONFIG}: group_by"
    assert len(groups) == len(expected)


async def everything_at(site: Site, hour: int) -> Alertmanager:
    """Fire every alert of the rules, each in an environment of its own: nothing hides anything."""
    node = site.node()
    await node.start(configured(site.address, AT_ONCE, zone_where_it_is(hour)))
    await node.fire(*(alert(name, f"env-{number}") for number, name in enumerate(LABELS)))
    return node


def names_told(site: Site) -> set[str]:
    return {one["groupLabels"]["alertname"] for one in site.recorder.told}


async def test_at_night_only_what_can_wait_waits(site: Site) -> None:
    node = await everything_at(site, 2)
    awake = set(LABELS) - WAITS_FOR_MORNING
    assert WAITS_FOR_MORNING, "the rules have nothing that may wait for the morning"

    async def settled() -> bool:
        return names_told(site) >= awake and await node.metric(SUPPRESSED) >= len(WAITS_FOR_MORNING)

    await until(f"{len(awake)} alerts are told and {len(WAITS_FOR_MORNING)} muted", settled)
    assert names_told(site) == awake, f"{CONFIG}: mute_time_intervals"


async def test_by_day_everything_is_told(site: Site) -> None:
    node = await everything_at(site, 14)
    await until("every alert is told", lambda: names_told(site) == set(LABELS))
    assert await node.metric(SUPPRESSED) == 0


def test_the_night_is_the_schools() -> None:
    intervals = yaml.safe_load(CONFIG.read_text("utf-8"))["time_intervals"]
    zones = {times.get("location") for interval in intervals for times in interval["time_intervals"]}
    assert zones == {"Asia/Ho_Chi_Minh"}, f"{CONFIG}: a mute time without the school's location is in UTC"


async def position(node: Alertmanager) -> int:
    return int(await node.metric("alertmanager_peer_position"))


async def settled(node: Alertmanager) -> bool:
    status = await node.ask("status")
    return status["cluster"]["status"] == "ready" and len(status["cluster"]["peers"]) == 3


async def learnt(node: Alertmanager) -> bool:
    """The notification log of the one that spoke reached this one: a kill before that may tell a second time."""
    return await node.metric("alertmanager_nflog_gossip_messages_propagated_total") > 0


async def test_three_nodes_tell_once_and_go_on_when_the_first_is_killed(site: Site) -> None:
    nodes = [site.node() for _ in range(3)]
    config = configured(site.address, AT_ONCE, None)
    peers = tuple(node.gossip for node in nodes)
    await asyncio.gather(*(node.start(config, peers) for node in nodes))
    for node in nodes:
        await until("the three see one another", partial(settled, node))
    before = alert("DatabaseDown", "production", instance="db-1")
    # Prometheus sends to all of them, always: see alerting.alertmanagers of deploy/config/prometheus.yml.
    await asyncio.gather(*(node.fire(before) for node in nodes))
    await until("somebody tells of it", lambda: site.recorder.of("DatabaseDown"))

    positions = {await position(node): node for node in nodes}
    first, *others = (positions[place] for place in range(3))
    for node in others:
        await until("it learnt that somebody told of it", partial(learnt, node))
    await first.kill()
    after = alert("RedisDown", "production", instance="cache-1")
    await asyncio.gather(*(node.fire(after) for node in others))
    await until("another node tells of the next", lambda: site.recorder.of("RedisDown"), 90)
    # The second node's turn for the first alert came before: it knew by gossip that it had been told.
    assert [len(site.recorder.of(name)) for name in ("DatabaseDown", "RedisDown")] == [1, 1], site.recorder.told
