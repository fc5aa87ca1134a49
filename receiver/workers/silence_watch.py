"""The loop that notices what became of the silences that were made from incidents: moved, replaced, or over."""

import contextlib
import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial

from msgspec.structs import replace

from receiver.actions.silences import carrying, read_matchers
from receiver.clients.alertmanager import AlertmanagerApi, Known
from receiver.clients.http_api import ApiError
from receiver.incident.event import ExtendSilence, SilenceOver
from receiver.incident.machine import transition
from receiver.incident.model import Origin
from receiver.policy.current import Current
from receiver.policy.matcher import match_all
from receiver.store.base import Decide, Store
from receiver.store.silences import MadeSilence, SilenceStore
from receiver.store.unreadable import UnreadableError
from receiver.workers.stuck import careless

log = logging.getLogger(__name__)

PERIOD = 30.0  # seconds
_SAME = timedelta(seconds=1)


class SilenceWatch:
    """``run_once`` compares what we know of silences with Alertmanager. One that does not answer changes nothing."""

    def __init__(
        self,
        store: Store,
        silences: SilenceStore,
        current: Current,
        apis: Mapping[str, AlertmanagerApi],
        clock: Callable[[], datetime],
        *,
        careful: Callable[[Decide], Decide] = careless,
    ) -> None:
        self._store, self._silences, self._current, self._apis, self._clock = store, silences, current, apis, clock
        self._careful = careful

    async def run_once(self) -> None:
        """Look at those that are not over as far as we know: first at ours, so that none is missed that is made now."""
        running = await self._silences.running()
        for source in dict.fromkeys(one.source for one in running):
            api = self._apis.get(source)
            if api is None:
                continue
            try:
                known = await api.silences()
            except ApiError as error:
                log.warning("cannot look at the silences of %s: %s", source, error)
                continue
            for one in running:
                if one.source == source:
                    with contextlib.suppress(UnreadableError):  # it is looked at again, and those behind it now
                        await self._compare(one, known)

    async def _compare(self, ours: MadeSilence, known: Mapping[str, Known]) -> None:
        there = known.get(ours.id)
        if there is None or there.is_over:
            there = carrying(ours.key, known)  # changed by somebody in Alertmanager, it is another one
        if there is None:
            await self._over(ours)
        elif there.id != ours.id or abs(there.ends_at - ours.ends_at) >= _SAME:
            moved = replace(ours, id=there.id, ends_at=there.ends_at)
            await self._silences.keep(moved, None, replaces=ours.id)
            text, author = ", ".join(ours.matchers), there.created_by
            event = ExtendSilence(author, Origin.ALERTMANAGER, moved.id, moved.ends_at, text, ours.id)
            await self._tell(ours.incident, event)

    async def _over(self, ours: MadeSilence) -> None:
        """Tell the incident before the silence is known to be over: what is told twice says the same."""
        matchers, stored = read_matchers(ours.matchers) or (), await self._store.incident(ours.incident)
        if stored is not None:
            firing = stored[0].firing
            matched = frozenset(one.fingerprint for one in firing if matchers and match_all(matchers, one.labels))
            known = await self._silences.of_incident(ours.incident)  # somebody may have ended it just now
            if matched and any(one.id == ours.id and one.over_at is None for one in known):
                await self._tell(ours.incident, SilenceOver(ours.id, ours.made_by, ", ".join(ours.matchers), matched))
        await self._silences.end(ours, self._clock(), None)

    async def _tell(self, number: int, event: ExtendSilence | SilenceOver) -> None:
        now = self._clock()
        decide = self._careful(partial(transition, event=event, policy=self._current.routing, now=now))
        await self._store.apply(number, decide, now)
