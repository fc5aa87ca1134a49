"""A real PostgreSQL on a free port, run by a user that may run one: it refuses root."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from deploy.local.servers import PLACE as SERVERS

NOBODY = 65534
# Becomes nobody and then the command: `setpriv` and `su` are not everywhere, Python is here.
DROP = "import os, sys; os.setgroups([]); os.setgid({id}); os.setuid({id}); os.execv(sys.argv[1], sys.argv[1:])"
AS_NOBODY = [sys.executable, "-c", DROP.format(id=NOBODY)]
SETTINGS = {"listen_addresses": "127.0.0.1", "fsync": "off", "max_connections": 20, "shared_buffers": "16MB"}


class Postgres:
    """One cluster; ``command`` starts its server. ``remove`` takes everything away again."""

    def __init__(self, port: int, servers: Path = SERVERS) -> None:
        self.port = port
        # Below no folder of ours: those may be closed to everybody but root.
        self.folder = Path(tempfile.mkdtemp(prefix="heypeter-postgres-"))
        self._become, self._programs = self._way(servers)

    def create(self) -> None:
        """Make the cluster; CalledProcessError has the words of initdb."""
        self.initdb()

    def initdb(self, *more: str) -> None:
        """As above, with more words for initdb."""
        # By the locale, the encoding might be another one.
        options = ["-U", "postgres", "--auth=trust", "--no-sync", "--encoding=UTF8"]
        words = ["-D", str(self.folder / "data"), *options, *more]
        command = [*self._become, str(self._programs / "initdb"), *words]
        subprocess.run(command, check=True, capture_output=True, cwd="/", text=True)

    def command(self) -> list[str]:
        """Give the command line of the server."""
        settings = {**SETTINGS, "port": self.port, "unix_socket_directories": self.folder}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [*self._become, str(self._programs / "postgres"), "-D", str(self.folder / "data"), *options]

    def is_ready(self) -> bool:
        """Say whether the server takes connections: the last line of its file says how it stands."""
        status = self.seen() / "postmaster.pid"
        return status.exists() and "ready" in status.read_text("utf-8")

    def seen(self) -> Path:
        """Give the folder of the data as we see it."""
        return self.folder / "data"

    def remove(self) -> None:
        """Remove the cluster's folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _way(self, servers: Path) -> tuple[list[str], Path]:
        """Find who runs it, and from where: root gives the work to nobody, who may not see a root's own folders."""
        programs = servers / "bin"
        if os.geteuid():
            return [], programs
        os.chown(self.folder, NOBODY, NOBODY)
        if not _runs([*AS_NOBODY, str(programs / "postgres"), "--version"]):
            unneeded = shutil.ignore_patterns("doc", "man", "locale", "perl*")
            shutil.copytree(servers, self.folder / "servers", symlinks=True, ignore=unneeded)
            (self.folder / "servers").chmod(0o755)
            programs = self.folder / "servers/bin"
        return AS_NOBODY, programs


def _runs(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False, cwd="/").returncode == 0
