"""The loop that looks for gaps on call in the days to come, so that somebody can fill them before they begin."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from receiver.messages.i18n import Reader
from receiver.metrics import Metrics
from receiver.policy.coverage import Gap, gaps, roles
from receiver.policy.current import Current

log = logging.getLogger(__name__)

AHEAD = timedelta(days=8)
PERIOD = 30.0  # seconds


class Coverage:
    """``run_once`` looks and tells the metrics; what is new since the last look is logged."""

    def __init__(self, current: Current, clock: Callable[[], datetime], metrics: Metrics) -> None:
        self._current, self._clock, self._metrics = current, clock, metrics
        self._logged: set[tuple[str, datetime]] = set()

    def say_again(self) -> None:
        """Log at the next look what it finds, also what was logged before: the configuration is another one."""
        self._logged.clear()

    async def run_once(self) -> tuple[Gap, ...]:
        """Give the gaps of all roles."""
        now, routing = self._clock(), self._current.routing
        # In a thread: a calendar of thousands of entries takes a while.
        all_gaps = await asyncio.to_thread(gaps, routing, now, now + AHEAD)
        first: dict[str, Gap] = {}
        for gap in all_gaps:
            first.setdefault(gap.role, gap)
        for role, gap in first.items():
            self._log(role, gap, sum(other.role == role for other in all_gaps) - 1)
        self._metrics.show_gaps(dict.fromkeys(roles(routing)) | {role: gap.start for role, gap in first.items()})
        return all_gaps

    def _log(self, role: str, gap: Gap, more: int) -> None:
        if (role, gap.end) in self._logged:
            return
        self._logged.add((role, gap.end))
        times = f"{gap.start:%Y-%m-%d %H:%M} to {gap.end:%Y-%m-%d %H:%M} UTC"
        others = f", and {more} more within {AHEAD.days} days" if more else ""
        log.warning("gap on call: role %s: %s from %s%s", role, Reader().name("gap", gap.reason), times, others)
