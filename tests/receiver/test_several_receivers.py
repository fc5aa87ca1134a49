"""Receivers that share a PostgreSQL, each a process: what is done at one holds at the other, and is done once."""

import asyncio
import base64
import contextlib
import random
import re
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from receiver.config.event_webhooks import CHANGES
from tests.fakes.alertmanager import Alertmanager, WayThrough
from tests.fakes.endpoint import FakeEndpoint
from tests.fakes.pagerduty import FakePagerDuty
from tests.fakes.push import FakePush
from tests.fakes.slack import FakeSlack
from tests.receiver.example_site import beside
from tests.receiver.receivers import OURS, Programs, Receivers
from tests.receiver.web.console.test_devices import made_by
from tests.stories.stack import until

pytestmark = [pytest.mark.postgres, pytest.mark.stack, pytest.mark.asyncio(loop_scope="module")]

PEOPLE = {"linh": {"name": "Linh Tran"}, "marek": {"name": "Marek Novak"}}
SESSION = "__Host-heypeter-session"
BOTH = (0, 1)
SIGNED = f"whsec_{base64.b64encode(bytes(32)).decode()}"
ALMOST_NOTHING = 20  # changes; those of one to three alerts are under way at once
OFTEN = {
    "receiver.config.heartbeats.SHORTEST": 1.0,
    "receiver.workers.job_heartbeats.PERIOD": 0.2,
    "receiver.workers.pagerduty_poll._PERIOD": 0.5,
    "receiver.workers.clock_watch.AWAY": 1e6,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def programs(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Programs]:
    async with Programs(tmp_path_factory.mktemp("programs"), len(BOTH)) as running:
        yield running


async def sign_in(two: Receivers, number: int) -> dict[str, str]:
    """Sign in by the link that one of them has printed; gives the headers of that browser."""
    link = re.findall(r"/sign-in/(\S+) ", two.log(number))[-1]
    headers = {"Host": "oncall.example.com"}
    url = f"{two.processes[number].url}/sign-in/{link}"
    async with two.session.get(url, headers=headers, allow_redirects=False) as answer:
        assert answer.status == 303
        cookie = answer.cookies[SESSION].value
    two.session.cookie_jar.clear()
    return {"Cookie": f"{SESSION}={cookie}", "Authorization": "", **OURS}


async def at_both(two: Receivers, path: str, **headers: str) -> list[tuple[int, Any]]:
    """Read the same from both."""
    return [await two.ask(number, "GET", path, **headers) for number in BOTH]


async def test_what_people_do_at_one_holds_at_the_other(programs: Programs, tmp_path: Path) -> None:
    async with Receivers(programs, tmp_path, {"people": PEOPLE}) as two:
        linh = await sign_in(two, 0)

        async def who(**headers: str) -> list[int]:
            return [status for status, _ in await at_both(two, "/api/v1/me", **headers)]

        assert await who(**linh) == [200, 200]
        _, token = await two.ask(1, "POST", "/api/v1/tokens", {"name": "deploys", "scope": "act"}, **linh)
        bearer = {"Authorization": f"Bearer {token['token']}"}
        assert await who(**bearer) == [200, 200]
        assert (await two.ask(0, "DELETE", f"/api/v1/tokens/{token['id']}", **linh))[0] == 204
        assert await who(**bearer) == [401, 401]
        assert (await two.ask(1, "POST", "/sign-out", **linh))[0] == 303
        assert await who(**linh) == [401, 401]

        assert (await two.ask(0, "POST", "/api/v1/awake", {"actor": "linh"}))[0] == 200
        ours, theirs = await at_both(two, "/api/v1/awake")
        assert ours == theirs
        assert "linh" in theirs[1]["awake"]
        await two.fire(0)
        assert (await two.ask(0, "POST", "/api/v1/incidents/1/acknowledge", {"actor": "linh"}))[0] == 200
        assert (await two.ask(1, "GET", "/api/v1/incidents/1"))[1]["acknowledged_by"] == "linh"
        window = {"minutes": 60, "matchers": ["alertname=Planned"], "actor": "linh"}
        made = (await two.ask(0, "POST", "/api/v1/windows", window))[1]
        await two.fire(1, "Planned")

        async def is_paused() -> bool:
            return (await two.ask(0, "GET", "/api/v1/incidents/2"))[1]["paused"] is not None

        await until("what stands in the window is paused", is_paused)
        assert (await two.ask(1, "DELETE", f"/api/v1/windows/{made['id']}"))[0] in {200, 204}
        assert not await is_paused()


async def at_once(two: Receivers, path: str, body: object, key: str) -> list[Any]:
    """Post the same to both at the same time; gives the numbers of what it has made."""
    made = await asyncio.gather(*(two.ask(number, "POST", path, body, Idempotency_Key=key) for number in BOTH))
    assert all(status in {200, 201} for status, _ in made), made
    return [answer["id"] for _, answer in made]


class Slow(WayThrough):
    """A way to Alertmanager that takes long enough for both to ask before either has been answered."""

    async def _pass(self, request: web.Request) -> web.Response:
        await asyncio.sleep(0.2)
        return await super()._pass(request)


async def test_a_key_that_comes_to_both_at_once_acts_once(programs: Programs, tmp_path: Path) -> None:
    alertmanager = Alertmanager(tmp_path / "alertmanager")
    async with aiohttp.ClientSession() as session, Slow(alertmanager.url, session) as way:
        settings = {"people": PEOPLE, "alertmanager": {"url": way.url}}
        async with Receivers(programs, tmp_path, settings) as two:
            await alertmanager.ready(session)
            await two.fire(0)
            for path, body in (
                ("/api/v1/incidents", {"text": "down", "person": "linh"}),
                ("/api/v1/incidents/1/note", {"text": "seen"}),
                ("/api/v1/incidents/1/silences", {"minutes": 30}),
            ):
                ours, theirs = await at_once(two, path, body, "k1")
                assert ours == theirs
            assert len(await two.incidents(0)) == 2
            assert await two.told(1, 1, "noted") == 1
            async with session.get(f"{alertmanager.url}/api/v2/silences") as answer:
                assert len(await answer.json()) == 1
    alertmanager.stop()


class Outside:
    """Everything around the receivers: Slack, PagerDuty, and a program that is told of changes."""

    def __init__(self) -> None:
        self.slack, self.pagerduty, self.hook = FakeSlack("xoxb", {"#alerts"}), FakePagerDuty(set()), FakeEndpoint()
        self.slack.app_token = "xapp"
        self.pagerduty.users["P2"] = {"id": "P2", "email": "marek@example.com"}

    async def __aenter__(self) -> Self:
        for server in (self.slack, self.pagerduty, self.hook):
            await server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in (self.slack, self.pagerduty, self.hook):
            await server.stop()

    def settings(self) -> dict[str, Any]:
        slack = {"api_url": f"{self.slack.url}/api/", "token": "xoxb", "socket_mode": {"app_token": "xapp"}}
        pagerduty = {
            "mode": "rest",
            "api_url": self.pagerduty.url,
            "api_token": "rest-token",
            "from": "bot@example.com",
        }
        return {
            "people": {**PEOPLE, "linh": {"name": "Linh Tran", "pagerduty": "staff"}},
            "teams": {"default": {"slack": "#alerts"}},
            "channels": {"slack": slack, "pagerduty": {**pagerduty, "services": {"staff": {"service_id": "P1"}}}},
            "heartbeats": {"backup": {"every": "2s", "grace": "0s"}},
            "event_webhooks": {"program": {"url": f"{self.hook.url}/", "secret": SIGNED}},
        }

    def links(self) -> int:
        """Count the connections that Slack has."""
        return sum(not link.closed for link in self.slack.links)

    def posted_in_order(self, wanted: list[int]) -> None:
        """Check that all of these came; what was under way comes again, with its id, and nothing overtakes anything."""
        sequence, identities = self.sequence(), {call.headers["webhook-id"] for call in self.hook.calls}
        assert list(dict.fromkeys(sequence)) == wanted
        assert len(identities) == len(wanted)
        back = max(wanted.index(one) - wanted.index(other) for one, other in pairwise(sequence))
        assert back < ALMOST_NOTHING

    def sequence(self) -> list[int]:
        """Give the numbers of the changes in the order in which they came."""
        return [call.body["data"]["change"]["sequence"] for call in self.hook.calls]


async def test_what_one_does_for_all_is_done_once_also_when_it_is_killed_or_stopped(
    programs: Programs, tmp_path: Path
) -> None:
    async with Outside() as outside, Receivers(programs, tmp_path, outside.settings(), constants=OFTEN) as two:

        async def has_link(number: int) -> bool:
            connected = [await two.metric(one, "receiver_slack_socket_connected") for one in two.alive]
            return outside.links() == 1 and connected == [one == number for one in two.alive]

        async def stands(incident: int, state: str) -> bool:
            return any(one["id"] == incident and one["state"] == state for one in await two.incidents(1))

        await until("one is connected to Slack", lambda: has_link(0))
        await two.fire(1)
        await until("PagerDuty has it", lambda: outside.pagerduty.incidents)
        # A job that reports to one is heard by the other, which leads and looks.
        for _ in range(3):
            assert (await two.ask(1, "POST", "/heartbeat/backup"))[0] == 200
        await two.kill(0)
        outside.pagerduty.incidents["Q00001"] |= {
            "status": "acknowledged",
            "acknowledgements": [{"acknowledger": {"id": "P2", "type": "user_reference", "summary": "Marek Novak"}}],
        }
        await until("the other one connects to Slack", lambda: has_link(1))
        await until("and reads from PagerDuty", lambda: stands(1, "acknowledged"))
        await until("the job is missed", lambda: stands(2, "triggered"))
        for number in BOTH:  # once it is back, it is not missed again
            two.write(number, heartbeats={"backup": {"every": "1h", "grace": "0s"}})
        assert (await two.ask(1, "POST", "/-/reload"))[0] == 200
        await two.start(0)
        two.pause(1)
        await until("the first one connects again", lambda: outside.links() == 2)
        two.go_on(1)
        await until("and the other one lets go", lambda: has_link(0))
        assert (await two.ask(1, "POST", "/heartbeat/backup"))[0] == 200
        await until("the job is back", lambda: stands(2, "resolved"))
        for number in BOTH:
            assert await two.told(number, 1, "acknowledged") == 1
        assert len(await two.incidents(1)) == 2
        assert len(outside.pagerduty.rung) == 2
        outside.posted_in_order(sorted(set(outside.sequence())))


async def test_what_nobody_has_told_is_noticed_once(programs: Programs, tmp_path: Path) -> None:
    alertmanager = Alertmanager(tmp_path / "alertmanager")
    settings = {
        "people": PEOPLE,
        "alertmanager": {
            "url": alertmanager.url,
            "receivers": ["nobody"],
            "interval": "1s",
            "missed_after": "1s",
        },
        "watchdog": {"interval": "1s", "group_interval": "1s", "resend_interval": "1s"},
    }
    async with Receivers(programs, tmp_path, settings) as two:

        async def titles() -> list[str]:
            return [f"{one['title']} {one['state']}" for one in await two.incidents(1)]

        await alertmanager.ready(two.session)
        await two.beat(1)  # and the other one leads
        labels = {"alertname": "HighErrorRate", "severity": "critical"}
        async with two.session.post(f"{alertmanager.url}/api/v2/alerts", json=[{"labels": labels}]) as answer:
            assert answer.status == 200
        silent = "WatchdogSilent: Monitoring is blind"
        both = {"HighErrorRate triggered", f"{silent} triggered"}

        async def are_known() -> bool:
            return set(await titles()) == both

        await until("both are known", are_known)
        await two.kill(0)

        async def has_compared() -> bool:
            return await two.metric(1, "receiver_reconcile_last_success_timestamp_seconds") is not None

        await until("the other one has compared", has_compared)
        assert sorted(await titles()) == sorted(both)
        assert await two.metric(1, 'receiver_reconcile_drift_total{kind="missed",source="alertmanager"}') == 0
        assert [await two.told(1, number, "opened") for number in (1, 2)] == [1, 1]

        async def is_heard() -> bool:
            await two.beat(1)
            return f"{silent} resolved" in await titles()

        await until("it is heard again", is_heard)
    alertmanager.stop()


async def test_devices_are_of_all_and_hear_each_page_once(programs: Programs, tmp_path: Path) -> None:
    service = FakePush()
    await service.start()
    settings = {
        "channels": {"push": {"hosts": [service.url]}},
        "people": {"linh": {"name": "Linh Tran", "push": True}},
        "console": {"sign_in": {"proxy": {"addresses": ["127.0.0.1"], "header": "X-User"}}},
    }
    linh = {"X-User": "linh", "Authorization": "", **OURS}
    async with Receivers(programs, tmp_path, settings) as two:

        async def devices() -> list[int]:
            return [(await two.ask(number, "GET", "/me/devices", **linh))[1].count(said) for number in BOTH]

        said = "/remove"
        assert (await two.ask(0, "POST", "/me/devices", made_by(service.subscribe()), **linh))[0] == 201
        assert await devices() == [1, 1]
        for number in BOTH:
            assert (await two.ask(number, "POST", "/me/devices/test", **linh))[0] in {200, 303}
        keys = {call.headers["Authorization"].partition("k=")[2] for call in service.calls}
        assert (len(service.calls), len(keys)) == (2, 1)
        await two.fire(1)
        await until("it is paged", lambda: len(service.calls) == 3)
        service.statuses["/push/phone"], said = 410, "Dropped by its push service"
        await two.fire(0, "Next")
        await until("the next page was refused", lambda: len(service.calls) == 4)

        async def are_gone() -> bool:
            return await devices() == [1, 1]

        await until("it is known at both", are_gone)
    await service.stop()


async def test_a_receiver_that_was_not_reloaded_is_noticed(programs: Programs, tmp_path: Path) -> None:
    often = {"receiver.workers.same_config.PERIOD": 0.2, "receiver.workers.housekeeping._SOONEST": 0.2}
    async with Receivers(programs, tmp_path, {"people": PEOPLE}, constants=often) as two:

        async def differ(differing: float) -> bool:
            failing = 'receiver_housekeeping_failing{loop="same configuration"}'
            return [await two.metric(number, failing) for number in BOTH] == [differing, differing]

        for number, differing in ((0, 1), (1, 0)):
            two.write(number, roles={"engineer": ["marek"]})
            assert (await two.ask(number, "POST", "/-/reload"))[0] == 200
            await until("both know", lambda differing=differing: differ(differing))  # type: ignore[misc]
        assert "another receiver on this database has another configuration" in two.log(1)


@pytest.mark.slow
async def test_kills_and_stops_at_random_lose_nothing_and_change_no_order(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    seed = random.randrange(10**6)  # noqa: S311  # to be repeated
    print(f"seed {seed}")  # noqa: T201  # of a run that fails
    chance, loop = random.Random(seed), asyncio.get_running_loop()  # noqa: S311  # to be repeated
    programs = Programs(tmp_path_factory.mktemp("three"), 3)
    async with Outside() as outside, programs:
        settings = outside.settings() | {"heartbeats": {}}
        outside.hook.hang = 0.03
        async with Receivers(programs, tmp_path, settings, constants=OFTEN) as three:
            end, fired = loop.time() + 40, list[str]()

            async def fire() -> None:
                while loop.time() < end:
                    name = f"Alert{len(fired):04}"
                    with contextlib.suppress(aiohttp.ClientError, TimeoutError, AssertionError):
                        async with asyncio.timeout(3):
                            await three.fire(chance.choice(three.alive), name)
                            fired.append(name)
                    await asyncio.sleep(0.15)

            firing = asyncio.ensure_future(fire())
            while loop.time() < end:
                await asyncio.sleep(chance.uniform(0.5, 2.5))
                number = chance.choice(three.alive)
                if chance.random() < 0.5:
                    await three.kill(number)
                    await asyncio.sleep(chance.uniform(0.0, 2.0))
                    await three.start(number)
                else:
                    three.pause(number)
                    await asyncio.sleep(chance.uniform(0.5, 4.0))
                    three.go_on(number)
            await firing
            rung = outside.pagerduty.rung
            await until("each has rung", lambda: {title.split()[-1] for title in rung} >= set(fired))
            with beside(tmp_path) as database:
                lines = database.execute("SELECT seq, kind FROM timeline ORDER BY seq").fetchall()
            wanted = [number for number, kind in lines if kind in set(CHANGES)]
            await until("each change was posted", lambda: set(wanted) <= set(outside.sequence()))
            assert len(set(rung)) == len(rung)
            outside.posted_in_order(wanted)


async def test_an_incident_that_takes_no_answer_at_one_takes_it_at_the_other(
    programs: Programs, tmp_path: Path
) -> None:
    """As an update of one of them may have it; the other one is of the version before."""
    slack = FakeSlack("xoxb", {"#alerts"})
    await slack.start()
    channel = {"token": "xoxb", "api_url": f"{slack.url}/api/"}
    settings = {
        "channels": {"slack": channel, "log": {}},
        "people": {"linh": {"name": "Linh Tran", "slack": "#alerts"}},
    }
    path, said = "/api/v1/incidents/1/acknowledge", "an error of the receiver keeps this incident from changing"
    async with Receivers(programs, tmp_path, settings) as two:
        await two.kill(0)
        await two.start(0, {"receiver.actions.answer.transition": 0.0})  # which cannot be called
        await two.fire(0)
        await until("it is paged", lambda: len(slack.messages) == 1)
        for _ in range(3):
            status, answer = await two.ask(0, "POST", path, {"actor": "linh"})
            assert (status, said in answer["error"]) == (503, True)

        async def is_shown() -> bool:
            return await two.metric(0, "receiver_incidents_stuck") == 1

        await until("it is shown", is_shown)
        assert await two.metric(0, 'receiver_answers_total{outcome="stuck",source="api"}') == 3
        assert (await two.ask(1, "POST", path, {"actor": "linh"}))[0] == 200
        assert [one["acknowledged_by"] for one in await two.incidents(0)] == ["linh"]
        assert two.alive == [*BOTH]
    await slack.stop()


async def test_an_incident_that_neither_can_read_is_refused_and_answered_once_it_can_be_read(
    programs: Programs, tmp_path: Path
) -> None:
    slack = FakeSlack("xoxb", {"#alerts"})
    await slack.start()
    channel = {"token": "xoxb", "api_url": f"{slack.url}/api/"}
    settings = {
        "channels": {"slack": channel, "log": {}},
        "people": {"linh": {"name": "Linh Tran", "slack": "#alerts"}},
    }
    async with Receivers(programs, tmp_path, settings) as two:
        await two.fire(0)
        with beside(tmp_path) as db:
            ((doc,),) = db.execute("SELECT doc FROM incident WHERE id = 1").fetchall()
            db.execute("UPDATE incident SET doc = ? WHERE id = 1", (b"{",))
        for number in BOTH:
            assert (await two.ask(number, "POST", "/api/v1/incidents/1/acknowledge", {"actor": "linh"}))[0] == 503
            status, answer = await two.ask(number, "GET", "/api/v1/incidents/1")
            assert (status, answer["error"]) == (503, "the incident 1 cannot be read; the log says why")
        await two.fire(1)  # its group gets another one
        await until("that is paged", lambda: len(slack.messages) == 1)
        assert [one["id"] for one in await two.incidents(0)] == [2]
        with beside(tmp_path) as db:
            db.execute("UPDATE incident SET doc = ? WHERE id = 1", (bytes(doc),))
        for number in BOTH:
            assert (await two.ask(number, "GET", "/api/v1/incidents/1"))[1]["state"] == "triggered"
        assert (await two.ask(1, "POST", "/api/v1/incidents/1/acknowledge", {"actor": "linh"}))[0] == 200
        assert two.alive == [*BOTH]
    await slack.stop()
