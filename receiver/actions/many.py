"""Does the same to many incidents, some at once: what waits for the store is written by it in one commit."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

X = TypeVar("X")
Y = TypeVar("Y")
_AT_ONCE = 50


async def for_many(items: Sequence[X], do: Callable[[X], Awaitable[Y]]) -> list[Y]:
    """Give what became of each, in their order. If one fails, those after its group are left out."""
    done = list[Y]()
    for start in range(0, len(items), _AT_ONCE):
        done += await asyncio.gather(*(do(item) for item in items[start : start + _AT_ONCE]))
    return done
