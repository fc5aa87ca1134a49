"""Sends statements without waiting for the answer of the one before, straight through libpq.

A cursor of psycopg costs this process 25 µs for each statement, and sends each by itself, which the server pays for as
well; `psycopg.pq` costs 2 µs, and sends them together. What a statement gives is read by psycopg as ever.

https://www.postgresql.org/docs/current/libpq-pipeline-mode.html, https://www.psycopg.org/psycopg3/docs/api/pq.html
"""

import contextlib
import itertools
import select
import struct
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import psycopg
from psycopg import errors, postgres, pq
from psycopg.adapt import Transformer

_TEXT, _BINARY = pq.Format.TEXT, pq.Format.BINARY
_DONE = {pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK, pq.ExecStatus.EMPTY_QUERY}


class _Encoded(NamedTuple):
    """How values of a type are sent; by the number 0 the server finds out itself, as for a literal."""

    oid: int
    format: pq.Format
    encode: Callable[[Any], bytes | None]


def _oid(name: str) -> int:
    return postgres.types[name].oid


_WAYS: dict[type, _Encoded] = {
    str: _Encoded(0, _TEXT, str.encode),
    int: _Encoded(_oid("int8"), _BINARY, struct.Struct("!q").pack),
    float: _Encoded(_oid("float8"), _BINARY, struct.Struct("!d").pack),
    bool: _Encoded(_oid("bool"), _BINARY, struct.Struct("!?").pack),
    bytes: _Encoded(_oid("bytea"), _BINARY, bytes),
    type(None): _Encoded(0, _TEXT, lambda _: None),
}
_Key = tuple[str, tuple[int, ...]]  # a statement, and the types of what is bound to it


class Answer:
    """What a statement gives; it is waited for when somebody asks. See receiver.store.sql.connection.Rows."""

    def __init__(self, pipeline: "Pipeline", key: _Key | None = None) -> None:
        """``key`` is of a statement that is prepared."""
        self._pipeline, self.key = pipeline, key
        self.result: pq.abc.PGresult | None = None
        self._rows: Iterator[Any] | None = None

    @property
    def status(self) -> str:
        """Say how the statement has ended: what COMMIT of a transaction that has failed does is ROLLBACK."""
        return (self._got().command_status or b"").decode()

    @property
    def rowcount(self) -> int:
        """Say how many rows it has changed."""
        return self._got().command_tuples or 0

    def fetchone(self) -> Any:  # noqa: ANN401  # columns of any type
        """Give the next row."""
        return next(iter(self), None)

    def fetchall(self) -> list[Any]:
        """Give all rows that are left."""
        return list(self)

    def __iter__(self) -> Iterator[Any]:
        """Give the rows."""
        if self._rows is None:
            self._rows = iter(self._pipeline.rows(self._got()))
        return self._rows

    def _got(self) -> pq.abc.PGresult:
        if self.result is None:
            self._pipeline.receive(self)
        if self.result is None:
            raise errors.PipelineAborted("an earlier statement has failed")
        return self.result


