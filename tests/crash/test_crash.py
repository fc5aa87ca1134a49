"""The short form of ``make crash``, and what its checker finds in histories that are wrong."""

import json
import random
from collections.abc import Callable, Coroutine
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from deploy.local.servers import PLACE as SERVERS
from tests.crash import several
from tests.crash.__main__ import not_found, planted_on_postgres, planted_on_sqlite
from tests.crash.check import History, Line, faults, main, read
from tests.crash.faults import Outcome, clock, disk, network, torn
from tests.crash.flood import Flood, FloodOfSeveral, flood
from tests.crash.full import can_mount, full
from tests.crash.program import PLANTED
from tests.crash.storm import Storm, run

KILLS, DIED, FIRED = 5, 100.0, 90.0
NO_SERVER = pytest.mark.skipif(not (SERVERS / "bin").exists(), reason="no PostgreSQL: see `make servers`")
Few = Callable[[Path, int, int, int], Coroutine[Any, Any, Outcome]]


@pytest.mark.story
async def test_nothing_is_lost_in_a_storm_with_kills(tmp_path: Path) -> None:
    seed = random.randrange(1_000_000)  # noqa: S311  # printed, and to be repeated
    print(f"seed {seed}")  # noqa: T201  # pytest shows it when the test fails
    path, counts = await run(tmp_path, seed, KILLS)
    assert sum(counts.values()) == KILLS
    assert main(path) == 0


@pytest.mark.story
@pytest.mark.parametrize("which_fails", [["network"], ["torn", "clock", *(["disk"] if which("strace") else [])]])
async def test_nothing_is_lost_when_something_else_fails(tmp_path: Path, which_fails: list[str]) -> None:
    seed = random.randrange(1_000_000)  # noqa: S311  # as above
    name = random.Random(seed).choice(which_fails)  # noqa: S311  # as above
    print(f"seed {seed}: {name}")  # noqa: T201  # as above
    run_few: Few = {"network": network, "torn": torn, "clock": clock, "disk": disk}[name]
    path, hits = await run_few(tmp_path, seed, 1, 1)
    assert set(hits.values()) == {1}
    assert main(path) == 0


@pytest.mark.story
@NO_SERVER
async def test_nothing_is_lost_when_one_of_several_receivers_dies(tmp_path: Path) -> None:
    seed = random.randrange(1_000_000)  # noqa: S311  # as above
    print(f"seed {seed}")  # noqa: T201  # as above
    path, hits = await several.run(tmp_path, seed, 1, 1, pauses=0, restarts=0)
    assert hits["kill"] == 1
    assert main(path) == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Flood, pytest.param(FloodOfSeveral, marks=NO_SERVER)])
async def test_nothing_is_lost_in_a_flood(tmp_path: Path, kind: type[Flood | FloodOfSeveral]) -> None:
    path, hits = await flood(kind(tmp_path, 5), 100, 3, 40.0)
    assert sum(hits.values()) >= 3
    assert main(path) == 0


@pytest.mark.slow
@NO_SERVER
@pytest.mark.skipif(not can_mount(), reason="only root may mount a small disk")
async def test_nothing_is_lost_when_the_disk_of_postgresql_is_full(tmp_path: Path) -> None:
    path, hits = await full(tmp_path, 5, 1)
    assert hits == {"tables": 1, "log": 1}
    assert main(path) == 0


@pytest.mark.slow
@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found(tmp_path: Path, bug: str) -> None:
    assert not not_found(tmp_path, bug, 5, planted_on_sqlite)


@pytest.mark.slow
@NO_SERVER
@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found_on_postgresql(tmp_path: Path, bug: str) -> None:
    assert not not_found(tmp_path, bug, 5, planted_on_postgres)


def request(what: str, at: float, outcome: str = "acknowledged") -> Line:
    return {
        "type": "request",
        "title": "storm-00001",
        "what": what,
        "began": at,
        "at": at,
        "outcome": outcome,
        "told": {"incident": 1},
    }


def sent(at: float, kind: str = "page", life: int = 1, target: str = "linh@example.com") -> Line:
    return {
        "type": "send",
        "channel": "email",
        "target": target,
        "kind": kind,
        "identity": "1",
        "titles": ["storm-00001"],
        "at": at,
        "life": life,
    }


def rung(at: float, kind: str = "page", life: int = 1) -> Line:
    return {**sent(at, kind, life, "engineers"), "channel": "pagerduty", "identity": "heypeter-1-5.0/engineers"}


def incident(state: str = "acknowledged", *kinds: str, number: int = 1) -> Line:
    lines = [{"at": "2026-11-26T10:00:00Z", "kind": kind} for kind in ("opened", "alert_firing", *kinds)]
    return {"type": "incident", "id": number, "title": "storm-00001: it fires", "state": state, "timeline": lines}


def told(channel: str, address: str) -> Line:
    line = {"at": "2026-11-26T10:00:01Z", "kind": "told", "data": {"channel": channel, "address": address}}
    stored = incident("acknowledged", "acknowledged")
    return {**stored, "timeline": [*stored["timeline"], line]}


