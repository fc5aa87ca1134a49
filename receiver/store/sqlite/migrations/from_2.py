"""From schema 2 to 3: the incident's document keeps its plan, clocks and deliveries as documents of their own."""

import sqlite3

import msgspec

_CHUNK = 500  # incidents in memory at once: there may be hundreds of thousands

# Where a field of the flat document stands now, and what it is called there.
_MOVED = {
    "steps": ("plan", "steps"),
    "response_time": ("plan", "response_time"),
    "warn_after": ("plan", "warn_after"),
    "repeat_every": ("plan", "repeat_every"),
    "acknowledge_for": ("plan", "acknowledge_for"),
    "clock_started_at": ("clocks", "started_at"),
    "next_due_at": ("clocks", "next_due_at"),
    "warn_due_at": ("clocks", "warn_due_at"),
    "answer_due_at": ("clocks", "answer_due_at"),
    "remind_due_at": ("clocks", "remind_due_at"),
    "acknowledged_until": ("clocks", "acknowledged_until"),
    "quiet_until": ("clocks", "quiet_until"),
    "rounds": ("delivery", "rounds"),
    "round_lanes": ("delivery", "round_lanes"),
    "paged_at": ("delivery", "paged_at"),
    "delivered_at": ("delivery", "delivered_at"),
    "reached": ("delivery", "reached"),
    "serial": ("delivery", "serial"),
    "told": ("delivery", "told"),
    "grown": ("delivery", "grown"),
}
_DROPPED = {"paused_for", "fresh"}
_decoder = msgspec.json.Decoder(dict[str, object])


def upgrade(db: sqlite3.Connection) -> None:
    """Rewrite every document; one that has the new shape already stays as it is."""
    last = 0
    while rows := db.execute(
        "SELECT id, doc FROM incident WHERE id > ? ORDER BY id LIMIT ?", (last, _CHUNK)
    ).fetchall():
        last = rows[-1][0]
        db.executemany("UPDATE incident SET doc = ? WHERE id = ?", [(_nested(doc), number) for number, doc in rows])


def _nested(doc: bytes) -> bytes:
    new: dict[str, object] = {}
    parts: dict[str, dict[str, object]] = {}
    for name, value in _decoder.decode(doc).items():
        if name in _MOVED:
            part, inner = _MOVED[name]
            parts.setdefault(part, {})[inner] = value
        elif name not in _DROPPED:
            new[name] = value
    return msgspec.json.encode(new | parts)
