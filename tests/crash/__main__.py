"""``make crash``: kill the receiver hundreds of times, break all around it, check what is left, find planted bugs.

The histories stay in the folder; ``python -m tests.crash.check FILE`` reads one again.
"""

import argparse
import asyncio
import sys
import time
from pathlib import Path
from shutil import which

from tests.crash.check import faults, read, summary
from tests.crash.faults import runs
from tests.crash.program import PLANTED
from tests.crash.storm import kinds, run, run_without_kills

LEAST = 5  # hits of each kind
ENOUGH = 500  # kills, to ask for that
PLANTED_KILLS = 30


def main() -> int:
    """Give the exit status: 0 if nothing was lost, each kind was hit, and each planted bug was found."""
    parser = argparse.ArgumentParser(prog="tests.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--out", type=Path, default=Path("data/crash"))
    parser.add_argument("--faults", type=int, default=5, help="times that each fault of network, disk and clock is hit")
    parser.add_argument("--planted", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    folder: Path = options.out.absolute() / time.strftime("%Y%m%dT%H%M%S")
    print(
        f"seed {options.seed}; strace: {'yes' if which('strace') else 'not found, no kills at fdatasync'}", flush=True
    )
    (folder / "storm").mkdir(parents=True)
    began = time.monotonic()
    path, counts = asyncio.run(run(folder / "storm", options.seed, options.kills))
    print(
        f"{time.monotonic() - began:.0f} s; " + ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items()))
    )
    # A short run cannot hit each kind so often.
    rare = [kind for kind in kinds() if counts[kind] < LEAST] if options.kills >= ENOUGH else []
    failed = _report(path) + len(rare)
    print(f"hit fewer than {LEAST} times: {', '.join(k for k in kinds() if counts[k] < LEAST) or 'none'}", flush=True)
    for history in asyncio.run(run_without_kills(folder, options.seed)):
        failed += _report(history)
    if options.faults:
        failed += sum(_faults(folder, name, options.seed, options.faults) for name in runs())
    if options.planted:
        failed += sum(_not_found(folder, bug, options.seed) for bug in PLANTED)
    return 1 if failed else 0


def _report(path: Path) -> int:
    history = read(path)
    found = faults(history)
    print("\n".join((*found, f"{path}: {summary(history)}; {len(found)} faults")), flush=True)
    return len(found)


def _faults(folder: Path, name: str, seed: int, times: int) -> int:
    at = folder / name.replace(" ", "-")
    at.mkdir()
    history, hits = asyncio.run(runs()[name](at, seed, times))
    print(f"{name}: " + ", ".join(f"{kind} {count}" for kind, count in sorted(hits.items())), flush=True)
    rare = [kind for kind, count in hits.items() if count < times and count < LEAST and len(hits) > 1]
    if rare:
        print(f"{name}: hit too seldom: {', '.join(rare)}")
    return _report(history) + len(rare)


def _not_found(folder: Path, bug: str, seed: int) -> bool:
    at = folder / bug.replace(" ", "-")
    at.mkdir()
    path, _ = asyncio.run(run(at, seed, PLANTED_KILLS, bug))
    found = faults(read(path))
    print(f"planted: {bug}: {f'found, e.g. {found[0]}' if found else 'NOT FOUND'}", flush=True)
    return not found


if __name__ == "__main__":
    sys.exit(main())
