"""What an answer of the exporter says about each event of a batch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_COUNTING, _ERROR = {202, 400}, 400  # 400 if every event was rejected
_FAULTS = {400, 413}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The fate of an event: ``counted``, ``rejected`` (and why) or ``undelivered``.

    An undelivered event was not counted, for a reason that lies outside it: it may be sent again with its id.
    """

    state: str
    reason: str = ""
    field: str = ""
    message: str = ""


COUNTED = Outcome("counted")


def read(status: int, answer: Mapping[str, Any], sent: int) -> tuple[dict[int, Outcome], int]:
    """Return the fate of each rejected event by its index, and the number of duplicates."""
    if status in _COUNTING and "rejected" in answer:
        try:
            return _refused(answer, sent), int(answer["duplicates"])
        except (AttributeError, KeyError, TypeError, ValueError):
            status = 200  # not an answer of the exporter
    hint = "is HEYPETER_URL the exporter?" if status < _ERROR else answer.get("error", "")
    fault = {"reason": f"status_{status}", **answer, "message": f"the exporter answered {status}: {hint}"}
    # 401, 404 and the like are faults of the setup, not of the events: an outbox may retry them once it is fixed.
    state = "rejected" if status in _FAULTS else "undelivered"
    return dict.fromkeys(range(sent), _fault(fault, state)), 0


def _refused(answer: Mapping[str, Any], sent: int) -> dict[int, Outcome]:
    faults = {int(fault["index"]): _fault(fault, "rejected") for fault in answer["rejected"]}
    if answer.get("rejected_total", 0) > len(faults):
        # The answer describes the first hundred rejections; any later event may be rejected, too, so none is counted.
        more = Outcome("rejected", "undescribed", "", "the exporter refused more events than it describes")
        faults |= dict.fromkeys(range(max(faults, default=-1) + 1, sent), more)
    return faults


def _fault(fault: Mapping[str, Any], state: str) -> Outcome:
    return Outcome(state, *(str(fault.get(key, ""))[:300] for key in ("reason", "field", "message")))
