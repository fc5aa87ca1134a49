"""Erases a person who has left: their acts stay under a number, and their names and addresses go.

By parts, each a short transaction, so that a receiver that runs meanwhile can write.
"""

import re
import zlib
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import msgspec

from receiver.store.access import Erased
from receiver.store.audit import Act
from receiver.store.sql import audit, row
from receiver.store.sql.connection import Connection
from receiver.store.sql.queue import Change

_PART = 200  # rows in one transaction: some 10 ms
_SHORTEST, _LONGEST, MOST_TEXTS = 3, 200, 50  # characters of a name or an address, and how many of them
_COUNTER = "erased"  # in the table `own`: the number that was given last
# What people and programs have written: a person's key may be a common word there, so only names and addresses go.
_WRITTEN = frozenset({"title", "text", "labels", "annotations", "group_labels", "alert", "where", "comment", "detail"})
_ADDRESSES = """SELECT DISTINCT json_extract(CAST(notification AS TEXT), '$.target.address') FROM outbox
    WHERE json_extract(CAST(notification AS TEXT), '$.target.person') = ?"""
# A mail address, a telephone number or an id of Slack: other addresses are names in receiver.yml, as a common word.
_PERSONAL = re.compile(r".*@.*|\+?[0-9]{6,}|[UW][A-Z0-9]{5,}")
_SILENCES = "SELECT made_by, over_by, key, matchers, comment, source, am_id FROM silence"
_SILENCE = """UPDATE silence SET made_by = ?, over_by = ?, key = ?, matchers = ?, comment = ?
    WHERE source = ? AND am_id = ?"""

Texts = tuple[tuple[re.Pattern[str], str], ...]


class Erasure(NamedTuple):
    """Who is erased, and what stands in the place of what: of the key, and of each name and address."""

    person: str
    alias: str
    key: re.Pattern[str]
    texts: Texts

    def written(self, text: str) -> str:
        """Leave names and addresses out of what somebody has written."""
        for pattern, instead in self.texts:
            text = pattern.sub(instead, text)
        return text

    def own(self, text: str) -> str:
        """Leave the key out as well: of what we have written ourselves."""
        return self.key.sub(self.alias, self.written(text))

    def json(self, text: bytes | str) -> bytes:
        """Leave them out of the strings of a document."""
        return msgspec.json.encode(self._walk(msgspec.json.decode(text), self.own))

    def _walk(self, value: object, change: Callable[[str], str]) -> object:
        if isinstance(value, str):
            return change(value)
        if isinstance(value, list):
            return [self._walk(one, change) for one in value]
        if isinstance(value, dict):
            return {name: self._walk(one, self.written if name in _WRITTEN else change) for name, one in value.items()}
        return value


class Table(NamedTuple):
    """What is looked at: columns that we write, that people write, and that hold documents."""

    name: str
    number: str
    own: tuple[str, ...] = ()
    written: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()


TABLES = (
    Table("incident", "id", documents=("doc",)),
    Table("timeline", "seq", ("actor",), ("text",), ("data",)),
    Table("outbox", "id", ("lane", "address", "ref"), ("last_error",), ("notification",)),
    Table("override", "id", ("out", "person", "made_by", "accepted_by"), ("reason",)),
    Table("cover_notice", "id", ("person", "actor"), documents=("cover",)),
    Table("window", "id", ("made_by",), ("matchers", "reason")),
    Table("audit", "seq", ("actor", "via", "ip", "object", "before", "after")),
)


def begin(db: Connection, person: str, texts: Iterable[str]) -> Erasure:
    """Give them a number, and end what is theirs alone: sessions, tokens, devices. ValueError: a text is too short."""
    found = [address for (address,) in db.execute(_ADDRESSES, (person,)) if _PERSONAL.fullmatch(address or "")]
    found += [name for (name,) in db.execute("SELECT DISTINCT name FROM session WHERE person = ?", (person,))]
    named = [part.strip() for text in (*texts, *found) for part in text.split(",")]
    wrong = [text for text in named if not _SHORTEST <= len(text) <= _LONGEST and text not in found]
    if wrong or len(named) > MOST_TEXTS + len(found):
        raise ValueError(f"expected up to {MOST_TEXTS} names and addresses of {_SHORTEST} to {_LONGEST} characters")
    db.execute("INSERT INTO own VALUES (?, 0) ON CONFLICT DO NOTHING", (_COUNTER,))
    query = "UPDATE own SET value = value + 1 WHERE name = ? RETURNING value"
    alias = f"former-{int(db.execute(query, (_COUNTER,)).fetchone()[0])}"
    for table, column in (("session", "person"), ("token", "owner"), ("push_subscription", "person")):
        db.execute(f"DELETE FROM {table} WHERE {column} = ?", (person,))  # noqa: S608  # our own names
    db.execute("DELETE FROM awake WHERE person = ?", (person,))
    db.execute("DELETE FROM form WHERE substr(key, 1, length(?1)) = ?1", (f"{person}:",))
    known = sorted({one for one in named if len(one) >= _SHORTEST and one != person}, key=len, reverse=True)
    db.executemany("DELETE FROM gathering WHERE address = ?", [(one,) for one in (*known, person)])
    patterns = tuple((_whole(one), f"{alias}.{number}") for number, one in enumerate(known))
    erasure = Erasure(person, alias, re.compile(rf"(?<![\w@.-]){re.escape(person)}(?![\w@-])"), patterns)
    for *was, source, number in db.execute(_SILENCES).fetchall():  # few, and without a number of their own
        now = [*map(erasure.own, was[:3]), *map(erasure.written, was[3:])]
        if now != was:
            db.execute(_SILENCE, (*now, source, number))
    return erasure


