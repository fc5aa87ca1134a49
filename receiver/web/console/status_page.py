"""What the page Status shows: whether this receiver hears, remembers and reaches what it must."""

import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec
from prometheus_client import CollectorRegistry

from process.version import VERSION
from receiver.messages.i18n import Reader, one_line
from receiver.store.base import Backlog, ChannelState, Outage, Store
from receiver.web.console.layout import Viewing

_ERROR = 300  # characters
_LATE = 300.0  # seconds without a Watchdog, or a comparison, after which that is shown in red


class Site(msgspec.Struct, frozen=True):
    """What of the configuration is shown: channels, and each source with whether its APIs are asked."""

    channels: tuple[str, ...] = ()
    sources: dict[str, tuple[bool, bool]] = {}  # Alertmanager, Prometheus; msgspec copies a mutable default


class Source(msgspec.Struct, frozen=True):
    """One Alertmanager with its Prometheus."""

    name: str
    heard: datetime | None  # its Watchdog
    heard_late: bool
    compared: datetime | None
    compared_late: bool
    asks_alertmanager: bool
    asks_prometheus: bool


class Channel(msgspec.Struct, frozen=True):
    """One channel."""

    name: str
    sent: int
    owed: int
    oldest: datetime | None
    paused: int  # addresses
    error: str
    given_up_at: datetime | None


async def values(store: Store, registry: CollectorRegistry, site: Site, look: Viewing) -> dict[str, object]:
    """Give what the template needs; what the store cannot tell is left out, for it is this page that must say so."""
    backlog, states = await store.backlog(), {one.channel: one for one in await store.channel_states()}
    failing = [name for name, value in _samples(registry, "receiver_housekeeping_failing", "loop").items() if value]
    gaps = _samples(registry, "receiver_oncall_covered", "role")
    return {
        "outage": store.outage.value if store.outage is not None else "",
        "sources": _sources(backlog, registry, site, look.now),
        "channels": _channels(states, registry, site, look.reader),
        "stuck": int(registry.get_sample_value("receiver_incidents_stuck") or 0),
        "failing": sorted(failing),
        "uncovered": sorted(look.reader.name("role", role) for role, covered in gaps.items() if not covered),
        "running_since": look.routing.running_since,
        "version": VERSION,
        "python": platform.python_version(),
    }


def outage_values(outage: Outage | None, look: Viewing) -> dict[str, object]:
    """Give the same while the store cannot be read."""
    return {
        "outage": outage.value if outage is not None else "unreadable",
        "sources": (),
        "channels": (),
        "stuck": 0,
        "failing": (),
        "uncovered": (),
        "running_since": look.routing.running_since,
        "version": VERSION,
        "python": platform.python_version(),
    }


def _sources(backlog: Backlog, registry: CollectorRegistry, site: Site, now: datetime) -> tuple[Source, ...]:
    compared = _samples(registry, "receiver_reconcile_last_success_timestamp_seconds", "source")
    made = []
    for name, (asks_alertmanager, asks_prometheus) in site.sources.items():
        heard, at = backlog.heartbeats.get(name), compared.get(name)
        looked = datetime.fromtimestamp(at, UTC) if at else None
        made.append(
            Source(
                name=name,
                heard=heard,
                heard_late=heard is None or (now - heard).total_seconds() > _LATE,
                compared=looked,
                compared_late=asks_alertmanager and (looked is None or (now - looked).total_seconds() > _LATE),
                asks_alertmanager=asks_alertmanager,
                asks_prometheus=asks_prometheus,
            )
        )
    return tuple(made)


def _channels(
    states: Mapping[str, ChannelState], registry: CollectorRegistry, site: Site, reader: Reader
) -> tuple[Channel, ...]:
    paused = _samples(registry, "receiver_channel_addresses_paused", "channel")
    made = []
    for name in dict.fromkeys((*site.channels, *states)):
        state = states.get(name, ChannelState(name))
        labels = {"channel": name, "outcome": "sent"}
        made.append(
            Channel(
                name=reader.name("channel", name),
                sent=int(registry.get_sample_value("receiver_deliveries_total", labels) or 0),
                owed=state.owed,
                oldest=state.oldest,
                paused=int(paused.get(name, 0)),
                error=one_line(state.last_error, _ERROR),
                given_up_at=state.given_up_at,
            )
        )
    return tuple(made)


def _samples(registry: CollectorRegistry, name: str, label: str) -> dict[str, float]:
    """Read a family of our own metrics by one label."""
    families: Sequence[object] = list(registry.restricted_registry([name]).collect())
    return {sample.labels[label]: sample.value for family in families for sample in getattr(family, "samples", ())}
