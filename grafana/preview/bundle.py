"""Puts Grafana's components below .stack/preview once, as the lock file names them, and bundles the page with them."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from deploy.local.node import node_folder, node_path, npm

HERE = Path(__file__).resolve().parent
PLACE = HERE.parents[1] / ".stack/preview"
# What npm reads; a change of these installs anew, a change of the source only bundles anew.
PACKAGES = ("package.json", "package-lock.json", ".npmrc")


class BundleError(Exception):
    """npm or esbuild failed; the message has its output."""


def bundle(say: Callable[[str], None]) -> Path:
    """Give the folder of the built page, which is never changed again; BundleError says what failed."""
    PLACE.mkdir(parents=True, exist_ok=True)
    with (PLACE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        packages = _digest([HERE / name for name in PACKAGES])
        stamp = PLACE / "installed"
        if not stamp.exists() or stamp.read_text("ascii") != packages:
            say("fetching Grafana's components (once, about 440 MB on disk) …")
            _install()
            stamp.write_text(packages, "ascii")
        sources = sorted(path for path in (HERE / "src").rglob("*") if path.is_file())
        built = PLACE / "dist" / _digest([*(HERE / name for name in PACKAGES), HERE / "build.mjs", *sources])[:16]
        if not (built / "index.html").exists():
            _build(built)
    return built


def _digest(paths: list[Path]) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def _build(built: Path) -> None:
    shutil.rmtree(PLACE / "src", ignore_errors=True)
    shutil.copytree(HERE / "src", PLACE / "src")
    for name in ("build.mjs", "tsconfig.json"):
        shutil.copy(HERE / name, PLACE)
    _run("bundling the preview", [str(node_folder() / "node"), "build.mjs", str(built)])


def _install() -> None:
    (PLACE / "installed").unlink(missing_ok=True)
    for name in PACKAGES:
        shutil.copy(HERE / name, PLACE)
    _run("installing Grafana's components", [*npm(), "ci"])


def _run(what: str, command: list[str]) -> None:
    done = subprocess.run(  # noqa: S603  # npm and node of the locked packages
        command, cwd=PLACE, env={**os.environ, "PATH": node_path()}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BundleError(f"{what} failed:\n{done.stderr.strip()[-2000:]}")
