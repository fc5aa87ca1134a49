"""The built files are what their source gives, byte for byte."""

import gzip
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.local.node import node_path, npm

SOURCE = Path("exporter/rum")


@pytest.mark.browser
def test_a_rebuild_gives_the_same_bytes(tmp_path: Path) -> None:
    copy = tmp_path / "rum"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("node_modules", "rum.js", "rum.mjs", "rum.js.*"))
    for command in (["ci", "--no-audit", "--no-fund"], ["run", "build"]):
        done = subprocess.run(
            [*npm(), *command],
            cwd=copy,
            env={**os.environ, "PATH": node_path()},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    for name in ("rum.js", "rum.mjs", "rum.js.br"):
        assert (copy / name).read_bytes() == (SOURCE / name).read_bytes(), f"{name}: run npm ci && npm run build there"
    # zlib may pack differently on another processor.
    assert gzip.decompress((SOURCE / "rum.js.gz").read_bytes()) == (SOURCE / "rum.js").read_bytes()