def _whole(text: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(text)}(?!\w)", re.IGNORECASE)


def part(db: Connection, erasure: Erasure, table: Table, after: int) -> tuple[int, int | None]:
    """Erase from the next rows of a table; gives how many have changed, and the last of them, None at the end."""
    columns = (*table.own, *table.written, *table.documents)
    quoted = ", ".join(f'"{one}"' for one in columns)
    query = f"""SELECT {table.number}, {quoted} FROM "{table.name}" WHERE {table.number} > ?
        ORDER BY {table.number} LIMIT ?"""  # noqa: S608  # our own names
    rows = db.execute(query, (after, _PART)).fetchall()
    changed = [(*now, number) for number, *was in rows if (now := [*_changed(erasure, table, was)]) != was]
    if changed:
        assignments = ", ".join(f'"{one}" = ?' for one in columns)
        update = f'UPDATE "{table.name}" SET {assignments} WHERE {table.number} = ?'  # noqa: S608  # our own names
        if table.name == "audit":  # the one change that the log allows
            with db.without_trigger("audit", "audit_unchanged"):
                db.executemany(update, changed)
        else:
            db.executemany(update, changed)
    if table.name == "incident":
        _rename(db, rows, changed)
    return len(changed), rows[-1][0] if len(rows) == _PART else None


def _rename(db: Connection, rows: list[tuple[Any, ...]], changed: list[tuple[Any, ...]]) -> None:
    """Let what was called the same have the name that its document has now."""
    was = dict(rows)
    for doc, number in changed:
        row.rename(db, number, was[number], doc)


def _changed(erasure: Erasure, table: Table, values: list[bytes | str]) -> Iterator[bytes | str]:
    acted = table.name == "audit" and values[0] == erasure.person
    for name, value in zip((*table.own, *table.written, *table.documents), values, strict=True):
        if name == "ip" and acted:  # where a person has been is theirs as well
            yield ""
        elif name in table.documents:
            yield _document(erasure, value)
        else:
            yield (erasure.own if name in table.own else erasure.written)(str(value))


def _document(erasure: Erasure, stored: bytes | str) -> bytes | str:
    """Change a document and nothing of its form, if anything in it is to be changed."""
    plain = stored if isinstance(stored, str) else row.document(stored)
    before = msgspec.json.encode(msgspec.json.decode(plain))
    after = erasure.json(plain)
    if after == before:
        return stored
    if isinstance(stored, str):
        return after.decode()
    return after if stored.startswith(b"{") else zlib.compress(after)


def steps(person: str, texts: Iterable[str], act: Act) -> Generator[Change, Any, Erased]:
    """Give each change that is to be made durable, and take its result. ValueError: see ``begin``."""
    erasure, rows = (yield partial(begin, person=person, texts=texts)), 0
    for table in TABLES:
        after: int | None = 0
        while after is not None:
            count, after = yield partial(part, erasure=erasure, table=table, after=after)
            rows += count
    yield partial(finish, act=act, erasure=erasure, rows=rows)
    return Erased(erasure.alias, rows)


def made(make: Callable[[Change], Any], person: str, texts: Iterable[str], act: Act) -> Erased:
    """Make each change by ``make``, one transaction each. ValueError: see ``begin``."""
    changes, result = steps(person, texts, act), None
    try:
        while True:
            result = make(changes.send(result))
    except StopIteration as done:
        erased: Erased = done.value
        return erased


async def committed(
    commit: Callable[[Change], Awaitable[Any]],
    person: str,
    texts: Iterable[str],
    act: Act,
    begun: Callable[[], None],
) -> Erased:
    """As ``made``, by a writer; ``begun`` is called once their sessions and tokens have ended."""
    changes, result = steps(person, texts, act), None
    try:
        while True:
            result = await commit(changes.send(result))
            if isinstance(result, Erasure):
                begun()
    except StopIteration as done:
        erased: Erased = done.value
        return erased


def finish(db: Connection, act: Act, erasure: Erasure, rows: int) -> None:
    """Say in the audit log that somebody was erased, without saying who."""
    text = f"{rows} rows"
    audit.write(db, msgspec.structs.replace(act, object=f"person/{erasure.alias}", after=text))
