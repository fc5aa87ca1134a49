"""What can go wrong between a receiver and a PostgreSQL: a proxy in between, and a server of one test's own."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

from deploy.local.ports import free_port
from deploy.local.postgres import Postgres

COMMIT = b"COMMIT\0"  # as the client sends it when it prepares it, and as the server answers it


class Proxy:
    """Stands between; ``cut_on_way_there`` and ``cut_on_way_back`` cut once, instead of forwarding these bytes."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self.cut_on_way_there = self.cut_on_way_back = b""
        self.refuses, self.refuses_after_cut, self.cuts = False, False, 0
        self.flows = threading.Event()
        self.flows.set()
        self._ends = list[socket.socket]()
        self._threads = list[threading.Thread]()
        self._run(self._accept)

    def cut(self) -> None:
        """Cut every connection."""
        for end in self._ends:
            _shut(end)

    def close(self) -> None:
        """Cut all, and end."""
        _shut(self._listening)
        self._listening.close()
        self.flows.set()
        self.cut()
        for thread in self._threads:
            thread.join()
        for end in self._ends:
            end.close()

    def _run(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                self._ends.append(client)
                if self.refuses:
                    _shut(client)
                    continue
                server = socket.create_connection(("127.0.0.1", self._to))
                self._ends.append(server)
                self._run(self._forward, client, server, "cut_on_way_there")
                self._run(self._forward, server, client, "cut_on_way_back")

    def _forward(self, source: socket.socket, target: socket.socket, name: str) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.flows.wait()
                wanted = getattr(self, name)
                if wanted and wanted in data:
                    setattr(self, name, b"")
                    self.refuses = self.refuses_after_cut
                    self.cuts += 1
                    break
                target.sendall(data)
        _shut(source)
        _shut(target)


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


@contextmanager
def a_proxy(port: int) -> Iterator[Proxy]:
    proxy = Proxy(port)
    try:
        yield proxy
    finally:
        proxy.close()


class Server:
    """A server that may be stopped, killed, and followed by a standby."""

    def __init__(self, *settings: str) -> None:
        self.port = free_port()
        self._cluster = Postgres(self.port)
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._data = self._cluster.folder / "data"

    def create(self) -> None:
        self._cluster.create()

    def follow(self, primary: "Server") -> None:
        """Make a copy of a primary, which is stopped; it streams from it."""
        shutil.copytree(primary._data, self._data)  # noqa: SLF001
        (self._data / "standby.signal").touch()
        owner = primary._data.stat()  # noqa: SLF001
        for path in (self._data, *self._data.rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid)
        there = f"host=127.0.0.1 port={primary.port} user=postgres application_name=standby"
        self._settings = (*self._settings, f"primary_conninfo={there}")

    def start(self) -> None:
        options = [word for setting in self._settings for word in ("-c", setting)]
        words = [*self._cluster.command(), *options]
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
        while not self.answers():
            assert self._process.poll() is None
            time.sleep(0.05)

    def answers(self) -> bool:
        try:
            self.ask("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def stop(self, sent: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT ends all sessions, SIGQUIT is a crash (postgresql.org/docs/current/server-shutdown.html)."""
        if self._process is not None:
            self._process.send_signal(sent)
            self._process.wait()

    def remove(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.stop(signal.SIGQUIT)
        self._cluster.remove()

    def ask(self, query: str) -> object:
        there = f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres"
        with psycopg.connect(there, autocommit=True) as connection:
            row = connection.execute(query.encode()).fetchone()
        return row[0] if row else None
