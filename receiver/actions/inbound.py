"""What a way for answers to come in is built with, and what it gives back."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from receiver.actions.answer import Actions
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


@dataclass(frozen=True)
class Inbound:
    """Endpoints to serve, and loops to run by name; nothing of either if its secret is not set."""

    routes: Sequence[web.RouteDef] = ()
    loops: dict[str, Callable[[], Coroutine[Any, Any, None]]] = field(default_factory=dict)
