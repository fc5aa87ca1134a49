"""From schema 3 to 4: a person is stored by their key in receiver.yml instead of their display name."""

import logging
import sqlite3
from collections.abc import Mapping

import msgspec

log = logging.getLogger(__name__)

_CHUNK = 500  # incidents in memory at once: there may be hundreds of thousands
_LISTED = 20  # names in the log line
_NOT_PEOPLE = {"", "alerts", "api", "somebody", "somebody with the link"}  # what schema 3 stored for no person

_NAMES = """
SELECT actor FROM timeline
UNION SELECT json_extract(CAST(notification AS TEXT), '$.target.person') FROM outbox
"""
_TIMELINE = "UPDATE timeline SET actor = renamed.key FROM temp.renamed WHERE actor = renamed.name"
_OUTBOX = """
UPDATE outbox
SET notification = CAST(json_set(CAST(notification AS TEXT), '$.target.person', renamed.key) AS BLOB)
FROM temp.renamed WHERE json_extract(CAST(notification AS TEXT), '$.target.person') = renamed.name
"""


class _Target(msgspec.Struct, frozen=True, omit_defaults=True):
    channel: str
    address: str
    lane: str
    person: str = ""
    role: str = ""


class _Delivery(msgspec.Struct, frozen=True):
    reached: tuple[str, ...] = ()
    told: tuple[_Target, ...] = ()


class _Names(msgspec.Struct, frozen=True):
    """The fields of an incident's document that name people."""

    acknowledged_by: str = ""
    resolved_by: str = ""
    delivery: _Delivery = _Delivery()


_names = msgspec.json.Decoder(_Names)
_document = msgspec.json.Decoder(dict[str, object])


def upgrade(db: sqlite3.Connection, keys: Mapping[str, str]) -> None:
    """Replace names by ``keys``; a name that is not in it stays, and the log names it."""
    stored = {str(row[0]) for row in db.execute(_NAMES)}
    db.execute("CREATE TEMP TABLE renamed (name TEXT PRIMARY KEY, key TEXT NOT NULL) WITHOUT ROWID")
    db.executemany("INSERT INTO temp.renamed VALUES (?, ?)", keys.items())
    db.execute(_TIMELINE)
    db.execute(_OUTBOX)
    db.execute("DROP TABLE temp.renamed")
    stored |= _upgrade_incidents(db, keys)
    kept = sorted(stored - keys.keys() - set(keys.values()) - _NOT_PEOPLE)
    if kept:
        more = f" and {len(kept) - _LISTED} more" if len(kept) > _LISTED else ""
        names = ", ".join(repr(name[:100]) for name in kept[:_LISTED]) + more
        log.warning("stored names of no configured person, or of several, were not replaced by a key: %s", names)


def _upgrade_incidents(db: sqlite3.Connection, keys: Mapping[str, str]) -> set[str]:
    """Rewrite the documents that name somebody in ``keys``; gives all names that were stored."""
    stored: set[str] = set()
    last = 0
    while rows := db.execute(
        "SELECT id, doc FROM incident WHERE id > ? ORDER BY id LIMIT ?", (last, _CHUNK)
    ).fetchall():
        last = rows[-1][0]
        for number, doc in rows:
            names = _names.decode(doc)
            people = {names.acknowledged_by, names.resolved_by, *names.delivery.reached}
            people |= {target.person for target in names.delivery.told}
            stored |= people
            if people & keys.keys():
                db.execute("UPDATE incident SET doc = ? WHERE id = ?", (_with_keys(doc, names, keys), number))
    return stored


def _with_keys(doc: bytes, names: _Names, keys: Mapping[str, str]) -> bytes:
    new = _document.decode(doc)
    for field in ("acknowledged_by", "resolved_by"):
        if field in new:
            name = str(new[field])
            new[field] = keys.get(name, name)
    delivery = new.get("delivery")
    if isinstance(delivery, dict):
        reached = [keys.get(name, name) for name in names.delivery.reached]
        told = [msgspec.structs.replace(t, person=keys.get(t.person, t.person)) for t in names.delivery.told]
        new["delivery"] = delivery | {"reached": reached, "told": told}
    return msgspec.json.encode(new)
