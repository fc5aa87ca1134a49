"""What open pages get when incidents change: the rows of the list, or the page of one incident."""

from collections.abc import Callable, Hashable
from datetime import datetime

from msgspec.structs import replace

from receiver.incident.model import Incident, State
from receiver.store.base import Store, StoreError
from receiver.store.silences import SilenceStore
from receiver.web.console import incident_page, now_page
from receiver.web.console.board import Board
from receiver.web.console.layout import Layout, Viewing
from receiver.web.console.now_page import Filter
from receiver.web.console.stream import Change, Changes, Frame
from receiver.web.console.written_rows import WrittenRows

_MOST_ROWS = 60  # of one frame; above it the page is fetched again
_REFRESH = Frame("2000", "refresh")


class NowView:
    """The list under one filter, for everybody who may do the same and reads alike."""

    def __init__(
        self,
        chosen: Filter,
        look: Viewing,
        layout: Layout,
        board: Board,
        rows: WrittenRows,
        clock: Callable[[], datetime],
    ) -> None:
        self._chosen, self._look, self._layout = chosen, look, layout
        self._board, self._rows, self._clock = board, rows, clock

    @property
    def key(self) -> Hashable:
        """Rows say nothing of who reads them."""
        reader = self._look.reader
        return "now", self._chosen, self._look.may_act, reader.language, reader.zone

    async def frame(self, changes: Changes) -> Frame | None:
        """Write the rows that have changed, those that are new, and how bad it is now."""
        if len(changes) > _MOST_ROWS:
            return _REFRESH
        look = replace(self._look, now=self._clock())
        shown = [(change, self._is_listed(change.before), self._is_listed(change.after)) for change in changes.values()]
        try:
            incidents = await self._board.at_leisure()
        except StoreError:
            return None
        written = self._rows.seen_by(look)
        rows = [(c.after, written(c.after), now and not was) for c, was, now in shown if was or now]
        heading = now_page.summary_text(now_page.summary(incidents), look.reader) if incidents is not None else ""
        return Frame(
            self._layout.write("now_frame.html", look, rows=rows, heading=heading, urgent=_urgent(changes)),
            unfinished=not heading,
        )

    def _is_listed(self, incident: Incident) -> bool:
        is_open = incident.state not in {State.NEW, State.RESOLVED}
        return is_open and not now_page.is_quiet(incident) and self._chosen.keeps(incident)


def _urgent(changes: Changes) -> int:
    """Give the number of a P1 that is new or nobody's again: the page may ring for it; 0 for none."""
    return next((number for number, change in changes.items() if _rings(change)), 0)


def _rings(change: Change) -> bool:
    before, after = change.before, change.after
    waits = after.priority.value == "P1" and after.state is State.TRIGGERED and not now_page.is_quiet(after)
    waited = before.state is State.TRIGGERED and before.priority is after.priority and not now_page.is_quiet(before)
    return waits and not waited


class IncidentView:
    """The page of one incident, for one person."""

    def __init__(  # what it is of, and what it is written with
        self,
        number: int,
        act_at: str,
        look: Viewing,
        layout: Layout,
        store: Store,
        silences: SilenceStore,
        clock: Callable[[], datetime],
    ) -> None:
        self._number, self._act_at, self._look = number, act_at, look
        self._layout, self._store, self._silences, self._clock = layout, store, silences, clock

    @property
    def key(self) -> Hashable:
        """The page says "you"."""
        look = self._look
        return "incident", self._number, look.viewer, look.reader.language, look.reader.zone, self._act_at

    async def frame(self, changes: Changes) -> Frame | None:
        """Write all that changes of the page."""
        if self._number not in changes:
            return None
        look = replace(self._look, now=self._clock())
        try:
            stored = await self._store.incident(self._number)
            silences = await self._silences.of_incident(self._number)
        except StoreError:
            return None
        if stored is None:
            return None
        values = incident_page.values(*stored, look, silences)
        return Frame(self._layout.write("incident_frame.html", look, act_at=self._act_at, **values))
