"""The signed webhook: what arrives, and that a reader of Standard Webhooks believes it."""

import base64
from collections.abc import AsyncIterator

import aiohttp
import pytest

from process.settings import Secret
from receiver.channels.base import Failure
from receiver.channels.webhook import Endpoint, Webhook, keys
from receiver.incident.model import Kind
from tests.fakes.endpoint import FakeEndpoint, signed_by
from tests.receiver.channels.test_channels import fails, message
from tests.receiver.example_site import START

OLD, NEW, OTHER = (f"whsec_{base64.b64encode(bytes([at]) * 32).decode()}" for at in range(3))


@pytest.fixture
async def endpoint() -> AsyncIterator[FakeEndpoint]:
    server = FakeEndpoint()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


def webhook(server: FakeEndpoint, session: aiohttp.ClientSession, secret: str = NEW) -> Webhook:
    return Webhook({"crm": Endpoint(Secret(f"{server.url}/hook"), keys(secret))}, session, timeout=30)


async def test_what_arrives_is_the_documented_body(endpoint: FakeEndpoint, session: aiohttp.ClientSession) -> None:
    sent = message(Kind.ACKNOWLEDGED, address="crm", number=12, labels={"team": "backend"}, opened_at=START)
    await webhook(endpoint, session).send(sent)
    (call,) = endpoint.calls
    assert call.path == "/hook"
    assert call.headers["Content-Type"] == "application/json"
    assert call.headers["webhook-id"] == "heypeter-12-1795402800-7"
    assert call.headers["webhook-timestamp"] == str(int(START.timestamp()))
    assert call.body == {
        "type": "incident.acknowledged",
        "version": 1,
        "timestamp": "2026-11-23T03:00:00Z",
        "data": {
            "incident": {
                "key": "heypeter-12-1795402800",
                "number": 12,
                "title": "[P1] #12 HighErrorRate: High error rate detected",
                "state": "acknowledged",
                "priority": "P1",
                "severity": "critical",
                "opened_at": "2026-11-23T03:00:00Z",
                "labels": {"team": "backend"},
            },
            "headline": "P1 #12 HighErrorRate: High error rate detected",
            "text": "12% of requests fail.",
            "facts": [{"name": "Priority", "value": "P1"}, {"name": "Team", "value": "backend"}],
            "links": [{"label": "Acknowledge or resolve", "url": "https://oncall.example.com/answer/abc.def"}],
        },
    }


@pytest.mark.parametrize("kind", Kind)
async def test_every_kind_is_named_and_believed(
    endpoint: FakeEndpoint, session: aiohttp.ClientSession, kind: Kind
) -> None:
    await webhook(endpoint, session).send(message(kind, address="crm"))
    (call,) = endpoint.calls
    assert call.body["type"] == f"incident.{kind.value}"
    assert signed_by(call, NEW)
    assert not signed_by(call, OTHER)
    call.raw += b" "
    assert not signed_by(call, NEW)


async def test_two_secrets_while_one_takes_over(endpoint: FakeEndpoint, session: aiohttp.ClientSession) -> None:
    await webhook(endpoint, session, f"{NEW}\n{OLD}").send(message(address="crm"))
    (call,) = endpoint.calls
    assert signed_by(call, OLD)
    assert signed_by(call, NEW)
    assert not signed_by(call, OTHER)


async def test_a_redirect_is_not_followed(endpoint: FakeEndpoint, session: aiohttp.ClientSession) -> None:
    for status in (301, 302, 303, 307, 308):
        endpoint.calls.clear()
        endpoint.misfortunes = [(status, {"Location": f"{endpoint.url}/elsewhere"})]
        error = await fails(webhook(endpoint, session), message(address="crm"))
        assert (error.reason, error.permanent, len(endpoint.calls)) == (Failure.REFUSED, True, 1)


async def test_an_endpoint_that_left_the_configuration(endpoint: FakeEndpoint, session: aiohttp.ClientSession) -> None:
    error = await fails(webhook(endpoint, session), message(address="gone"))
    assert (error.reason, error.permanent) == (Failure.BAD_ADDRESS, True)
    assert "channels.webhook.endpoints" in str(error)
    assert not endpoint.calls


@pytest.mark.parametrize(
    "secret",
    [
        "hunter2",
        "whsec_",
        "whsec_not base64",
        f"{NEW[:9]}!{NEW[9:]}",  # a reader would not read it as another key
        f"whsec_{base64.b64encode(b'x' * 23).decode()}",
        f"whsec_{base64.b64encode(b'x' * 65).decode()}",
        base64.b64encode(b"x" * 32).decode(),
        f"{NEW} hunter2",
    ],
)
def test_a_secret_that_is_none_is_refused_and_not_quoted(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_ and the base64 of 24 to 64 random bytes") as caught:
        keys(secret)
    assert "hunter2" not in str(caught.value)
