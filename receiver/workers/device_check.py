"""The loop that finds devices on which a page would not be seen: it counts them, and tests each once a week."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from receiver.channels.base import SendError
from receiver.messages.compose import reader_of
from receiver.metrics import Metrics
from receiver.policy.current import Current
from receiver.store.push import DeviceState, PushStore, Subscription

log = logging.getLogger(__name__)

PERIOD = 1800.0  # seconds
_TESTED_EVERY = timedelta(days=7)
_FROM, _TO = 10, 16  # o'clock in the person's zone
_WEEKEND = {"6", "7"}


class Tester(Protocol):
    """What it needs of the channel `push`."""

    async def send_test(  # see receiver.channels.push
        self, person: str, title: str, body: str, url: str, now: datetime, *, quiet: bool = False
    ) -> Sequence[str]:
        """Push a test to each device of a person."""


class DeviceCheck:
    """``run_once`` looks at the devices of everybody; ``url`` and ``brand`` are the receiver's own."""

    def __init__(  # what it looks at, and what it tells
        self,
        pushes: PushStore,
        tester: Tester,
        current: Current,
        clock: Callable[[], datetime],
        metrics: Metrics,
        *,
        url: str,
        brand: str,
    ) -> None:
        self._pushes, self._tester, self._current, self._clock = pushes, tester, current, clock
        self._metrics, self._url, self._brand = metrics, url.rstrip("/"), brand
        self._logged: set[str] = set()

    async def run_once(self) -> None:
        """Count, say in the log who has no device that works, and test what has had nothing for a week."""
        now, counts = self._clock(), Counter[DeviceState]()
        for person in self._people():
            devices = await self._pushes.subscriptions(person)
            states = Counter(one.state(now) for one in devices)
            counts += states
            self._say(person, works=states[DeviceState.WORKING] > 0)
            if self._is_awake(person, now) and any(_is_due(one, now) for one in devices):
                await self._test(person, now)
        for state in DeviceState:
            self._metrics.push_devices.labels(state.value).set(counts[state])

    async def rest(self) -> None:
        """Leave the count to the receiver that looks now."""
        self._metrics.push_devices.clear()

    def _people(self) -> Iterator[str]:
        for key, person in self._current.routing.people.items():
            if any(contact.channel == "push" for contact in person.contacts):
                yield key

    def _say(self, person: str, *, works: bool) -> None:
        if works:
            self._logged.discard(person)
        elif person not in self._logged:
            self._logged.add(person)
            log.warning("people.%s has push: true and no device on which a page would be seen", person)

    def _is_awake(self, person: str, now: datetime) -> bool:
        day, hour = reader_of(self._current.routing, person).local(now, "%u %H").split()
        return day not in _WEEKEND and _FROM <= int(hour) < _TO

    async def _test(self, person: str, now: datetime) -> None:
        reader = reader_of(self._current.routing, person)
        title, body = reader.say("devices_test_title", brand=self._brand), reader.say("devices_weekly")
        try:
            await self._tester.send_test(person, title, body, f"{self._url}/me/devices", now, quiet=True)
        except SendError as error:
            log.info("the devices of people.%s could not be tested: %s", person, error)


def _is_due(device: Subscription, now: datetime) -> bool:
    newest = max(device.created, device.last_ok or device.created)
    return device.gone is None and now - newest >= _TESTED_EVERY
