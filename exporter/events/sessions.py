"""Follows browsers' sessions and pages: active sessions, their durations, and batches that never arrived. Pure.

Neither ids nor addresses are kept, only a 64-bit hash, and only while the session lasts.
"""

from typing import Any, NamedTuple

CAPACITY = 50_000  # pages, and sessions, followed at once; one more ends the oldest
PAGE_TIMEOUT = 600.0  # seconds without a batch after which a gap in a page's numbering is a loss and not a delay
ACTIVE = 300.0  # seconds since the last batch for which a session counts as active
_MOST_LOST = 10  # for each batch that arrived: the numbering is the page's own claim
SESSION_TIMEOUT = 1800.0  # seconds without a batch after which a session is over


class Ended(NamedTuple):
    """What is known once pages and sessions are over: batches lost, and session durations in seconds."""

    lost: int
    durations: list[float]


class Sessions:
    """Pages with their batch numbers, sessions with first and last batch; both ordered by their last batch."""

    def __init__(self) -> None:
        self._pages: dict[int, tuple[float, int, int]] = {}  # id -> (last seen, highest number, batches)
        self._sessions: dict[int, tuple[float, float]] = {}  # id -> (first seen, last seen)

    def seen(self, page: int, sequence: int, session: int, now: float) -> Ended:
        """Note a batch; returns what had to end to make room."""
        lost, durations = 0, []
        if page:
            _, highest, batches = self._pages.pop(page, (now, 0, 0))
            self._pages[page] = (now, max(highest, sequence), batches + 1)
            if len(self._pages) > CAPACITY:
                lost = _lost(self._pages.pop(next(iter(self._pages))))
        if session:
            first, _ = self._sessions.pop(session, (now, now))
            self._sessions[session] = (first, now)
            if len(self._sessions) > CAPACITY:
                first, last = self._sessions.pop(next(iter(self._sessions)))
                durations.append(max(0.0, last - first))
        return Ended(lost, durations)

    def ended(self, now: float) -> Ended:
        """Remove and return the pages and sessions that are over."""
        lost, durations = 0, []
        while self._pages:  # no copy of the table: this runs for each batch
            page, state = next(iter(self._pages.items()))
            if abs(now - state[0]) < PAGE_TIMEOUT:  # later than now if our clock was ahead
                break
            lost += _lost(self._pages.pop(page))
        while self._sessions:
            session, (first, last) = next(iter(self._sessions.items()))
            if abs(now - last) < SESSION_TIMEOUT:
                break
            del self._sessions[session]
            durations.append(max(0.0, last - first))  # else the sum of a histogram could decrease
        return Ended(lost, durations)

    def session(self, key: int) -> tuple[float, float]:
        """Return when a session that is followed was first and last seen."""
        return self._sessions[key]

    def merge_session(self, key: int, first: float, last: float) -> tuple[float, float] | None:
        """Take what another exporter says of a session. Who saw it last follows it: if not we, give what we knew."""
        ours = self._sessions.get(key)
        if ours is None:
            return None
        if last > ours[1]:
            del self._sessions[key]
            return ours if ours[0] < first else None
        self._sessions[key] = (min(first, ours[0]), ours[1])
        return None

    def merge_page(self, key: int, last: float) -> tuple[float, int, int] | None:
        """Follow no longer a page that another exporter has seen after us; give what we knew of it."""
        ours = self._pages.get(key)
        return self._pages.pop(key) if ours is not None and last > ours[0] else None

    def add_to_page(self, key: int, highest: int, batches: int) -> None:
        """Add the batches that another exporter has had of a page that we follow now."""
        ours = self._pages.get(key)
        if ours is not None:
            self._pages[key] = (ours[0], max(ours[1], highest), ours[2] + batches)

    def active(self, now: float) -> int:
        """Count the sessions seen in the last five minutes."""
        count = 0
        for _, last in reversed(self._sessions.values()):
            if abs(now - last) > ACTIVE:
                break
            count += 1
        return count

    def dump(self) -> Any:  # noqa: ANN401  # plain data
        """Return everything for the snapshot."""
        return (list(self._pages.items()), list(self._sessions.items()))

    def load(self, saved: Any) -> None:  # noqa: ANN401  # plain data
        """Restore what a snapshot has."""
        pages, sessions = saved
        self._pages = {page: tuple(state) for page, state in pages}
        self._sessions = {session: tuple(state) for session, state in sessions}


def _lost(state: tuple[float, int, int]) -> int:
    _, highest, batches = state
    return min(max(0, highest + 1 - batches), _MOST_LOST * batches)
