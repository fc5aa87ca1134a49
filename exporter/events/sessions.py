"""Follows pages and sessions of browsers: who is there, how long they stayed, and which batches never came. Pure.

Neither ids nor addresses are kept, only 8 bytes of a hash, and only as long as a session lives.
"""

from typing import Any, NamedTuple

PAGES = 50_000  # pages and sessions that are followed at once; one more ends the oldest
QUIET_PAGE = 600.0  # seconds after which a gap in a page's numbering is a loss and not a delay
ACTIVE = 300.0
QUIET_SESSION = 1800.0


class Ended(NamedTuple):
    """What is known once pages and sessions have gone quiet."""

    lost: int
    durations: list[float]


class Visits:
    """Pages by their batches' numbers, sessions by first and last sign; both in the order of their last sign."""

    def __init__(self) -> None:
        self._pages: dict[int, tuple[float, int, int]] = {}  # id -> (last sign, highest number, batches)
        self._sessions: dict[int, tuple[float, float]] = {}  # id -> (first sign, last sign)

    def sign(self, page: int, sequence: int, session: int, now: float) -> Ended:
        """Take note of a batch; gives what had to be ended for want of room."""
        lost, durations = 0, []
        if page:
            _, highest, batches = self._pages.pop(page, (now, 0, 0))
            self._pages[page] = (now, max(highest, sequence), batches + 1)
            if len(self._pages) > PAGES:
                lost = _lost(self._pages.pop(next(iter(self._pages))))
        if session:
            first, _ = self._sessions.pop(session, (now, now))
            self._sessions[session] = (first, now)
            if len(self._sessions) > PAGES:
                first, last = self._sessions.pop(next(iter(self._sessions)))
                durations.append(last - first)
        return Ended(lost, durations)

    def ended(self, now: float) -> Ended:
        """Let go of the pages and sessions that have gone quiet."""
        lost, durations = 0, []
        while self._pages:  # no copy of the table: this is asked for each batch
            page, state = next(iter(self._pages.items()))
            if now - state[0] < QUIET_PAGE:
                break
            lost += _lost(self._pages.pop(page))
        while self._sessions:
            session, (first, last) = next(iter(self._sessions.items()))
            if now - last < QUIET_SESSION:
                break
            del self._sessions[session]
            durations.append(last - first)
        return Ended(lost, durations)

    def active(self, now: float) -> int:
        """Count the sessions with a sign of late."""
        count = 0
        for _, last in reversed(self._sessions.values()):
            if now - last > ACTIVE:
                break
            count += 1
        return count

    def dump(self) -> Any:  # noqa: ANN401  # plain data
        """Give everything for the snapshot."""
        return (list(self._pages.items()), list(self._sessions.items()))

    def load(self, saved: Any) -> None:  # noqa: ANN401  # plain data
        """Take over what a snapshot has."""
        pages, sessions = saved
        self._pages = {page: tuple(state) for page, state in pages}
        self._sessions = {session: tuple(state) for session, state in sessions}


def _lost(state: tuple[float, int, int]) -> int:
    _, highest, batches = state
    return max(0, highest + 1 - batches)