BEGIN: Line = {"type": "run", "planted": "", "step": 3.0}
LEASED: Line = {**BEGIN, "lease": 8.0}
SLOW: Line = {**request("resolve", 96.0, "unknown"), "began": 91.0, "title": "storm-00002"}
FIRE, ACK = request("fire", FIRED), request("acknowledge", FIRED + 2)
DEATH = {"type": "death", "life": 1, "how": "random", "at": DIED}
LOST = {"type": "fault", "channel": "email", "kind": "half answer", "lost": True, "at": 90.9}
DUTY = {"type": "duty", "change": 95.0, "before": "linh@example.com", "after": "aisha@example.com", "at": 80.0}
ACKED = incident("acknowledged", "acknowledged")


def rules(*lines: Line) -> set[str]:
    written = json.loads(json.dumps([*lines, BEGIN, {"type": "end"}]))
    return {fault.split(":")[0] for fault in faults(History(written))}


@pytest.mark.parametrize(
    ("lines", "rule"),
    [
        ((FIRE, ACK, sent(91.0), ACKED, DEATH), None),
        ((FIRE, request("acknowledge", DIED + 2), sent(DIED - 1), sent(DIED + 1, life=2), DEATH, ACKED), None),
        ((FIRE, sent(91.0), sent(93.5, target="marek@example.com"), incident("triggered")), None),
        ((FIRE,), "lost"),
        ((FIRE, sent(91.0), incident("triggered")), "lost"),
        ((FIRE, sent(93.5, target="marek@example.com"), incident("triggered")), "lost"),
        ((FIRE, ACK, sent(92.5, target="marek@example.com"), ACKED), "early"),
        ((FIRE, ACK, sent(FIRED - 1), ACKED), "early"),
        ((FIRE, ACK, sent(93.0, "acknowledged"), sent(93.1), ACKED), "disordered"),
        ((FIRE, ACK, ACKED, incident("acknowledged", "acknowledged", number=2)), "not one"),
        ((FIRE, ACK, rung(91.0), rung(92.0, "resolved"), rung(93.0), ACKED), "rung twice"),
        ((LEASED, FIRE, ACK, sent(91.0), sent(92.5, life=2), DEATH | {"at": 99.0}, ACKED), "repeated"),
        ((LEASED, FIRE, ACK, sent(91.0), sent(92.5, life=2), SLOW, DEATH | {"at": 99.0}, ACKED), None),
        ((FIRE, ACK, sent(91.0), sent(92.5, life=2), SLOW, DEATH | {"at": 99.0}, ACKED), "repeated"),
        ((FIRE, ACK, rung(91.0), rung(92.5, "acknowledged"), ACKED), None),
        ((FIRE, ACK, rung(91.0), ACKED), "left open"),
        ((FIRE, ACK, rung(91.0), rung(92.5, "acknowledged"), rung(93.0), DEATH, ACKED), "disordered"),
        ((FIRE, ACK, sent(91.0), sent(91.5), DEATH, ACKED), "repeated"),
        ((FIRE, ACK, LOST, sent(91.0), sent(91.5), ACKED), None),
        ((DUTY, FIRE, ACK, sent(91.0, target="aisha@example.com"), ACKED), "wrong person"),
        ((DUTY, FIRE, ACK, sent(91.0), ACKED), None),
        ((FIRE, ACK, sent(91.0), sent(DIED + 1, life=2), DEATH, ACKED), "repeated"),
        ((FIRE, ACK, sent(FIRED + 9), ACKED), "after the answer"),
        ((FIRE, ACK, sent(91.0), incident("triggered")), "timelines"),
        ((FIRE, ACK, sent(91.0), incident("acknowledged", "acknowledged", "acknowledged")), "timelines"),
        ((FIRE, ACK, ACKED, {"type": "database", "integrity": "row 3 missing from index"}), "damaged"),
        ((FIRE, ACK, told("email", "linh@example.com")), "told unsent"),
        ((FIRE, ACK, ACKED, {"type": "people", "waiting": 1}), "unanswered"),
        ((FIRE, ACK, ACKED, {"type": "rest", "owed": "coming"}), "unfinished"),
        ((FIRE, {"type": "rest", "owed": "stuck"}), "lost"),
        ((FIRE, ACK, ACKED, {"type": "failed", "error": "TimeoutError()"}), "unfinished"),
    ],
)
def test_the_checker_finds(lines: tuple[Line, ...], rule: str | None) -> None:
    found = rules(*lines)
    assert (rule in found) if rule else not found, found


def test_a_history_that_was_broken_off_is_checked_as_far_as_it_goes(tmp_path: Path) -> None:
    lines = (BEGIN, FIRE, sent(91.0), sent(92.0), {"type": "inc"})
    path = tmp_path / "history.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines)[:-3], "utf-8")
    assert {fault.split(":")[0] for fault in faults(read(path))} == {"unfinished", "repeated"}


class _Failing(Storm):
    async def calm_down(self) -> None:
        raise TimeoutError("the machine was busy")


async def test_a_storm_that_fails_leaves_its_history(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError):
        async with _Failing(tmp_path, 1) as storm:
            await storm.calm_down()
    found = faults(read(tmp_path / "history.jsonl"))
    assert found[0] == "unfinished: TimeoutError('the machine was busy')"
