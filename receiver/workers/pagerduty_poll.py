"""The loop that reads answers back from PagerDuty's REST API: its webhooks may be switched off, or never come."""

import asyncio
import logging
from datetime import timedelta
from typing import Any

import msgspec
import pagerduty

from process.settings import Secret
from receiver.actions.answer import PAGERDUTY_PERSON, Answers
from receiver.channels.base import SendError
from receiver.channels.pagerduty_call import Calls, Region, host
from receiver.incident.model import State
from receiver.store.base import Store, StoreError

log = logging.getLogger(__name__)

_PAGE, _MOST_PAGES = 100, 20
_AGO = timedelta(days=7)


class _Agent(msgspec.Struct, frozen=True):
    type: str = ""
    summary: str = ""


class _Acknowledgement(msgspec.Struct, frozen=True):
    acknowledger: _Agent


class _Incident(msgspec.Struct, frozen=True):
    status: str
    incident_key: str | None = None
    acknowledgements: tuple[_Acknowledgement, ...] = ()
    last_status_change_by: _Agent = _Agent()


class PagerDutyPoll:
    """``run_once`` asks once, if anything of ours is open."""

    def __init__(  # the composition root hands over every collaborator
        self,
        answers: Answers,
        store: Store,
        token: Secret,
        api_url: str,
        *,
        region: Region = "us",
        interval: float = 60.0,
    ) -> None:
        self._answers, self._store, self._interval = answers, store, interval
        self._calls = Calls(10.0, api_url)
        self._client = self._calls.client(pagerduty.RestApiV2Client, token, base_url=host(region, "api"))

    def close(self) -> None:
        """Let go of connections and threads."""
        self._calls.close()

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            await self.run_once()
            await asyncio.sleep(self._interval)

    async def run_once(self) -> int:
        """Give how many answers were found that we did not know."""
        incidents = await self._store.still_open()
        open_ = {i.id: i for i in incidents if any(target.channel == "pagerduty" for target in i.delivery.told)}
        if not open_:
            return 0
        count = 0
        try:
            for found in await self._read():
                number = await self._answers.by_key(found.incident_key or "")
                if number in open_ and await self._take(
                    number, found, acknowledged=open_[number].state is not State.TRIGGERED
                ):
                    count += 1
        except (SendError, StoreError, msgspec.ValidationError) as error:
            log.warning("answers were not read back from PagerDuty: %s", error)
        return count

    async def _take(self, number: int, found: _Incident, *, acknowledged: bool) -> bool:
        if found.status == "resolved":
            agent, verb = found.last_status_change_by, "resolve"
        else:
            agent, verb = next((a.acknowledger for a in found.acknowledgements), _Agent()), "acknowledge"
        if agent.type != PAGERDUTY_PERSON or (verb == "acknowledge" and acknowledged):
            return False
        who = " ".join(agent.summary.split())[:100] or "somebody"
        await self._answers.take("pagerduty_poll", number, verb, who, "PagerDuty")
        return True

    async def _read(self) -> list[_Incident]:
        since = (self._answers.clock() - _AGO).isoformat()
        found: list[_Incident] = []
        for page in range(_MOST_PAGES):
            asked: dict[str, Any] = {"statuses[]": ["acknowledged", "resolved"], "since": since, "limit": _PAGE}
            answer = await self._calls.run(self._client.rget, "/incidents", params={**asked, "offset": page * _PAGE})
            listed = msgspec.convert(answer, list[_Incident])
            found += listed
            if len(listed) < _PAGE:
                break
        return found
