"""The faults of the live stories, each from its cause to its resolve, and the alerts that may be active besides."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.stories.disk import empty, fill, mounted
from tests.stories.stack import until
from tests.stories.stores import Stores

# May be active without a fault, since it depends on the machine that runs the tests.
EXCUSED = {
    "CpuAboveBenchmark": "the machine may be busy",
    "DiskIoAboveBenchmark": "its disks too",
    "MemoryAboveBenchmark": "its memory may be in use",
    "HighMemoryUsage": "even nearly all of it",
    "HostOutOfMemoryKill": "and something of others may be killed for it",
    "HostClockSkew": "nobody may keep its clock",
}
# The alerts of the faults.
TOLD = {
    *("HighDatabaseConnections", "DatabaseDown", "CacheHitRateLow", "RedisDown", "SiteUnreachable", "NginxDown"),
    "DiskSpaceCritical",
}
# What a site that was away leaves behind: a minute is a second here, and so it was away for long.
CONSEQUENCES = {"UptimeBelowBenchmark", *(f"SLOBurnRate{degree}" for degree in ("Fast", "High", "Elevated", "Slow"))}


async def quiet(stores: Stores) -> None:
    """Wait until nothing was pending or firing for ten minutes of the rules but what always is."""
    last: set[str] = set()

    async def calm() -> bool:
        nonlocal last
        last = await stores.active("10m") - set(EXCUSED)
        return last == {"Watchdog"}

    try:
        await until("nothing but the Watchdog is active", calm, stores.patience)
    except AssertionError as error:
        raise AssertionError(f"{error}: {', '.join(sorted(last))}") from None


@contextmanager
def begun(stores: Stores) -> Iterator[dict[str, asyncio.Task[str]]]:
    """Let every fault happen, all at once: none of these hides another.

    Each task ends when its fault was told of, mended, and told to be over; its result is empty, or says why there can
    be no such fault on this machine.
    """
    with mounted(stores.disk) as reason:
        told = {
            "database": asyncio.create_task(database(stores)),
            "cache": asyncio.create_task(cache(stores)),
            "web": asyncio.create_task(web(stores)),
            "disk": asyncio.create_task(disk(stores, reason)),
        }
        yield told
        for task in told.values():
            task.cancel()


async def strange(stores: Stores) -> set[str]:
    """Name the alerts that the receiver was told of and that are neither a fault's nor its consequence."""
    told = {named(incident) for incident in await stores.incidents()}
    return told - TOLD - CONSEQUENCES - set(EXCUSED)


async def database(stores: Stores) -> str:
    async with stores.connections(14):
        await reported(stores, "HighDatabaseConnections", "P2", "database")
    await over(stores, "HighDatabaseConnections")
    await stores.stop("postgres")
    await reported(stores, "DatabaseDown", "P1", "database")
    await known_to_its_exporter(stores, "postgres")
    await stores.start("postgres")
    await over(stores, "DatabaseDown")
    return ""


async def cache(stores: Stores) -> str:
    stores.warm = False
    await reported(stores, "CacheHitRateLow", "P2", "backend")
    stores.warm = True
    await over(stores, "CacheHitRateLow")
    await stores.stop("redis")
    await reported(stores, "RedisDown", "P2", "backend")
    await known_to_its_exporter(stores, "redis")
    await stores.start("redis")
    await over(stores, "RedisDown")
    return ""


async def web(stores: Stores) -> str:
    """A dead nginx is a site that is away: that is told, and hides that nginx is down, which fires as well."""
    await stores.stop("nginx")
    await reported(stores, "SiteUnreachable", "P1", "infrastructure")

    async def hidden() -> bool:
        return "SiteUnreachable" in (await stores.suppressed()).get("NginxDown", [])

    await until("Alertmanager hides NginxDown behind SiteUnreachable", hidden, stores.patience)
    await known_to_its_exporter(stores, "nginx")
    await stores.start("nginx")
    await over(stores, "SiteUnreachable")
    await over(stores, "NginxDown")
    # A visitor reaches the site, and nobody knows how nginx is.
    await stores.stop("nginx_exporter")
    await reported(stores, "NginxDown", "P2", "infrastructure")
    await stores.start("nginx_exporter")
    await over(stores, "NginxDown")
    return ""


async def disk(stores: Stores, reason: str) -> str:
    if not reason:
        fill(stores.disk)
        await reported(stores, "DiskSpaceCritical", "P1", "infrastructure")
        empty(stores.disk)
        await over(stores, "DiskSpaceCritical")
    return reason


def named(incident: dict[str, Any]) -> str:
    return str(incident["title"]).partition(":")[0]


async def reported(stores: Stores, alert: str, priority: str, team: str) -> None:
    """Wait until the receiver has an open incident of this alert, with the priority and the team of the rule."""

    async def known() -> bool:
        listed = [incident for incident in await stores.incidents() if named(incident) == alert]
        return any((i["state"], i["priority"], i["team"]) == ("triggered", priority, team) for i in listed)

    await until(f"{alert} is an incident of {priority} and {team}", known, stores.patience)


async def known_to_its_exporter(stores: Stores, server: str) -> None:
    """Wait until the exporter answers that its server does not: only then was the alert's better half at work."""
    dead = f'up{{job="{server}"}} == 1 and on (job) {server.replace("postgres", "pg")}_up{{job="{server}"}} == 0'
    await until(f"the exporter of {server} says that it is down", lambda: stores.query(dead), stores.patience)


async def over(stores: Stores, alert: str) -> None:
    """Wait until Prometheus says no more, and the receiver knows that each incident of this alert is over."""

    async def ended() -> bool:
        states = {i["state"] for i in await stores.incidents() if named(i) == alert}
        return states <= {"resolved"} and alert not in await stores.active("1m")

    await until(f"{alert} is over", ended, stores.patience)
