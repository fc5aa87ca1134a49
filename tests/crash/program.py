"""The test's own way to start the receiver: built by its composition root, and killed at a statement if it is asked to.

The modules are imported once, and each life of the receiver is a fork: 500 kills would else be 500 imports. Nothing of
it is in the product: SQLite's trace callback kills, and a planted bug replaces a method before the life begins.
"""

import asyncio
import json
import os
import pkgutil
import re
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from process.logs import set_up_logs
from receiver import app
from receiver.channels.base import Receipt
from receiver.config.load import load
from receiver.store.base import Claimed
from receiver.store.postgres.clock import DatabaseClock
from receiver.store.postgres.connection import PostgresConnection
from receiver.store.sql import outbox
from receiver.store.sql.store import SQLStore
from receiver.store.sqlite.store import SQLiteStore
from receiver.workers import dispatcher
from receiver.workers.dispatcher import Dispatcher

AFTER_COMMIT = "after commit"  # when the database has answered
SHIFT = timedelta(seconds=200)  # more than a lease
# What each kind of statement is, by how it begins; the first that fits.
STATEMENTS = {
    "begin": r"BEGIN",
    "commit": r"COMMIT",
    "incident": r"INSERT INTO incident",
    "member": r"(INSERT INTO|DELETE FROM) member",
    "timeline": r"INSERT INTO timeline",
    "owe": r"INSERT INTO outbox",
    "expire": r"UPDATE outbox SET state = 'pending', lease_until = NULL WHERE",
    "retry": r"UPDATE outbox SET state = 'pending', lease_until = NULL, not_before",
    "claim": r"UPDATE outbox SET state = 'sending'",
    "settle": r"UPDATE outbox SET state = ('(sent|dead)'|\?)",  # PostgreSQL is given its parameters apart
    "cancel": r"UPDATE outbox SET state = 'cancelled'",
    "due": r"SELECT id FROM incident WHERE wake_at",
    "start": r"UPDATE outbox SET (lease_until|parked)",
    "act": r"INSERT INTO (audit|form)",
    AFTER_COMMIT: r"COMMIT",
}


def main() -> None:
    """Begin a life for each line of standard input; say its process id, and how it ended."""
    config, log, hits = (Path(name) for name in sys.argv[1:])
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if not child:
            _live(config, log, hits, asked)
        print(json.dumps({"pid": child}), flush=True)  # noqa: T201  # a program
        _, status = os.waitpid(child, 0)
        print(json.dumps({"status": status}), flush=True)  # noqa: T201  # a program


def _live(path: Path, log: Path, hits: Path, asked: dict[str, Any]) -> None:
    written = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(written, stream)
    for name, value in asked.get("constants", {}).items():  # shorter periods, for a test that cannot wait
        module, _, constant = name.rpartition(".")
        setattr(pkgutil.resolve_name(module), constant, value)
    config, source = load(path)
    if asked.get("statement"):
        kill_at = _kill_on_sqlite if config.postgres is None else _kill_on_postgres
        kill_at(asked["statement"], _killer(asked["statement"], asked["count"], asked["spared"], hits))
    dispatcher.LEASE = asked.get("lease", dispatcher.LEASE)
    if asked.get("planted"):
        PLANTED[asked["planted"]]()
    if asked.get("names"):
        _resolve(Path(asked["names"]))
    shift = [timedelta(seconds=asked.get("shift", 0))]  # of the clock, which signals set forward and back
    for number, by in ((signal.SIGUSR1, SHIFT), (signal.SIGUSR2, -SHIFT)):
        signal.signal(number, lambda _signal, _frame, by=by: shift.append(shift.pop() + by))  # type: ignore[misc]
    app.Receiver = partial(app.Receiver, clock=lambda: app.now() + shift[0])  # type: ignore[misc,assignment]
    set_up_logs("info", "logfmt")
    os._exit(asyncio.run(app.serve(config, source, config.listen, lambda text: print(text, flush=True))))  # noqa: T201  # a program


