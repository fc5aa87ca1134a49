"""What is read for several changes at once: each answer of a database elsewhere takes a way of its own."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, Protocol

_Query = tuple[str, tuple[object, ...]]


class _Rows(Protocol):
    def fetchall(self) -> list[Any]: ...


class Ahead:
    """What was asked before some changes are made, one after the other, in a transaction beside which nobody writes.

    Whoever changes what it knows says so here: `row.save` and `outbox.enqueue`, which is all that these changes call.
    """

    def __init__(self, execute: Callable[[str, tuple[object, ...]], _Rows]) -> None:
        self._execute = execute
        self._asked = dict[_Query, _Rows]()  # and not waited for yet
        self._known = dict[_Query, list[Any]]()
        self._about = defaultdict[object, set[_Query]](set)
        self._last = dict[_Query, tuple[object, ...]]()
        self._noted = set[object]()

    def ask(self, sql: str, parameters: tuple[object, ...], about: Iterable[object] = ()) -> None:
        """Ask, and do not wait for the answer; it is forgotten when what it is ``about`` changes."""
        query = (sql, parameters)
        if query not in self._asked:
            self._asked[query] = self._execute(sql, parameters)
        for each in about:
            self._about[each].add(query)

    def read(self, sql: str, parameters: tuple[object, ...]) -> list[Any]:
        """Give the rows of a query, by what is known if that is still true."""
        query = (sql, parameters)
        known = self._known.get(query)
        if known is None and (asked := self._asked.pop(query, None)) is not None:
            known = self._known[query] = asked.fetchall()
        return self._execute(sql, parameters).fetchall() if known is None else known

    def know(self, sql: str, parameters: tuple[object, ...], rows: list[Any]) -> None:
        """Note what a query would give now."""
        self._asked.pop((sql, parameters), None)
        self._known[sql, parameters] = rows

    def forget(self, about: Iterable[object]) -> None:
        """Note that these have changed."""
        for each in about:
            for query in self._about.get(each, ()):
                self._asked.pop(query, None)
                self._known.pop(query, None)

    def put_off(self, sql: str, key: tuple[object, ...], values: tuple[object, ...]) -> None:
        """Write this at the end, unless the same is written once more until then."""
        self._last[sql, key] = values

    def is_first(self, thing: object) -> bool:
        """Note a thing, and say whether it is for the first time."""
        is_first = thing not in self._noted
        self._noted.add(thing)
        return is_first

    def end(self) -> None:
        """Write what was put off."""
        for (sql, key), values in self._last.items():
            self._execute(sql, (*key, *values))
