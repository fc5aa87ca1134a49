"""What an answer of the exporter says about each event of a batch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_COUNTING, _ERROR = {202, 400}, 400  # 400 tells what was refused, if all of it was
_FAULTS = {400, 413}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The fate of an event: ``counted``, ``rejected`` (and why) or ``undelivered``.

    What is undelivered was not counted, through no fault of the event: it may be sent again, with its id.
    """

    state: str
    reason: str = ""
    field: str = ""
    message: str = ""


COUNTED = Outcome("counted")


def read(status: int, answer: Mapping[str, Any], sent: int) -> tuple[dict[int, Outcome], int]:
    """Give the fate of the events that were refused, by index, and how many had been counted before."""
    if status in _COUNTING and "rejected" in answer:
        try:
            return _refused(answer, sent), int(answer["duplicates"])
        except (AttributeError, KeyError, TypeError, ValueError):
            status = 200  # not the exporter's words
    hint = "is HEYPETER_URL the exporter?" if status < _ERROR else answer.get("error", "")
    fault = {"reason": f"status_{status}", **answer, "message": f"the exporter answered {status}: {hint}"}
    # 401, 404 and the like say nothing about the events: an outbox may send them again once the set-up is mended.
    state = "rejected" if status in _FAULTS else "undelivered"
    return dict.fromkeys(range(sent), _fault(fault, state)), 0


def _refused(answer: Mapping[str, Any], sent: int) -> dict[int, Outcome]:
    found = {int(fault["index"]): _fault(fault, "rejected") for fault in answer["rejected"]}
    if answer.get("rejected_total", 0) > len(found):
        # The answer describes the first hundred. Behind them, any may be one of the others: none is called counted.
        more = Outcome("rejected", "undescribed", "", "the exporter refused more events than it describes")
        found |= dict.fromkeys(range(max(found, default=-1) + 1, sent), more)
    return found


def _fault(fault: Mapping[str, Any], state: str) -> Outcome:
    return Outcome(state, *(str(fault.get(key, ""))[:300] for key in ("reason", "field", "message")))
