"""Writes down what a person did to an incident, inside the transaction of it: the audit line, and the form."""

from datetime import datetime

import msgspec

from receiver.incident.model import Incident
from receiver.store.audit import Act
from receiver.store.base import Trace
from receiver.store.past import FORMS_KNOWN
from receiver.store.sql import audit
from receiver.store.sql.connection import Connection

_FIELDS = ("state", "priority", "team", "acknowledged_by", "snoozed_until", "asked", "attached_to", "resolved_by")


def write(db: Connection, trace: Trace, before: Incident, after: Incident, now: datetime) -> None:
    """Say in the audit log who has changed what, and remember the form."""
    changed = [name for name in _FIELDS if getattr(before, name) != getattr(after, name)]
    was, became = (
        msgspec.json.encode({name: getattr(one, name) for name in changed}).decode() for one in (before, after)
    )
    act = Act(now, trace.actor, trace.via, trace.ip, f"incident.{trace.act}", f"incident/{after.id}", was, became)
    audit.write(db, act)
    remember(db, trace.form, after.id, now)


def sent_before(db: Connection, form: str) -> int | None:
    """Give what a form was about when it was sent before."""
    row = db.execute("SELECT number FROM form WHERE key = ?", (form,)).fetchone() if form else None
    return int(row[0]) if row else None


def remember(db: Connection, form: str, number: int, now: datetime) -> None:
    """Remember that a form was sent, and forget those that nobody sends again."""
    if form:
        db.execute("DELETE FROM form WHERE at < ?", ((now - FORMS_KNOWN).timestamp(),))
        db.execute("INSERT INTO form VALUES (?, ?, ?)", (form, now.timestamp(), number))
