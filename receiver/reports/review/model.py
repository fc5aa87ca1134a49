"""What a review holds: plain values between those who gather them and those who write them. Pure."""

from datetime import datetime

import msgspec

from receiver.clients.promql import Comparison
from receiver.reports.review.firing import Firing
from receiver.reports.review.period import Part, Period
from receiver.reports.review.threshold import Advice, Candidate, Closeness

Curve = tuple[tuple[float, float | None], ...]  # Unix seconds, value


class Rule(msgspec.Struct, frozen=True):
    """One alert as Prometheus has it; times in seconds."""

    name: str
    expression: str
    wait: float
    keep: float
    interval: float
    priority: str
    team: str
    file: str = ""


class Fired(msgspec.Struct, frozen=True):
    """How often and how long an alert fired; ``firings`` counts each of its series for itself."""

    rule: Rule
    firings: tuple[Firing, ...]
    series: int
    seconds: float  # in which at least one of its series fired

    @property
    def longest(self) -> float:
        """Seconds of the longest firing."""
        return max((one.seconds for one in self.firings), default=0.0)


class Tuned(msgspec.Struct, frozen=True):
    """What the series of an alert did about its threshold."""

    rule: Rule
    compared: Comparison
    near: Closeness | None
    candidates: tuple[Candidate, ...]
    advice: Advice | None
    curve: Curve = ()
    fired: int = 0


class Baseline(msgspec.Struct, frozen=True):
    """One benchmark: medians now and a quarter ago, and the shares of the time in which its target was met."""

    key: str
    unit: str
    target: float | None
    above: bool  # good is above the target
    now: float | None
    then: float | None
    met_now: float | None = None
    met_then: float | None = None
    curve: Curve = ()
    remembered: str = ""  # the day of the review that noted ``then``, if it is not Prometheus that knows

    @property
    def change(self) -> float | None:
        """How much larger than a quarter ago, as a share."""
        return None if self.now is None or not self.then else self.now / self.then - 1

    @property
    def worse(self) -> bool:
        """Say whether it moved the wrong way by more than a twentieth."""
        return self.change is not None and abs(self.change) > 0.05 and (self.change > 0) != self.above  # noqa: PLR2004


class Unanswered(msgspec.Struct, frozen=True):
    """An alert with incidents that nobody acknowledged."""

    alert: str
    priority: str
    incidents: int
    unanswered: int
    longest: float  # seconds that one of them stood open


class DeadPanel(msgspec.Struct, frozen=True):
    """A panel whose query fails or gives nothing."""

    dashboard: str
    panel: str
    query: str
    why: str


class Note(msgspec.Struct, frozen=True):
    """Something about contacts and schedules that needs a look, and what to do."""

    about: str
    what: str
    to_do: str


class Trouble(msgspec.Struct, frozen=True):
    """A part of the review that could not be made, and why."""

    what: str
    why: str


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """All of it; None is what this review does not look at, or could not."""

    period: Period
    start: datetime
    end: datetime
    since: datetime  # the first data in the period
    rules: int
    fired: tuple[Fired, ...] = ()
    never: tuple[Rule, ...] = ()
    tuned: tuple[Tuned, ...] = ()
    baselines: tuple[Baseline, ...] = ()
    unanswered: tuple[Unanswered, ...] | None = None
    incidents: int = 0
    panels: int = 0
    dead: tuple[DeadPanel, ...] = ()
    notes: tuple[Note, ...] | None = None
    troubles: tuple[Trouble, ...] = ()

    def has(self, part: Part) -> bool:
        """Say whether this review has a part."""
        return part in self.period.parts
