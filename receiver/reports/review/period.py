"""What each of the document's four reviews looks at, over how long and how closely. Pure."""

from datetime import timedelta
from enum import StrEnum

import msgspec

_DAY = timedelta(days=1)


class Part(StrEnum):
    """A section of the report."""

    FIRINGS = "firings"
    UNANSWERED = "unanswered"
    DASHBOARDS = "dashboards"
    THRESHOLDS = "thresholds"
    NEVER = "never"
    BASELINES = "baselines"
    CONTACTS = "contacts"
    QUESTIONS = "questions"


class Period(msgspec.Struct, frozen=True):
    """A review: how far it looks back and ahead, the seconds between two looks at a series, and its parts."""

    title: str
    length: timedelta
    ahead: timedelta
    step: int
    parts: frozenset[Part]


_ALWAYS = {Part.FIRINGS, Part.UNANSWERED, Part.CONTACTS}
PERIODS = {
    "weekly": Period("Weekly dashboard review", 7 * _DAY, 14 * _DAY, 60, frozenset(_ALWAYS | {Part.DASHBOARDS})),
    "monthly": Period(
        "Monthly threshold tuning", 30 * _DAY, 30 * _DAY, 120, frozenset(_ALWAYS | {Part.THRESHOLDS, Part.NEVER})
    ),
    "quarterly": Period(
        "Quarterly baseline update", 91 * _DAY, 91 * _DAY, 300, frozenset(_ALWAYS | {Part.NEVER, Part.BASELINES})
    ),
    "annual": Period("Annual strategy review", 365 * _DAY, 91 * _DAY, 900, frozenset(Part)),
}
QUARTER = 91 * _DAY  # thirteen weeks: a Monday is compared with a Monday
BASELINE = 28 * _DAY  # a baseline is the median of so long, all days of the week alike in it
QUESTIONS = (
    "Do the priorities still mean what people do when they are paged, and are the response times kept?",
    "Which incidents did users report before an alert did? Each is an alert that is missing.",
    "Which alerts led to no action all year? Delete them, or make them a panel.",
    "Are the fifteen benchmarks still what users and the business care about, and are their targets still right?",
    "Do the service level objectives fit what users accept, and was an error budget ever a reason to stop?",
    "Which dashboards did nobody open? Which question had no panel?",
    "Does the escalation matrix name the right roles, with at least two people for each?",
    "How long is data kept, what does it cost, and what would have been needed further back?",
    "When was the loss of Prometheus, of Alertmanager and of the receiver last rehearsed?",
    "Which versions of Prometheus, Alertmanager, Grafana and the exporters leave support within the year?",
)
