"""Starts what others have made to compare with: Alerta on PostgreSQL, from PyPI and Debian, with nothing installed.

`python -m bench.peers` puts Alerta into an environment of its own below .stack/, never into .venv, and uvloop beside
it.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL

from bench.load import ROOT, core, cpu_of, python
from deploy.local.ports import free_port
from deploy.local.postgres import Postgres
from deploy.local.servers import PLACE as SERVERS

PLACE = ROOT / ".stack/peers"
PACKAGES = ("alerta-server==9.1.0", "gunicorn==27.0.1", "psycopg2-binary==2.9.13", "setuptools<81")
UVLOOP, UVLOOP_PACKAGE = PLACE / "uvloop", "uvloop==0.23.0"
# As its documentation has it for production (docs.alerta.io/deployment.html), without the login.
CONFIG = """
SECRET_KEY = 'only for a benchmark'
DATABASE_URL = 'postgresql://postgres@127.0.0.1:{port}/postgres'
AUTH_REQUIRED = False
LOG_HANDLERS = []
"""
PROCESSES, THREADS = 2, 4  # a single one would wait for the disk with each transaction
PATIENCE = 60.0


class Alerta:
    """A running Alerta: its port, and the CPU of its processes and PostgreSQL's."""

    def __init__(self, port: int, processes: list[subprocess.Popen[bytes]]) -> None:
        self.port = port
        self._pids = [process.pid for process in processes]

    def cpu(self) -> float:
        """Seconds of CPU that they have used."""
        return cpu_of(*self._pids)


def fetch() -> str:
    """Install Alerta and uvloop; gives why that cannot be done, else nothing."""
    wanted = "\n".join([*PACKAGES, UVLOOP_PACKAGE])
    stamp = PLACE / "installed"
    if stamp.exists() and stamp.read_text("utf-8") == wanted:
        return ""
    shutil.rmtree(PLACE, ignore_errors=True)
    pip = [str(PLACE / "bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    uvloop = [*pip, "--no-deps", "--target", str(UVLOOP), UVLOOP_PACKAGE]
    for command in (python("-m", "venv", str(PLACE)), [*pip, *PACKAGES], uvloop):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"{' '.join(command[:4])} …: {done.stderr.strip()[-300:]}"
    stamp.write_text(wanted, "utf-8")
    return ""


def missing() -> str:
    """Say what Alerta lacks here; empty if it can be started."""
    if not (PLACE / "installed").exists():
        return "Alerta is not here: python -m bench.peers"
    if not (SERVERS / "bin/postgres").exists():
        return "PostgreSQL is not here: make servers"
    return ""


@contextmanager
def alerta() -> Iterator[Alerta]:
    """Run Alerta on a PostgreSQL that syncs each commit, all on the first core."""
    port, database = free_port(), Postgres(free_port())
    processes: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory() as name:
        config, log = Path(name) / "alertad.conf", Path(name) / "log"
        config.write_text(CONFIG.format(port=database.port), "utf-8")
        server = [str(PLACE / "bin/python"), "-m", "gunicorn"]  # its script names the folder in which it was made
        gunicorn = [*server, "-b", f"127.0.0.1:{port}", "--preload", "-k", "gthread", "-w", str(PROCESSES)]
        gunicorn += ["--threads", str(THREADS), "--log-file", str(log), "alerta.app:create_app()"]
        environment = {**os.environ, "ALERTA_SVR_CONF_FILE": str(config)}
        try:
            database.create()
            postgres = [*database.command(), "-c", "fsync=on", "-c", "shared_buffers=128MB"]
            with core(0):
                processes.append(subprocess.Popen(postgres, stdout=DEVNULL, stderr=DEVNULL, cwd="/"))
                _until_open(database.port)
                processes.append(subprocess.Popen(gunicorn, env=environment, stdout=DEVNULL, stderr=DEVNULL, cwd=name))
            _until_open(port)
            yield Alerta(port, processes)
        except SystemExit as error:
            said = log.read_text("utf-8")[-2000:] if log.exists() else ""
            raise SystemExit(f"{error}\n{said}") from error
        finally:
            for process in reversed(processes):
                process.send_signal(signal.SIGINT)
                process.wait(20)
            database.remove()


def _until_open(port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"nothing listens on port {port}")


if __name__ == "__main__":
    said = fetch()
    print(f"Alerta cannot be compared with: {said}" if said else "peers: Alerta is ready", file=sys.stderr)
