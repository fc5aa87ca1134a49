"""Keeps what the other replicas must be told of single batches, in order and bounded. Pure.

A batch that is sent again may reach another replica, and so may the next report of a vital, a page or a session.
"""

import enum
from collections.abc import Callable
from typing import Annotated

import msgspec

CAPACITY = 50_000  # facts of servers' batches, and as many of browsers'; a peer that misses more has missed the oldest
MAX_ANSWER = 1024  # bytes of an answer that is told
MAX_TEXT = 300


class Kind(enum.IntEnum):
    """What a fact is about; a replica ignores the kinds of a newer version."""

    BATCH = 0  # the id of a server's batch, with the answer that it got
    EVENT = 1  # the id of a server's event
    BEACON = 2  # the id of a browser's batch
    VITAL = 3  # a vital was reported
    SESSION = 4  # a session has sent a batch, or what is known of one that another replica has now
    PAGE = 5  # a page has sent a batch
    PAGE_GIVEN = 6  # the batches of a page that another replica has now


_Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**31)]


class Fact(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One fact; which fields count depends on its kind."""

    kind: Annotated[int, msgspec.Meta(ge=0, le=255)]
    key: Annotated[int, msgspec.Meta(ge=0)] = 0
    text: _Text = ""
    answer: Annotated[bytes, msgspec.Meta(max_length=MAX_ANSWER)] = b""
    first: float = 0.0
    last: float = 0.0
    number: _Count = 0
    count: _Count = 0


class Log:
    """Facts in order, each with a position that never changes; the oldest are dropped."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._facts: list[Fact] = []
        self._dropped = 0

    @property
    def end(self) -> int:
        """The position of the next fact."""
        return self._dropped + len(self._facts)

    def add(self, fact: Fact) -> None:
        """Append a fact."""
        self._facts.append(fact)
        extra = len(self._facts) - self._capacity
        if extra * 4 >= self._capacity:  # seldom, as it moves all others
            del self._facts[:extra]
            self._dropped += extra

    def since(self, position: int, most: int, until: int | None = None) -> tuple[list[Fact], int]:
        """Return the facts from a position on, at most so many and none from ``until`` on, and the position after."""
        first = max(position - self._dropped, 0)
        last = first + most if until is None else min(first + most, until - self._dropped)
        facts = self._facts[first : max(first, last)]
        return facts, self._dropped + first + len(facts)


class ReplicationLog:
    """The facts of servers, whose ids matter most and are told as soon as they are on disk, and those of browsers.

    ``changed`` is called when there are new ones of servers to be told. Told before they are on disk, an id whose batch
    is lost with the machine would make a duplicate of the retry, and nobody would have counted it.
    """

    def __init__(self, changed: Callable[[], None] = lambda: None, capacity: int = CAPACITY) -> None:
        self.changed = changed
        self.servers, self.browsers = Log(capacity), Log(capacity)
        self._capacity = capacity
        self.durable = 0  # the position in the log of servers up to which all is on disk
        self._counted: dict[int, None] = {}

    def counted(self, kind: Kind, key: int, answer: bytes = b"") -> None:
        """Note the id of a server's batch or event that was counted here."""
        self.servers.add(Fact(kind, key, answer=answer if len(answer) <= MAX_ANSWER else _without_details(answer)))
        self._counted[key] = None
        if len(self._counted) > self._capacity:
            del self._counted[next(iter(self._counted))]

    def synced(self, position: int) -> None:
        """Note that all facts of servers before a position are on disk."""
        if position > self.durable:
            self.durable = position
            self.changed()

    def was_counted(self, key: int) -> bool:
        """Whether the id was counted here, as far as is known; True only once, as peers may tell it again."""
        return self._counted.pop(key, self) is None

    def tell(self, fact: Fact) -> None:
        """Note a fact of a browser."""
        self.browsers.add(fact)


def _without_details(answer: bytes) -> bytes:
    """Leave out of a long answer which events were rejected and why; how many is still said."""
    return msgspec.json.encode({**msgspec.json.decode(answer, type=dict[str, msgspec.Raw]), "rejected": []})
