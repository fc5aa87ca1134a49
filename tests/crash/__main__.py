"""``make crash``: kill the receiver hundreds of times, break all around it, check what is left, find planted bugs.

The histories stay in the folder; ``python -m tests.crash.check FILE`` reads one again.
"""

import argparse
import asyncio
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from shutil import which
from typing import Any, TypeVar

from deploy.local.servers import PLACE as SERVERS
from tests.crash import several
from tests.crash.check import faults, read, summary
from tests.crash.faults import Run as Faults
from tests.crash.faults import runs
from tests.crash.flood import Flood, FloodOfSeveral, flood
from tests.crash.full import can_mount, full
from tests.crash.installation import Installation, OnPostgres, OnSQLite
from tests.crash.program import PLANTED
from tests.crash.storm import kinds, outlive_leases, run, set_the_clock

C = TypeVar("C", bound=dict[str, int])
Run = Coroutine[Any, Any, tuple[Path, Counter[str]]]
LEAST = 5  # hits of each kind
ENOUGH = 500  # kills, to ask for that
PLANTED_KILLS = 30
PLANTED_STORMS = 4  # a short storm finds "no lane order" in three of four cases: it must kill between two of a lane
MOMENTS = 15  # kills of one of several receivers for each hundred of one alone


def main() -> int:
    """Give the exit status: 0 if nothing was lost, each kind was hit, and each planted bug was found."""
    parser = argparse.ArgumentParser(prog="tests.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--out", type=Path, default=Path("data/crash"))
    parser.add_argument("--store", choices=("sqlite", "postgres", "both"), default="both")
    parser.add_argument("--faults", type=int, default=5, help="times that each fault of network, disk and clock is hit")
    parser.add_argument(
        "--incidents", type=int, help="only a flood of so many incidents: one receiver on SQLite, three on PostgreSQL"
    )
    parser.add_argument("--rate", type=float, default=40.0, help="incidents in a second of a flood")
    parser.add_argument("--planted", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    folder: Path = options.out.absolute() / time.strftime("%Y%m%dT%H%M%S")
    strace = "yes" if which("strace") else "not found: no kills at fdatasync, and no faults of the disk"
    print(f"seed {options.seed}; strace: {strace}", flush=True)
    failed = 0
    on_sqlite, on_postgres = (_flood_sqlite, _flood_postgres) if options.incidents else (_on_sqlite, _on_postgres)
    if options.store != "postgres":
        failed += on_sqlite(_new(folder / "sqlite"), options)
    if options.store != "sqlite" and not (SERVERS / "bin").exists():
        print("no PostgreSQL: see `make servers`")
    elif options.store != "sqlite":
        failed += on_postgres(_new(folder / "postgres"), options)
    return 1 if failed else 0


def _flood_sqlite(folder: Path, options: argparse.Namespace) -> int:
    return _flood(folder, Flood(folder, options.seed), options)


def _flood_postgres(folder: Path, options: argparse.Namespace) -> int:
    return _flood(folder, FloodOfSeveral(folder, options.seed), options)


def _flood(folder: Path, storm: Flood | FloodOfSeveral, options: argparse.Namespace) -> int:
    began = time.monotonic()
    path, counts = _run(folder, flood(storm, options.incidents, options.kills, options.rate))
    print(
        f"{time.monotonic() - began:.0f} s; " + ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items()))
    )
    return _report(path)


def _on_sqlite(folder: Path, options: argparse.Namespace) -> int:
    failed = _kill(folder, options, OnSQLite)
    for name, storm in (("leases", outlive_leases), ("clock set", set_the_clock)):
        at = _new(folder / name)
        failed += _report(_run(at, storm(at, options.seed))[0])
    if options.faults:
        failed += sum(_faults(folder, name, storm, options) for name, storm in runs().items())
    if options.planted:
        failed += sum(not_found(folder, bug, options.seed, planted_on_sqlite) for bug in PLANTED)
    return failed


