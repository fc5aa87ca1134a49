"""Runs a receiver on PostgreSQL with a watch on its turns: `python -m bench.turns receiver --config.file F`.

The figures of all its transactions with at least one webhook go to the file that BENCH_TURNS names when it ends. It
costs some microseconds for each statement.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from receiver.store.postgres import queue
from receiver.store.postgres.connection import PostgresConnection
from receiver.store.postgres.pipeline import Pipeline


class Watch(threading.local):
    """What the transaction that this thread makes has cost so far."""

    statements, answers, waited, end = 0, 0, 0.0, 0.0


class Turns:
    """Sums of all transactions."""

    def __init__(self) -> None:
        self.watch, self.sums = Watch(), dict[str, float]()

    def add(self, **figures: float) -> None:
        """Add these."""
        for name, figure in figures.items():
            self.sums[name] = self.sums.get(name, 0.0) + figure

    def install(self) -> None:
        """Look at what the store's writer does, from outside."""
        execute, receive, end = PostgresConnection.execute, Pipeline.receive, Pipeline._end  # noqa: SLF001
        watch, make, ask = self.watch, queue._Attempt.make, Pipeline.ask  # noqa: SLF001

        def executed(db: PostgresConnection, sql: str, parameters: Any = (), /) -> Any:  # noqa: ANN401
            watch.statements += 1
            return execute(db, sql, parameters)

        def received(pipeline: Pipeline, *words: Any) -> None:  # noqa: ANN401
            began = time.perf_counter()
            receive(pipeline, *words)
            watch.waited += time.perf_counter() - began

        def asked_for(pipeline: Pipeline) -> None:
            watch.answers += 1
            ask(pipeline)

        def ended(pipeline: Pipeline) -> None:
            began = time.perf_counter()
            end(pipeline)
            watch.end = time.perf_counter() - began
            watch.answers += 1

        def made(attempt: Any, db: PostgresConnection, choose: Callable[[], list[Any]]) -> list[Any]:  # noqa: ANN401
            asked, had, computing, webhooks = time.perf_counter(), 0.0, 0.0, 0
            watch.statements = watch.answers = 0

            def chosen() -> list[Any]:
                nonlocal had, computing, webhooks
                had, computing, watch.waited = time.perf_counter(), time.thread_time(), 0.0
                changes = choose()
                webhooks = sum(getattr(change, "ask", None) is not None for change in changes)
                return changes

            done = make(attempt, db, chosen)
            now = time.perf_counter()
            if webhooks:
                self.add(transactions=1, webhooks=webhooks, changes=len(done), statements=watch.statements)
                self.add(answers=watch.answers, asked=had - asked, held=now - had, last=watch.end, waited=watch.waited)
                self.add(computed=time.thread_time() - computing)
            return done

        PostgresConnection.execute = executed  # type: ignore[method-assign]
        Pipeline.ask = asked_for  # type: ignore[method-assign,assignment]
        Pipeline.receive, Pipeline._end = received, ended  # type: ignore[method-assign,assignment]  # noqa: SLF001
        queue._Attempt.make = made  # type: ignore[method-assign,assignment]  # noqa: SLF001


def main() -> int:
    """Run the program as its own command line would."""
    name, sys.argv[1:] = sys.argv[1], sys.argv[2:]
    turns = Turns()
    turns.install()
    try:
        status: int = import_module(f"{name}.__main__").run()
    finally:
        path = os.environ.get("BENCH_TURNS")
        if path:
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(json.dumps(turns.sums) + "\n")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
