"""What a way for answers to come in is built with, and what it gives back."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from aiohttp import web
from prometheus_client import CollectorRegistry

from receiver.actions.answer import Actions
from receiver.actions.duty import Duty
from receiver.channels.declaration import Setup
from receiver.policy.current import Current
from receiver.store.base import Store


@dataclass(frozen=True)
class InboundSetup:
    """What it is built with, beside the settings of its channel: ``channel`` is the channel's own set-up."""

    channel: Setup
    actions: Actions
    store: Store
    current: Current
    duty: Duty
    registry: CollectorRegistry


async def nothing() -> None:
    """Let go of nothing."""


class InboundLoop(NamedTuple):
    """What one receiver does every so many seconds, and what it does when another one takes over."""

    run_once: Callable[[], Awaitable[object]]
    every: float
    rest: Callable[[], Awaitable[None]] = nothing


@dataclass(frozen=True)
class Inbound:
    """Endpoints to serve, and loops by name. Nothing if its secret is not set."""

    routes: Sequence[web.RouteDef] = ()
    loops: dict[str, InboundLoop] = field(default_factory=dict)
    close: Callable[[], Awaitable[None]] = nothing  # called before the store is closed
