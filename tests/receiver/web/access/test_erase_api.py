"""An administrator erases a departed person by the API, and nobody else does."""

from pathlib import Path

import pytest

from receiver.incident.event import Acknowledge
from receiver.incident.machine import transition
from receiver.incident.model import Origin
from tests.receiver.web.access.test_in_receiver import HOOK, running
from tests.receiver.web.test_alertmanager import encoded

CONSOLE = {
    "sign_in": {"proxy": {"addresses": ["127.0.0.1"], "header": "X-User"}},
    "roles": {"admin": {"people": ["boss"]}, "responder": {"people": ["peer"]}},
}


@pytest.mark.parametrize(
    ("who", "body", "status"),
    [
        ("boss", {"person": "zoe", "texts": ["Zoe Quinn"]}, 200),
        ("boss", {"person": "linh"}, 409),  # is in `people`
        ("boss", {"person": "zoe", "texts": ["ab"]}, 400),
        ("boss", {"person": ""}, 400),
        ("boss", {"person": "zoe", "all": True}, 400),
        ("peer", {"person": "zoe"}, 403),
    ],
)
async def test_who_may_erase_whom(tmp_path: Path, who: str, body: dict[str, object], status: int) -> None:
    async with running(tmp_path, {"console": CONSOLE}) as (receiver, client):
        async with client.post("/webhook/alertmanager", data=encoded(), headers=HOOK) as answer:
            assert answer.status == 200
        now, routing = receiver.actions.clock(), receiver.current.routing
        event = Acknowledge("zoe", Origin.API)
        await receiver.store.apply(1, lambda before: transition(before, event, routing, now), now)
        headers = {"X-User": who, "Sec-Fetch-Site": "same-origin"}
        async with client.post("/api/v1/erasures", json=body, headers=headers) as answer:
            assert answer.status == status, await answer.text()
        stored = await receiver.store.incident(1)
        assert stored is not None
        assert stored[0].acknowledged_by == ("former-1" if status == 200 else "zoe")
        acts = [(one.act, one.actor) for one in await receiver.store.access.audit(None, 10)]
        assert (("person.erase", "boss") in acts) == (status == 200)
