"""What becomes of receivers whose tables a newer one upgrades, or whose tables are gone; each is a process."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from receiver.store.postgres.connection import PostgresConnection
from receiver.store.postgres.schema import SCHEMA_VERSION
from tests.fakes.pagerduty import FakePagerDuty
from tests.receiver import stores
from tests.receiver.example_site import beside
from tests.receiver.receivers import Programs, Receivers
from tests.stories.stack import until

pytestmark = [pytest.mark.postgres, pytest.mark.asyncio(loop_scope="module")]

OLD, NEW = 0, 1
VERSIONS = [f"receiver.store.postgres.{module}.SCHEMA_VERSION" for module in ("migrate", "schema")]
NEWER, OF_8 = dict.fromkeys(VERSIONS, SCHEMA_VERSION + 1), dict.fromkeys(VERSIONS, 8)
SCHEMA_8 = Path(__file__).parent / "store" / "data" / "postgres_8.sql"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def programs(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Programs]:
    async with Programs(tmp_path_factory.mktemp("programs"), 2) as running:
        yield running


async def takes(two: Receivers, number: int, name: str) -> bool:
    """Say whether one of them takes a webhook."""
    try:
        await two.fire(number, name)
    except AssertionError:
        return False
    return True


async def test_a_newer_receiver_takes_over_what_the_older_one_was_sending(programs: Programs, tmp_path: Path) -> None:
    pagerduty = FakePagerDuty({"k" * 32})
    await pagerduty.start()
    channel = {"api_url": pagerduty.url, "services": {"staff": {"routing_key": "k" * 32}}}
    settings = {
        "people": {"linh": {"name": "Linh Tran", "pagerduty": "staff"}},
        "channels": {"pagerduty": channel},
    }
    async with Receivers(programs, tmp_path, settings) as two:
        await two.kill(NEW)
        pagerduty.hang = 3.0
        await two.fire(OLD, "Before")
        await until("the older one sends", lambda: pagerduty.calls)
        await two.start(NEW, NEWER)
        pagerduty.hang = 0.0
        await until("the older one refuses", lambda: refuses(two))
        assert await two.outage(OLD) == "replaced"
        assert "a newer receiver has upgraded" in two.log(OLD)
        assert (await two.ask(OLD, "GET", "/-/healthy"))[0] == 200  # who restarts it mends nothing
        assert [one["title"].split()[0] for one in await two.incidents(OLD)]  # it reads as long as it can
        await two.fire(NEW, "After")
        await until("both have rung", lambda: len(pagerduty.rung) == 2)
        await until("all is settled", lambda: is_settled(tmp_path))
        await two.end(NEW, "Before")
        await until("its end is told", lambda: "resolved" in pagerduty.alerts.values())
        assert len(pagerduty.rung) == 2
        assert OLD in two.alive
        with beside(tmp_path) as database:
            database.execute("UPDATE schema_version SET version = ?", (SCHEMA_VERSION,))
        await until("the older one writes again", lambda: takes(two, OLD, "Again"))
        await until("it is ready", lambda: is_ready(two, OLD))
    await pagerduty.stop()


async def test_tables_of_schema_8_are_upgraded_while_a_receiver_of_that_schema_runs(
    programs: Programs, tmp_path: Path
) -> None:
    async with Receivers(programs, tmp_path, {"people": {"linh": {"name": "Linh Tran"}}}) as two:
        for number in (OLD, NEW):
            await two.kill(number)
        with beside(tmp_path) as database:
            assert isinstance(database, PostgresConnection)
            database.raw.execute(SCHEMA_8.read_bytes())
        await two.start(OLD, OF_8)
        for name in ("Before", "Ended"):
            await two.fire(OLD, name)
        await two.end(OLD, "Ended")
        starting = asyncio.ensure_future(two.start(NEW))
        while not starting.done():
            assert len(await two.incidents(OLD)) == 2  # it reads all the time
        await starting
        assert "upgraded the database" not in two.log(NEW)
        await until("the older one refuses", lambda: refuses(two))
        assert OLD in two.alive
        assert len(await two.incidents(OLD)) == 2
        await two.end(NEW, "Before")
        await two.fire(NEW, "After")
        assert sorted(one["state"] for one in await two.incidents(NEW)) == ["resolved", "resolved", "triggered"]
        with beside(tmp_path) as database:
            late = database.execute(
                "SELECT to_regclass('outbox_late') IS NULL AND to_regclass('outbox_owed') IS NOT NULL"
            )
            assert late.fetchone() == (True,)


async def refuses(two: Receivers) -> bool:
    return (await two.ask(OLD, "GET", "/-/ready"))[0] == 503 and not await takes(two, OLD, "Refused")


async def is_ready(two: Receivers, number: int) -> bool:
    return bool((await two.ask(number, "GET", "/-/ready"))[0] == 200)


async def is_settled(folder: Path) -> bool:
    with beside(folder) as database:
        query = "SELECT count(*) FROM outbox WHERE state IN ('pending', 'sending')"
        return bool(database.execute(query).fetchone()[0] == 0)


async def test_receivers_whose_tables_are_gone_stay_and_say_so(programs: Programs, tmp_path: Path) -> None:
    """One that ended would be started again, make new tables, and nobody would know that the old ones are lost."""
    async with Receivers(programs, tmp_path, {"people": {"linh": {"name": "Linh Tran"}}}) as two:
        await two.fire(OLD, "Before")
        schema = stores.schemas.of(tmp_path)
        stores.admin().execute(f"ALTER SCHEMA {schema} RENAME TO away")
        try:
            for number in (OLD, NEW):
                assert not await takes(two, number, "Lost")
                assert await two.outage(number) == "replaced"
                assert await two.metric(number, "receiver_incidents") is None  # and no old value
            await asyncio.sleep(1)
            assert two.alive == [OLD, NEW]
        finally:
            stores.admin().execute(f"ALTER SCHEMA away RENAME TO {schema}")
        for number in (OLD, NEW):
            await until("it goes on", lambda number=number: is_ready(two, number))  # type: ignore[misc]
            await two.fire(number, "After")
        assert len(await two.incidents(NEW)) == 2
