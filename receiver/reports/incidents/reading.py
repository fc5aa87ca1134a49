"""Reads facts about incidents out of the receiver's SQLite file, without disturbing the receiver."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from process.settings import SettingsError
from receiver.incident.model import Incident
from receiver.reports.incidents.statistics import Fact, Page

_decoder = msgspec.json.Decoder(Incident)

_ACKNOWLEDGED = "SELECT min(at) FROM timeline WHERE incident_id = ? AND kind = 'acknowledged'"
_BREACHED = "SELECT 1 FROM timeline WHERE incident_id = ? AND kind = 'breached' LIMIT 1"
_REOPENED = "SELECT count(*) FROM timeline WHERE incident_id = ? AND kind = 'reopened'"
# One page a round and person, however many channels carried it.
_PAGES = """
SELECT min(settled_at), json_extract(CAST(notification AS TEXT), '$.target.person') AS person FROM outbox
WHERE incident_id = ? AND kind = 'page' AND state = 'sent' AND coalesce(person, '') <> '' GROUP BY round, person
"""


def read(path: Path, start: datetime, end: datetime) -> list[Fact]:
    """Give the incidents that opened in a time; drills are left out. SettingsError if the file cannot be read."""
    if not path.is_file():
        raise SettingsError(f"{path}: there is no such database; name the receiver's with --database or --config.file")
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as db:
            query = "SELECT doc FROM incident WHERE opened_at >= ? AND opened_at < ? ORDER BY id"
            rows = db.execute(query, (start.timestamp(), end.timestamp())).fetchall()
            incidents = [_decoder.decode(row[0]) for row in rows]
            return [_fact(db, incident) for incident in incidents if not incident.drill]
    except (sqlite3.Error, msgspec.DecodeError) as error:
        raise SettingsError(f"{path}: is not a receiver's database ({error})") from error


def _fact(db: sqlite3.Connection, incident: Incident) -> Fact:
    given = (incident.id,)
    acknowledged = db.execute(_ACKNOWLEDGED, given).fetchone()[0]
    pages = [(at, person) for at, person in db.execute(_PAGES, given).fetchall() if at is not None]
    return Fact(
        id=incident.id,
        title=incident.title,
        alert=incident.labels.get("alertname") or incident.title.partition(":")[0],
        priority=incident.priority.value,
        team=incident.team,
        opened_at=incident.opened_at or datetime.min.replace(tzinfo=UTC),
        acknowledged_at=datetime.fromtimestamp(acknowledged, UTC) if acknowledged else None,
        resolved_at=incident.resolved_at,
        breached=db.execute(_BREACHED, given).fetchone() is not None,
        reopened=db.execute(_REOPENED, given).fetchone()[0],
        pages=tuple(Page(datetime.fromtimestamp(at, UTC), person) for at, person in pages),
    )
