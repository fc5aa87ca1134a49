"""Incidents in which our own rules raise an error: they are logged, shown and tried again, and the others go on.

The process would start again, and end at the same incident again: nobody would be paged for anything.
"""

import logging
from collections.abc import Callable
from functools import partial

from receiver.incident.model import Decision, Incident
from receiver.store.base import Decide

log = logging.getLogger(__name__)

_AGAIN = 30.0  # seconds until an incident that has failed is tried again, and as much more for each hundred of them
_FORGOTTEN = 300.0  # seconds after which one that has not failed again, e.g. because it was resolved, is not shown
_MOST = 100  # of them; with more it is not the incident that is at fault


class Stuck:
    """Who has failed, and when; ``show`` is told how many have.

    ``careful`` is called by the thread of the store, the rest by the loop; each is one step on a dict.
    """

    def __init__(self, elapsed: Callable[[], float], show: Callable[[int], None]) -> None:
        """``elapsed`` gives seconds of a clock that nobody sets."""
        self._elapsed, self._show = elapsed, show
        self._steps: dict[int, float] = {}  # incident -> when what was due in it last failed
        self._events: dict[int, float] = {}  # incident -> when what it was told last failed

    @property
    def steps(self) -> int:
        """In how many incidents what is due fails."""
        return len(self._steps)

    def rests(self, number: int) -> bool:
        """Say whether what is due in an incident failed so recently that it is not tried now."""
        at = self._steps.get(number)
        return at is not None and self._elapsed() - at < _AGAIN * (1 + len(self._steps) // _MOST)

    @property
    def too_many(self) -> bool:
        """Say whether so many fail that the escalation as a whole must be called broken.

        The process goes on: the next one would end at them again, and page nobody for anything.
        """
        return len({*self._steps, *self._events}) > _MOST

    def failed(self, number: int, error: Exception) -> None:
        """Take in that what is due in an incident failed."""
        self._note(self._steps, number, error)

    def took_nothing(self, number: int, error: Exception) -> None:
        """Take in that an incident could not be told something."""
        self._note(self._events, number, error)

    def succeeded(self, number: int) -> None:
        """Take in that what was due in an incident was done."""
        if self._steps and self._steps.pop(number, None) is not None:
            log.warning("incident %d goes on", number, extra={"facts": {"incident": number}})

    def look(self) -> None:
        """Forget what has not failed for long, and show in how many incidents something fails."""
        now = self._elapsed()
        for failed in (self._steps, self._events):
            for number in [number for number, at in failed.copy().items() if now - at > _FORGOTTEN]:
                failed.pop(number, None)
        self._show(len({*self._steps, *self._events}))

    def careful(self, decide: Decide) -> Decide:
        """Give ``decide``, but with no change to an incident where it raises."""
        return partial(self._decide, decide)

    def _decide(self, decide: Decide, incident: Incident) -> Decision:
        try:
            return decide(incident)
        except Exception as error:  # noqa: BLE001  # whatever it is: a message that has left is settled all the same
            self._note(self._events, incident.id, error)
            return Decision(incident)

    def _note(self, failed: dict[int, float], number: int, error: Exception) -> None:
        known = number in failed
        failed[number] = self._elapsed()
        if not known:
            text, trace = "incident %d is stuck: %s", error if len(failed) <= _MOST else None
            log.error(text, number, type(error).__name__, exc_info=trace, extra={"facts": {"incident": number}})


def careless(decide: Decide) -> Decide:
    """Give it as it is: an error in it ends whoever asks for it."""
    return decide
