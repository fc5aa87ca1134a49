"""Puts PostgreSQL, Redis and nginx for the tests below .stack/, without touching the system: its own, or Debian's.

Programs that are here already are used. Otherwise the packages of this machine's own release are downloaded with all
that they need into a private root and unpacked there; none is installed, and none is ever started as a service.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

from deploy.local.apt import Apt, AptError, unpack
from deploy.local.browser import NOT_OURS

ROOT = Path(__file__).resolve().parents[2]
STACK = ROOT / ".stack"
PLACE = STACK / "servers"
PACKAGES = ["postgresql", "redis-server", "nginx"]
# program -> where a package puts it; PostgreSQL's are in a folder of their version, the newest is taken
PROGRAMS = {
    "postgres": "usr/lib/postgresql/*/bin/postgres",
    "initdb": "usr/lib/postgresql/*/bin/initdb",
    "redis-server": "usr/bin/redis-server",
    "nginx": "usr/sbin/nginx",
}
LAUNCHER = """#!/bin/sh
# Starts a program below .stack/servers with the libraries that came with it; see deploy/local/servers.py.
here=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
for folder in "$here"/root/usr/lib/*-linux-gnu* "$here"/root/lib/*-linux-gnu* "$here"/root/usr/lib; do
  [ -d "$folder" ] && LD_LIBRARY_PATH="$folder:$LD_LIBRARY_PATH"
done
export LD_LIBRARY_PATH
exec "$here/root/{program}" "$@"
"""


def runs(program: Path) -> bool:
    """Say whether this server starts far enough to tell its version."""
    try:
        words = [str(program), "-v" if program.name == "nginx" else "--version"]
        return subprocess.run(words, capture_output=True, check=False, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def newest(root: Path, pattern: str) -> Path | None:
    """Find a program where its package puts it."""

    def number(path: Path) -> int:
        return max((int(part) for part in path.parts if part.isdigit()), default=0)

    return max(root.glob(pattern), key=number, default=None)


def own() -> dict[str, Path]:
    """Find those that this machine has: where packages put them, or on PATH."""
    path_of_program = {name: newest(Path("/"), pattern) or shutil.which(name) for name, pattern in PROGRAMS.items()}
    return {name: Path(place) for name, place in path_of_program.items() if place and runs(Path(place))}


def fetch() -> None:
    """Download, unpack, try, and only then put in place; AptError leaves what was there."""
    print("  fetching PostgreSQL, Redis and nginx from this machine's own release (once, about 100 MB) …", flush=True)
    apt = Apt(STACK / "apt/servers", None)
    apt.update()
    fresh = STACK / f"servers-{os.getpid()}"
    try:
        for deb in apt.closure(PACKAGES):
            if not deb.name.startswith(NOT_OURS):
                unpack(deb, fresh)
            deb.unlink()
        shutil.rmtree(PLACE / "root", ignore_errors=True)
        fresh.rename(PLACE / "root")
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def link(path_of_program: dict[str, Path]) -> None:
    """Write the launchers: of this machine's programs, and of what was fetched."""
    folder = PLACE / "bin"
    folder.mkdir(exist_ok=True)
    for name, pattern in PROGRAMS.items():
        (folder / name).unlink(missing_ok=True)
        if name in path_of_program:
            (folder / name).symlink_to(path_of_program[name])
            continue
        place = newest(PLACE / "root", pattern)
        if place is None:
            raise AptError(f"the packages do not contain {name} in the expected place")
        (folder / name).write_text(LAUNCHER.replace("{program}", str(place.relative_to(PLACE / "root"))), "utf-8")
        (folder / name).chmod(0o755)
        if not runs(folder / name):
            raise AptError(f"the fetched {name} does not run here")


def main() -> int:
    """Give the exit status: 0 even if they cannot be fetched; the tests that need them are then skipped."""
    PLACE.mkdir(parents=True, exist_ok=True)
    with (STACK / "servers.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if all(runs(PLACE / "bin" / name) for name in PROGRAMS):
            print("servers: PostgreSQL, Redis and nginx found")
            return 0
        path_of_program = {} if os.environ.get("HEYPETER_FETCH_SERVERS") else own()
        try:
            if set(path_of_program) != set(PROGRAMS):
                fetch()
            link(path_of_program)
        except (AptError, subprocess.CalledProcessError, OSError) as error:
            shutil.rmtree(PLACE / "bin", ignore_errors=True)
            print(
                f"servers: not installed and could not be fetched ({error}); their tests are skipped", file=sys.stderr
            )
            return 0
    print("servers: PostgreSQL, Redis and nginx are ready")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
