"""Fetches axe-core, which finds what people who use a keyboard or a screen reader cannot use, for the browser tests."""

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from deploy.local.node import node_path, npm

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / ".stack/axe/axe.min.js"
PACKAGE = "axe-core@4.14.1"
SHA256 = "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745"


def main() -> int:
    """Give the exit status: 0 even if it cannot be fetched; the test that needs it is then skipped."""
    if SCRIPT.exists():
        print("axe: found")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        command = [*npm(), "pack", PACKAGE, "--loglevel=error", "--ignore-scripts"]
        done = subprocess.run(  # npm of the locked packages, from the registry that it is set to
            command, cwd=folder, env={**os.environ, "PATH": node_path()}, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            print(f"axe: could not be fetched ({done.stderr.strip()[-500:]}); its test is skipped", file=sys.stderr)
            return 0
        packed = Path(folder, done.stdout.split()[-1])
        if hashlib.sha256(packed.read_bytes()).hexdigest() != SHA256:
            print(f"axe: {PACKAGE} is not the file that is expected", file=sys.stderr)
            return 1
        with tarfile.open(packed) as archive:
            member = archive.extractfile("package/axe.min.js")
            if member is None:
                raise SystemExit("axe: the package holds no axe.min.js")
            SCRIPT.parent.mkdir(parents=True, exist_ok=True)
            part = SCRIPT.with_suffix(".part")
            part.write_bytes(member.read())
            part.replace(SCRIPT)
    print("axe: fetched")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
