"""Runs the tests of the rules with the promtool of every Debian suite that `make stack` may fetch from.

Each is fetched once below .stack/promtool/. Versions that cannot be fetched are printed, and the run fails.
"""

import subprocess
import sys
from pathlib import Path

from deploy.local.apt import Apt, AptError, check, unpack
from deploy.local.pins import SHA256

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".stack/promtool"
# suite -> the package that promtool is in: before trixie it was part of prometheus
SUITES = {"bookworm": "prometheus", "trixie": "promtool", "sid": "promtool"}


def promtool(suite: str) -> Path:
    """Give the promtool of a suite, fetched if it is not there."""
    program = FOLDER / suite / "usr/bin/promtool"
    if not program.exists():
        print(f"  fetching promtool of {suite} …", flush=True)
        apt = Apt(FOLDER / f"apt-{suite}", suite)
        apt.update()
        for deb in apt.download([SUITES[suite]]):
            check(deb, SHA256)
            unpack(deb, FOLDER / suite)
            deb.unlink()
    return program


def passes(suite: str, files: list[str]) -> bool:
    """Run all tests with one version and say how it went."""
    try:
        program = promtool(suite)
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
        done = subprocess.run([program, "test", "rules", *files], capture_output=True, text=True, check=False, cwd=ROOT)
    except (AptError, OSError) as error:
        print(f"{suite}: promtool does not run here: {error}")
        return False
    version = (said.stdout + said.stderr).split()[2:3]
    failed = "" if done.returncode == 0 else f"\n{done.stdout}{done.stderr}"
    print(
        f"{suite}: promtool {''.join(version)}: {len(files)} files of tests {'pass' if not failed else 'fail'}{failed}"
    )
    return not failed


def main(suites: list[str]) -> int:
    """0 when all tests pass with the promtool of each suite."""
    unknown = [suite for suite in suites if suite not in SUITES]
    if unknown:
        sys.stderr.write(f"unknown suite {unknown[0]!r} (expected {', '.join(SUITES)})\n")
        return 1
    files = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "rules/tests").glob("*.yml"))]
    passed = [passes(suite, files) for suite in suites or SUITES]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
