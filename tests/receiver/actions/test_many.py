"""The same done to many incidents at once."""

import asyncio

import pytest

from receiver.actions.many import for_many


async def test_several_wait_for_the_store_together_and_come_back_in_order() -> None:
    both = asyncio.Barrier(2)

    async def do(item: int) -> int:
        await both.wait()  # one after the other would wait for ever
        return item * 2

    async with asyncio.timeout(20):
        assert await for_many(range(120), do) == [item * 2 for item in range(120)]


async def test_what_fails_leaves_out_what_comes_after_its_group() -> None:
    done = list[int]()

    async def do(item: int) -> None:
        done.append(item)
        if item == 3:
            raise ValueError("locked")

    with pytest.raises(ValueError, match="locked"):
        await for_many(range(1000), do)
    assert 3 in done
    assert len(done) < 1000
