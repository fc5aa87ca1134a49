"""Puts VictoriaMetrics below .stack/ for the tests of long-term storage, without touching the system.

Programs on PATH are linked; otherwise Debian's package is downloaded and unpacked there, from the newest suite whose
programs run on this machine. It is apart from the stack, because nothing but these tests needs it.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

from deploy.local.apt import Apt, AptError, check, unpack
from deploy.local.pins import SHA256
from deploy.local.stack import STACK, suites

PLACE = STACK / "victoria-metrics"
# The database; what copies a Prometheus' history into it; what evaluates rules on it.
PROGRAMS = ("victoria-metrics", "vmctl", "vmalert")


def runs(program: Path) -> bool:
    """Say whether it starts; not all of them know --version."""
    try:
        return subprocess.run([program, "--help"], capture_output=True, check=False, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def complete(folder: Path) -> bool:
    """Say whether all of them are there and start."""
    return all(runs(folder / name) for name in PROGRAMS)


def fetch(suite: str | None, fresh: Path) -> str:
    """Fill ``fresh`` with the programs of a suite, and give their version; AptError if they do not run here."""
    apt = Apt(STACK / "apt" / (suite or "own"), suite)
    apt.update()
    (deb,) = apt.download(["victoria-metrics"])
    unpacked = fresh / "unpacked"
    try:
        if not check(deb, SHA256):
            print(f"  {deb.name}: no pinned checksum; verified by the archive's signature only")
        unpack(deb, unpacked)
        for name in PROGRAMS:
            (unpacked / "usr/bin" / name).rename(fresh / name)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
        deb.unlink()
    if not complete(fresh):
        raise AptError("they do not run here")
    return deb.name.split("_")[1].partition("+")[0]


def install(fresh: Path) -> str:
    """Fill ``fresh`` from PATH or the first suite that has programs that run; AptError lists why each failed."""
    places = {name: shutil.which(name) for name in PROGRAMS}
    if all(place and runs(Path(place)) for place in places.values()):
        for name, place in places.items():
            (fresh / name).symlink_to(str(place))
        return "on PATH"
    print("  fetching VictoriaMetrics (once, 57 MB) …", flush=True)
    reasons = []
    for suite in suites():
        try:
            return fetch(suite, fresh)
        except (AptError, subprocess.CalledProcessError, OSError) as error:
            reasons.append(f"{suite or 'own packages'}: {error}")
    raise AptError("; ".join(reasons))


def main() -> int:
    """Give the exit status: 0 even if it cannot be fetched; the tests that need it are then skipped."""
    STACK.mkdir(exist_ok=True)
    with (STACK / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as `make stack`: both use the same folders of apt
        if complete(PLACE):
            print(f"victoria-metrics: {(PLACE / 'version').read_text('utf-8')}")
            return 0
        fresh = STACK / f"victoria-metrics-{os.getpid()}"
        fresh.mkdir()
        try:
            (fresh / "version").write_text(install(fresh), "utf-8")
            shutil.rmtree(PLACE, ignore_errors=True)
            fresh.rename(PLACE)
        except AptError as error:
            print(f"victoria-metrics: could not be fetched ({error}); its tests are skipped", file=sys.stderr)
            return 0
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    print(f"victoria-metrics: {(PLACE / 'version').read_text('utf-8')}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
