"""The states of an incident, and the one total table of what each signal makes of each. Pure."""

from enum import StrEnum


class State(StrEnum):
    """NEW has not been opened yet: it exists only inside the transaction that may open it."""

    NEW = "new"
    TRIGGERED = "triggered"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class Signal(StrEnum):
    """What an event means for the state, once its content has been looked at."""

    FIRE = "fire"  # alerts are firing
    RAISE = "raise"  # alerts are firing, and they have become a P1
    CLEAR = "clear"  # no alert is firing any more
    HOLD = "hold"  # no alert is firing any more, and that is not believed yet
    REOPEN = "reopen"  # it fires again, soon after it was over
    TIME = "time"  # a clock of the incident has run to its time
    EXPIRE = "expire"  # the acknowledgement has run out
    DELIVERED = "delivered"  # a page has arrived
    UNREACHED = "unreached"  # one way to a person does not work
    UNDELIVERED = "undelivered"  # nobody of the last step could be reached
    ACKNOWLEDGE = "acknowledge"
    RESOLVE = "resolve"
    PAUSE = "pause"  # somebody has silenced it, or maintenance has begun
    RESUME = "resume"


_N, _T, _A, _R = State.NEW, State.TRIGGERED, State.ACKNOWLEDGED, State.RESOLVED

# Total on purpose: a pair that is missing is a bug that a test finds, not a KeyError at 3 a.m.
TRANSITIONS: dict[tuple[State, Signal], State] = {
    (_N, Signal.FIRE): _T,
    (_N, Signal.RAISE): _T,
    (_N, Signal.CLEAR): _N,  # the resolve of something that we never saw firing
    (_N, Signal.HOLD): _N,
    (_N, Signal.REOPEN): _T,
    (_N, Signal.TIME): _N,
    (_N, Signal.EXPIRE): _N,
    (_N, Signal.DELIVERED): _N,
    (_N, Signal.UNREACHED): _N,
    (_N, Signal.UNDELIVERED): _N,
    (_N, Signal.ACKNOWLEDGE): _N,
    (_N, Signal.RESOLVE): _N,
    (_N, Signal.PAUSE): _N,
    (_N, Signal.RESUME): _N,
    (_T, Signal.FIRE): _T,
    (_T, Signal.RAISE): _T,
    (_T, Signal.CLEAR): _R,
    (_T, Signal.HOLD): _T,
    (_T, Signal.REOPEN): _T,
    (_T, Signal.TIME): _T,
    (_T, Signal.EXPIRE): _T,
    (_T, Signal.DELIVERED): _T,
    (_T, Signal.UNREACHED): _T,
    (_T, Signal.UNDELIVERED): _T,
    (_T, Signal.ACKNOWLEDGE): _A,
    (_T, Signal.RESOLVE): _R,
    (_T, Signal.PAUSE): _T,
    (_T, Signal.RESUME): _T,
    (_A, Signal.FIRE): _A,
    (_A, Signal.RAISE): _T,  # whoever took a P2 has not said that they can carry a P1
    (_A, Signal.CLEAR): _R,
    (_A, Signal.HOLD): _A,
    (_A, Signal.REOPEN): _A,
    (_A, Signal.TIME): _A,
    (_A, Signal.EXPIRE): _T,  # nobody has said for too long that they are still at it
    (_A, Signal.DELIVERED): _A,
    (_A, Signal.UNREACHED): _A,
    (_A, Signal.UNDELIVERED): _A,
    (_A, Signal.ACKNOWLEDGE): _A,
    (_A, Signal.RESOLVE): _R,
    (_A, Signal.PAUSE): _A,
    (_A, Signal.RESUME): _A,
    (_R, Signal.FIRE): _R,  # what fires long after the resolve opens an incident of its own
    (_R, Signal.RAISE): _R,
    (_R, Signal.CLEAR): _R,
    (_R, Signal.HOLD): _R,
    (_R, Signal.REOPEN): _T,
    (_R, Signal.TIME): _R,
    (_R, Signal.EXPIRE): _R,
    (_R, Signal.DELIVERED): _R,
    (_R, Signal.UNREACHED): _R,
    (_R, Signal.UNDELIVERED): _R,
    (_R, Signal.ACKNOWLEDGE): _R,  # the acknowledgement lost the race; resolve wins
    (_R, Signal.RESOLVE): _R,
    (_R, Signal.PAUSE): _R,
    (_R, Signal.RESUME): _R,
}
