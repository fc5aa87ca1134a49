"""All rules against real servers: nothing fires while all is well, and each fault reaches the receiver by its name.

The faults happen all at once, each a story of its own (faults.py), and each test waits for one of them to end.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import yaml

from tests.stories.faults import EXCUSED, begun, named, quiet, strange
from tests.stories.stack import ROOT, until
from tests.stories.stores import PROGRAMS, Stores, filled

pytestmark = [
    pytest.mark.stack,
    pytest.mark.story,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not PROGRAMS.exists(), reason="no PostgreSQL, Redis and nginx: see `make servers`"),
]
Stories = dict[str, asyncio.Task[str]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stores(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stores]:
    async with filled(tmp_path_factory.mktemp("stores")) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def healthy(stores: Stores) -> Stores:
    await quiet(stores)
    return stores


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stories(healthy: Stores) -> AsyncIterator[Stories]:
    with begun(healthy) as told:
        yield told


async def test_every_rule_is_loaded_and_evaluates(stores: Stores) -> None:
    files = [yaml.safe_load(path.read_text("utf-8")) for path in (ROOT / "rules").glob("*.yml")]
    loaded = [rule for file in files for group in file["groups"] for rule in group["rules"]]
    shipped = sorted(rule.get("alert") or rule["record"] for rule in loaded)

    async def evaluated() -> bool:
        return all(rule["health"] != "unknown" for rule in await stores.rules())

    await until("every rule was evaluated", evaluated)
    rules = await stores.rules()
    assert sorted(rule["name"] for rule in rules) == shipped
    assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"] == []


async def test_nothing_fires_while_all_is_well(healthy: Stores) -> None:
    firing = {named(incident) for incident in await healthy.incidents() if incident["state"] != "resolved"}
    assert firing - set(EXCUSED) == set()


@pytest.mark.parametrize("fault", ["database", "cache", "web", "disk"])
async def test_a_fault_is_told_and_so_is_its_end(fault: str, stories: Stories) -> None:
    reason = await stories[fault]
    if reason:
        pytest.skip(f"no disk to fill: {reason}")


async def test_nothing_else_was_told(healthy: Stores, stories: Stories) -> None:
    await asyncio.gather(*stories.values())
    assert await strange(healthy) == set()


@pytest.mark.slow
@pytest.mark.asyncio(loop_scope="function")
async def test_all_of_it_in_the_real_time_of_the_rules(tmp_path: Path) -> None:
    async with filled(tmp_path, factor=1) as running:
        await quiet(running)
        with begun(running) as told:
            await asyncio.gather(*told.values())
        assert await strange(running) == set()