def _on_postgres(folder: Path, options: argparse.Namespace) -> int:
    failed = _kill(folder, options, lambda _folder: OnPostgres())
    at = _new(folder / "leases")
    failed += _report(_run(at, outlive_leases(at, options.seed, OnPostgres()))[0])
    kills = max(1, options.kills * MOMENTS // 100)
    some = max(1, kills // MOMENTS)
    at = _new(folder / "several")
    path, counts = _run(at, several.run(at, options.seed, kills, max(3, kills), pauses=some, restarts=some))
    print(f"{several.RECEIVERS} receivers: " + ", ".join(f"{what} {count}" for what, count in sorted(counts.items())))
    failed += _report(path)
    if options.faults and can_mount():
        failed += _faults(folder, "full disk", full, options)
    elif options.faults:
        print("no full disk: only root may mount a small one")
    if options.planted:
        failed += sum(not_found(folder, bug, options.seed, planted_on_postgres) for bug in PLANTED)
    return failed


def planted_on_sqlite(folder: Path, bug: str, seed: int) -> Run:
    """Give the storm that finds a bug on SQLite."""
    return run(folder, seed, PLANTED_KILLS, bug)


def planted_on_postgres(folder: Path, bug: str, seed: int) -> Run:
    """As above, on PostgreSQL."""
    if bug == "lease by local clock":
        return several.run(folder, seed, 0, 0, bug, pauses=0, restarts=0)
    return run(folder, seed, PLANTED_KILLS, bug, on=OnPostgres())


def _kill(folder: Path, options: argparse.Namespace, install: Callable[[Path], Installation]) -> int:
    at, began = _new(folder / "storm"), time.monotonic()
    installation = install(at)
    path, counts = _run(at, run(at, options.seed, options.kills, on=installation))
    hits = ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items()))
    print(f"{time.monotonic() - began:.0f} s; {hits}")
    wanted = kinds(installation.statements)
    rare = [kind for kind in wanted if counts[kind] < LEAST]
    print(f"hit fewer than {LEAST} times: {', '.join(rare) or 'none'}", flush=True)
    # A short run cannot hit each kind so often.
    return _report(path) + (len(rare) if options.kills >= ENOUGH else 0)


def _new(folder: Path) -> Path:
    folder = folder.with_name(folder.name.replace(" ", "-"))
    folder.mkdir(parents=True)
    return folder


def _run(folder: Path, storm: Coroutine[Any, Any, tuple[Path, C]]) -> tuple[Path, Counter[str]]:
    """Give the history and what was hit, also of a storm that has failed: its history says so."""
    try:
        path, counts = asyncio.run(storm)
    except Exception:  # noqa: BLE001  # whatever it is, the history says it, too
        traceback.print_exc()
        path = folder / "history.jsonl"
        return path, Counter(death["how"] for death in read(path).deaths.values())
    return path, Counter(counts)


def _report(path: Path) -> int:
    history = read(path)
    found = faults(history)
    print("\n".join((*found, f"{path}: {summary(history)}; {len(found)} faults")), flush=True)
    return len(found)


def _faults(folder: Path, name: str, storm: Faults, options: argparse.Namespace) -> int:
    at, times = _new(folder / name), options.faults
    history, hits = _run(at, storm(at, options.seed, times))
    print(f"{name}: " + ", ".join(f"{kind} {count}" for kind, count in sorted(hits.items())), flush=True)
    rare = [kind for kind, count in hits.items() if count < times and len(hits) > 1]
    if rare:
        print(f"{name}: hit too seldom: {', '.join(rare)}")
    return _report(history) + len(rare)


def not_found(folder: Path, bug: str, seed: int, planted: Callable[[Path, str, int], Run]) -> bool:
    """Say whether a few short storms with a bug all pass, and print what was found."""
    found, tried = list[str](), 0
    while not found and tried < PLANTED_STORMS:
        at = _new(folder / f"{bug} {tried}")
        path, _ = _run(at, planted(at, bug, seed + tried))
        found, tried = [fault for fault in faults(read(path)) if not fault.startswith("unfinished")], tried + 1
    print(f"planted: {bug}: {f'found in storm {tried}, e.g. {found[0]}' if found else 'NOT FOUND'}", flush=True)
    return not found


if __name__ == "__main__":
    sys.exit(main())
