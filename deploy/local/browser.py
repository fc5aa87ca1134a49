"""Puts a Chromium for the browser tests below .stack/, without touching the system: the machine's own, or Debian's.

Debian's chromium-headless-shell and the libraries that it needs are downloaded by apt into a private root and unpacked
there. The C library stays the machine's own, so the packages are those of the machine's own release.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

from deploy.local.apt import Apt, AptError, unpack

ROOT = Path(__file__).resolve().parents[2]
STACK = ROOT / ".stack"
PACKAGES = ["chromium-headless-shell", "fonts-dejavu-core", "fontconfig-config"]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chromium-headless-shell")
# Of the machine, whose loader would not take another's.
NOT_OURS = (
    "libc6_",
    "libc-bin_",
    "libgcc-s1_",
    "gcc-",
    "libcrypt1_",
    "debconf_",
    "dpkg_",
    "perl-base_",
    "tar_",
    "base-files_",
)
LAUNCHER = """#!/bin/sh
# Starts the Chromium below .stack/chromium with its own libraries and fonts; see deploy/local/browser.py.
here=$(CDPATH= cd -- "$(dirname -- "$0")/../chromium" && pwd)
for folder in "$here"/usr/lib/*-linux-gnu* "$here"/lib/*-linux-gnu* "$here"/usr/lib; do
  [ -d "$folder" ] && LD_LIBRARY_PATH="$folder:$folder/pulseaudio:$LD_LIBRARY_PATH"
done
export LD_LIBRARY_PATH FONTCONFIG_FILE="$here/fonts.conf" XDG_DATA_DIRS="$here/usr/share"
exec "$here/{program}" "$@"
"""
FONTS = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{folder}/usr/share/fonts</dir><cachedir>{folder}/cache</cachedir></fontconfig>
"""


def runs(program: Path | str) -> bool:
    """Say whether this Chromium shows a page."""
    page = "data:text/html,<h1>it runs</h1>"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--dump-dom", page]
    folder = STACK / f"profile-{os.getpid()}"
    try:
        done = subprocess.run(
            [str(program), f"--user-data-dir={folder}", *flags], capture_output=True, text=True, check=False, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return "it runs" in done.stdout


def fetch() -> None:
    """Download, unpack, try, and only then put in place; AptError leaves what was there."""
    print("  fetching Chromium from this machine's own release (once, about 100 MB) …", flush=True)
    apt = Apt(STACK / "apt/browser", None)  # not another's: they may run beside each other
    apt.update()
    fresh = STACK / f"chromium-{os.getpid()}"
    try:
        for deb in apt.closure(PACKAGES):
            if not deb.name.startswith(NOT_OURS):
                unpack(deb, fresh)
            deb.unlink()
        (fresh / "fonts.conf").write_text(FONTS.format(folder=STACK / "chromium"), "utf-8")
        shutil.rmtree(STACK / "chromium", ignore_errors=True)
        fresh.rename(STACK / "chromium")
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def launcher() -> str:
    """Find the program among what was unpacked."""
    for pattern in (
        "usr/lib/chromium/headless_shell",
        "usr/lib/chromium/chromium-headless-shell",
        "usr/lib/chromium*/*headless*shell",
    ):
        for path in sorted((STACK / "chromium").glob(pattern)):
            if os.access(path, os.X_OK):
                return LAUNCHER.replace("{program}", str(path.relative_to(STACK / "chromium")))
    raise AptError("the package does not contain a headless shell in the expected place")


def _try(program: Path) -> None:
    if not runs(program):
        raise AptError("the fetched Chromium does not render a page")


def main() -> int:
    """Give the exit status: 0 even if none can be fetched; the tests that need one are then skipped."""
    (STACK / "bin").mkdir(parents=True, exist_ok=True)
    place = STACK / "browser"  # not in bin, which stack.py recreates
    place.mkdir(exist_ok=True)
    program = place / "chromium"
    with (STACK / "browser.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if program.exists() and runs(program):
            print("browser: Chromium found")
            return 0
        own = next((path for name in NAMES if (path := shutil.which(name)) and runs(path)), None)
        if own and not os.environ.get("HEYPETER_FETCH_BROWSER"):
            program.write_text(f'#!/bin/sh\nexec {own} "$@"\n', "utf-8")
            program.chmod(0o755)
            print(f"browser: {own}")
            return 0
        try:
            fetch()
            program.write_text(launcher(), "utf-8")
            program.chmod(0o755)
            _try(program)
        except (AptError, subprocess.CalledProcessError, OSError) as error:
            program.unlink(missing_ok=True)
            print(
                f"browser: Chromium is not installed and could not be fetched ({error}); its tests are skipped",
                file=sys.stderr,
            )
            return 0
    print("browser: Chromium fetched")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
