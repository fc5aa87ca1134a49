"""The stories' database runs wherever the project lies, below a folder of root's too, which nobody else may enter."""

import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.local.postgres import Postgres
from deploy.local.servers import PLACE as SERVERS

pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(not (SERVERS / "bin").exists(), reason="no PostgreSQL, Redis and nginx: see `make servers`"),
]


def test_a_cluster_is_made_and_its_server_finds_it_although_its_programs_lie_in_a_closed_folder(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    shutil.copytree(SERVERS / "bin", closed / "bin", symlinks=True)
    if (SERVERS / "root").exists():
        (closed / "root").symlink_to(SERVERS / "root")
    closed.chmod(0o700)
    database = Postgres(5432, closed)
    try:
        database.create()
        asked = [*database.command(), "-C", "max_connections"]
        assert subprocess.run(asked, capture_output=True, text=True, check=True, cwd="/").stdout == "20\n"
    finally:
        database.remove()
    assert not database.folder.exists()
