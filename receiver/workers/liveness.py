"""Says whether the Prometheus behind a resolve was provably alive, for a dead one looks like recovery.

Alertmanager resolves an alert by itself once nobody has posted it for four resend intervals (`ValidUntil` in its
rules/alerting.go), and goes on sending the Watchdog until that one's own end, a moment later. Whoever resolves truly is
alive: its Watchdog was posted less than two resend intervals ago, or its own API says that the alert does not fire.
"""

import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from receiver.clients.alertmanager import AlertmanagerApi, Seen
from receiver.clients.http_api import ApiError
from receiver.clients.prometheus import Prometheus
from receiver.incident.model import Alert

log = logging.getLogger(__name__)

WATCHDOG = "Watchdog"  # the alert that always fires
_MOST_GENERATORS = 64  # Prometheus servers behind one Alertmanager that are told apart
_PAUSE = timedelta(seconds=2)  # between two looks at an API that has just proved nothing
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


class Liveness:
    """What is known of the Prometheus servers of one source.

    ``resend`` is how often Prometheus posts what fires: --rules.alert.resend-delay, or the rules' interval if longer.
    """

    def __init__(self, clock: Callable[[], datetime], resend: float) -> None:
        self._clock, self.resend = clock, timedelta(seconds=resend)
        self._api: AlertmanagerApi | None = None
        self._prometheus: Prometheus | None = None
        self._answers = False  # the API, when it was last asked
        self._posted: dict[str, datetime] = {}  # Prometheus -> when it last posted its Watchdog
        self._looked = _NEVER

    def ask(self, api: AlertmanagerApi | None, prometheus: Prometheus | None) -> None:
        """Ask these from now on; without either, only the beats of the Watchdog say anything."""
        self._api, self._prometheus = api, prometheus

    @property
    def watched(self) -> bool:
        """Say whether Alertmanager's API has ever shown a Watchdog."""
        return bool(self._posted)

    def saw(self, alerts: Iterable[Seen]) -> None:
        """Take in what the API of Alertmanager shows."""
        for seen in alerts:
            if seen.alert.labels.get("alertname") != WATCHDOG or seen.updated_at is None:
                continue
            name = _generator(seen.alert)
            if name in self._posted or len(self._posted) < _MOST_GENERATORS:
                self._posted[name] = max(seen.updated_at, self._posted.get(name, _NEVER))

    async def is_fresh(self, alerts: Iterable[Alert]) -> bool | None:
        """Say whether the Prometheus of each alert has just posted its Watchdog; asks the API if that is not known.

        None: there is no API, it does not answer, or it has never shown a Watchdog.
        """
        alerts = tuple(alerts)
        if self._all_fresh(alerts):
            return True
        now = self._clock()
        if self._api is not None and not self._looked <= now < self._looked + _PAUSE:
            self._looked = now
            try:
                self.saw(await self._api.watchdogs(WATCHDOG))
                self._answers = True
            except ApiError as error:
                log.info("cannot see whether Prometheus is alive: %s", error)
                self._answers = False
        if not (self.watched and self._answers):
            return None
        return self._all_fresh(alerts)

    async def fires(self, alerts: Iterable[Alert]) -> bool | None:
        """Ask Prometheus itself whether any of these still fires or is about to; None if it cannot say."""
        if self._prometheus is None:
            return None
        try:
            started = await self._prometheus.started_at()
            if self._clock() - started < 2 * self.resend:
                return None  # it has just started, and does not know yet
            return await self._any_fires(self._prometheus, tuple(alerts))
        except ApiError as error:
            log.info("cannot ask Prometheus whether it still fires: %s", error)
            return None

    async def _any_fires(self, prometheus: Prometheus, alerts: tuple[Alert, ...]) -> bool | None:
        for name in sorted({alert.labels.get("alertname", "") for alert in alerts}):
            rules = await prometheus.rule_states(name)
            if not rules or any(not rule.healthy or self._is_late(rule.evaluated_at, rule.interval) for rule in rules):
                return None
            active = [labels for rule in rules for labels in rule.active]
            if any(labels.items() <= alert.labels.items() for labels in active for alert in alerts):
                return True
        return False

    def _is_late(self, evaluated_at: datetime, interval: float) -> bool:
        return self._clock() - evaluated_at > max(2 * timedelta(seconds=interval), self.resend)

    def _all_fresh(self, alerts: tuple[Alert, ...]) -> bool:
        limit = self._clock() - 2 * self.resend
        newest = max(self._posted.values(), default=_NEVER)
        # One that posts no Watchdog of its own, Loki's ruler for example, is as alive as any other.
        return all(self._posted.get(_generator(alert), newest) > limit for alert in alerts) and newest > limit


def _generator(alert: Alert) -> str:
    """Name the Prometheus that posted an alert: its address, as it is in the link to the graph."""
    return alert.generator_url.partition("?")[0][:500]