class Pipeline:
    """The statements under way on one connection, and those that are prepared on it."""

    def __init__(self, raw: psycopg.Connection[Any]) -> None:
        self._raw, self._pg = raw, raw.pgconn
        self._prepared, self._names = dict[_Key, bytes](), itertools.count()
        self._sent = deque[Answer]()
        self._transformer = Transformer(raw)
        self._poll, self._socket = select.poll(), raw.pgconn.socket
        self._poll.register(self._socket, select.POLLIN)
        self.is_on, self._is_unasked = False, False

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        """Let several be under way inside; psycopg.Error of the first that failed."""
        self._pg.enter_pipeline_mode()
        self.is_on = True
        try:
            yield
        except BaseException:
            with contextlib.suppress(psycopg.Error):  # what has failed is known already
                self._end()
            raise
        else:
            self._end()
        finally:
            self.is_on = False

    def execute(self, sql: str, values: Sequence[object]) -> Answer:
        """Execute a statement; while several may be under way, it is sent no later than an answer is waited for."""
        if self.is_on:
            return self._send(sql, values)
        with self.on():
            return self._send(sql, values)

    def _send(self, sql: str, values: Sequence[object]) -> Answer:
        ways = [_WAYS[type(value)] for value in values]
        key = (sql, tuple(way.oid for way in ways))
        name = self._prepared.get(key) or self._prepare(key)
        try:
            data = [way.encode(value) for way, value in zip(ways, values, strict=True)]
        except struct.error as error:
            raise psycopg.DataError(str(error)) from error
        self._pg.send_query_prepared(name, data, [way.format for way in ways], _BINARY)
        answer, self._is_unasked = Answer(self), True
        self._sent.append(answer)
        return answer

    def push(self) -> None:
        """Let the server begin with what was sent so far, and wait for nothing."""
        self._pg.flush()

    def receive(self, last: Answer | None = None) -> None:
        """Wait for the answers up to this one; without, for all. psycopg.Error of the first that failed."""
        if self._is_unasked:
            self.ask()
        while self._sent and (last is None or last.result is None):
            self._take()

    def ask(self) -> None:
        """Ask the server for the answers to what was sent so far; it would keep them until there are many."""
        self._pg.send_flush_request()
        self._flush()
        self._is_unasked = False

    def rows(self, result: pq.abc.PGresult) -> list[Any]:
        """Read what a statement gives."""
        self._transformer.set_pgresult(result)
        return self._transformer.load_rows(0, result.ntuples, tuple)

    def heard(self, timeout: float) -> list[str]:
        """Give what was notified, waiting up to ``timeout`` seconds for the first."""
        first = self._pg.notifies()
        if first is None and self._poll.poll(timeout * 1000):
            self._pg.consume_input()
            first = self._pg.notifies()
        told = list[str]()
        while first is not None:
            told.append(first.extra.decode())
            first = self._pg.notifies()
        return told

    def _prepare(self, key: _Key) -> bytes:
        name = b"heypeter_%d" % next(self._names)
        self._pg.send_prepare(name, key[0].encode(), key[1])
        self._sent.append(Answer(self, key))
        self._prepared[key] = name
        return name

    def _take(self) -> None:
        """Take in the next answer."""
        answer = self._sent.popleft()
        result = self._next()
        while self._next() is not None:  # it ends with none
            pass
        if result is not None and result.status in _DONE:
            answer.result = result
            return
        if answer.key is not None:
            self._prepared.pop(answer.key, None)
        if result is not None and result.status == pq.ExecStatus.FATAL_ERROR:
            raise errors.error_from_result(result)
        if self._pg.status == pq.ConnStatus.BAD:
            raise psycopg.OperationalError("the connection is lost")
        raise errors.PipelineAborted("an earlier statement has failed")

    def _end(self) -> None:
        """Wait for everything that is under way."""
        failed: psycopg.Error | None = None
        try:
            self._pg.pipeline_sync()
            self._flush()
            while self._sent:
                try:
                    self._take()
                except psycopg.Error as error:
                    failed = failed or error
                    if self._pg.status == pq.ConnStatus.BAD:
                        raise
            self._next()  # the answer of the synchronisation
        finally:
            self._sent.clear()
            self._is_unasked = False
            if self._pg.status != pq.ConnStatus.BAD:
                self._pg.exit_pipeline_mode()
        if failed is not None:
            raise failed

    def _next(self) -> pq.abc.PGresult | None:
        while self._pg.is_busy():
            self._poll.poll()
            self._pg.consume_input()
        return self._pg.get_result()

    def _flush(self) -> None:
        """Send everything; what the server sends meanwhile is taken in, or both would wait for each other."""
        if not self._pg.flush():
            return
        self._poll.modify(self._socket, select.POLLIN | select.POLLOUT)
        try:
            while self._pg.flush():
                if any(event & ~select.POLLOUT for _, event in self._poll.poll()):
                    self._pg.consume_input()
        finally:
            self._poll.modify(self._socket, select.POLLIN)
