"""One run for all who ask at once, and one more for all who ask while it runs."""

import asyncio

import pytest

from process.coalescing import Coalesced


class Job:
    def __init__(self) -> None:
        self.runs = 0
        self.began, self.go = asyncio.Queue[int](), asyncio.Queue[Exception | None]()

    async def __call__(self) -> int:
        self.runs += 1
        run = self.runs
        self.began.put_nowait(run)
        failure = await self.go.get()
        if failure:
            raise failure
        return run


async def test_who_asks_while_it_runs_shares_the_next_run() -> None:
    job = Job()
    once = Coalesced(job)
    first = [once.ask() for _ in range(3)]
    assert await job.began.get() == 1
    others = [once.ask() for _ in range(40)]
    job.go.put_nowait(None)
    assert await job.began.get() == 2
    third = once.ask()  # the second run may have read already what has changed since
    job.go.put_nowait(None)
    job.go.put_nowait(None)
    assert await asyncio.gather(*first, *others, third) == [1] * 3 + [2] * 40 + [3]
    assert job.runs == 3


async def test_a_run_that_fails_tells_its_own_and_does_not_end_the_next() -> None:
    job = Job()
    once = Coalesced(job)
    first = once.ask()
    assert await job.began.get() == 1
    second = once.ask()
    job.go.put_nowait(OSError("no"))
    job.go.put_nowait(None)
    with pytest.raises(OSError, match="no"):
        await first
    assert await second == 2


async def test_it_runs_again_when_nobody_runs() -> None:
    job = Job()
    once = Coalesced(job)
    for run in (1, 2):
        job.go.put_nowait(None)
        assert await once.ask() == run
