"""A channel in one file, as docs/channels.md says: rings a bell in a room, and keeps what it rang."""

import asyncio
from typing import Annotated

import msgspec

from process.settings import Secret, Strict
from receiver.channels.base import Channel, Message, Receipt
from receiver.channels.declaration import Declaration, Place, Setup, Timeout, unknown_name


class Settings(Strict, frozen=True):
    """`channels.bell`."""

    rooms: Annotated[dict[str, str], msgspec.Meta(min_length=1)]
    token: Secret
    timeout: Timeout = Timeout(5)


class Bell:
    """Keeps what it rang; while ``hold`` is not set, ringing takes for ever."""

    def __init__(self, rooms: dict[str, str], token: Secret) -> None:
        self.rooms, self.token, self.closed = rooms, token, False
        self.rang: list[tuple[str, str]] = []
        self.ringing, self.hold = asyncio.Event(), asyncio.Event()
        self.hold.set()

    async def send(self, message: Message) -> Receipt:
        """Ring once."""
        self.ringing.set()
        await self.hold.wait()
        self.rang.append((self.rooms[message.address], message.headline))
        return Receipt()

    def close(self) -> None:
        """Stop ringing."""
        self.closed = True


def build(settings: Settings, setup: Setup) -> Channel:
    """Build it from its settings."""
    bell = Bell(settings.rooms, setup.secret(".token", settings.token, None))
    setup.closing.callback(bell.close)
    return bell


def _check(settings: Settings, place: Place) -> None:
    for name, room in settings.rooms.items():
        if not room:
            raise place.error(f".rooms.{name}", "empty")


CHANNEL = Declaration(
    settings=Settings,
    build=build,
    check=_check,
    wrong_address=lambda settings, name: unknown_name("room", name, settings.rooms, "bell.rooms"),
    read_by_people=True,
)