def _resolve(gone: Path) -> None:
    """Find names under .test here, but for those that stand in the file; what is not found is written beside it."""
    resolve = socket.getaddrinfo

    def look_up(host: Any, *rest: Any, **named: Any) -> Any:  # noqa: ANN401  # as getaddrinfo
        if not str(host).endswith(".test"):
            return resolve(host, *rest, **named)
        if str(host) in gone.read_text("utf-8").split():
            with gone.with_suffix(".missed").open("a", encoding="utf-8") as missed:
                missed.write(f"{host}\n")
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return resolve("127.0.0.1", *rest, **named)

    socket.getaddrinfo = look_up
    aiohttp.TCPConnector = partial(aiohttp.TCPConnector, use_dns_cache=False)  # type: ignore[assignment,misc]


def _killer(kind: str, count: int, spared: float, hits: Path) -> Callable[[str], None]:
    """Give what is told of each statement, and kills at the one that is asked for, counted from so many seconds on."""
    pattern, left, begins = re.compile(rf"\s*{STATEMENTS[kind]}"), [count], time.monotonic() + spared

    def look(statement: str) -> None:
        if pattern.match(statement) and time.monotonic() >= begins:
            left[0] -= 1
            if not left[0]:
                os.write(os.open(hits, os.O_CREAT | os.O_APPEND | os.O_WRONLY), f"{kind}\n".encode())
                os.kill(os.getpid(), signal.SIGKILL)

    return look


def _kill_on_sqlite(_kind: str, look: Callable[[str], None]) -> None:
    connect = sqlite3.connect

    def traced(*words: Any, **named: Any) -> sqlite3.Connection:  # noqa: ANN401  # as sqlite3.connect
        db: sqlite3.Connection = connect(*words, **named)
        db.set_trace_callback(look)
        return db

    sqlite3.connect = traced  # type: ignore[assignment]


def _kill_on_postgres(kind: str, look: Callable[[str], None]) -> None:
    execute = PostgresConnection.execute

    def traced(self: PostgresConnection, sql: str, parameters: Any = (), /) -> Any:  # noqa: ANN401  # as execute
        if kind != AFTER_COMMIT:
            look(sql)
        rows = execute(self, sql, parameters)
        if kind == AFTER_COMMIT:
            if sql == "COMMIT":
                self.sync()  # it is sent together with what is before it
            look(sql)
        return rows

    PostgresConnection.execute = traced  # type: ignore[method-assign]


def _answers_before_the_commit() -> None:
    update = SQLStore.update
    under_way = set[asyncio.Future[Any]]()

    async def early(self: SQLStore, *words: Any) -> None:  # noqa: ANN401  # as update
        task = asyncio.ensure_future(update(self, *words))
        under_way.add(task)
        task.add_done_callback(under_way.discard)

    SQLStore.update = early  # type: ignore[method-assign,assignment]


def _settles_before_it_sends() -> None:
    send: Callable[..., Awaitable[Any]] = Dispatcher._send  # noqa: SLF001  # the bug stands there

    async def late(self: Dispatcher, claims: list[Claimed], *rest: Any) -> Any:  # noqa: ANN401  # as _send
        sent = [dispatcher._Answered(claims, Receipt(), *rest)]  # noqa: SLF001  # as above
        await self._settle(sent, (), lambda _ranks, _given: iter(()))  # as above
        return await send(self, claims, *rest)

    Dispatcher._send = late  # type: ignore[method-assign,assignment]  # noqa: SLF001


def _does_not_fence() -> None:
    for name in ("_RETRY", "_FINISH"):
        query: str = getattr(outbox, name)
        setattr(outbox, name, query.replace("attempt = ?", "attempt >= 0 * ?"))


def _keeps_no_order() -> None:
    for name in ("_DUE", "_AT_ADDRESS", "_TRIAL"):
        query: str = getattr(outbox, name)
        setattr(outbox, name, query.replace(outbox._IN_LANE, "1 = 1"))  # noqa: SLF001  # as above


def _leases_do_not_follow_the_clock() -> None:
    async def nothing(_self: SQLStore, *_: object) -> None:
        pass

    SQLiteStore.clock_set = nothing  # type: ignore[method-assign,assignment]
    DatabaseClock.__call__ = lambda self: self._own()  # type: ignore[method-assign]  # as above


PLANTED: dict[str, Callable[[], None]] = {
    "200 before commit": _answers_before_the_commit,
    "settle before send": _settles_before_it_sends,
    "no fencing": _does_not_fence,
    "no lane order": _keeps_no_order,
    "lease by local clock": _leases_do_not_follow_the_clock,
}

if __name__ == "__main__":
    main()
