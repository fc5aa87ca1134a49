"""What a change costs until its webhook is answered: the pages that SQLite writes for it, each once, to its log."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from receiver.incident.event import AlertsReceived, Delivered
from tests.receiver.example_site import START, an_alert, beside_file, deciding, of_group, received, the_policy
from tests.receiver.store.test_plans import with_a_past

pytestmark = pytest.mark.sqlite("the log of its file")

HEADER, FRAME, PAGE = 32, 24, 4096  # sqlite.org/fileformat2.html, "The Write-Ahead Log"


def written(folder: Path) -> list[int]:
    """Number the pages that were written since the last time."""
    log = (folder / "receiver.sqlite3-wal").read_bytes()
    with beside_file(folder) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return [int.from_bytes(log[at : at + 4], "big") for at in range(HEADER, len(log), FRAME + PAGE)]


def named(folder: Path, pages: list[int]) -> list[str]:
    """Say which tables and indexes they are of; of a table or an index that has grown there are several."""
    with closing(sqlite3.connect(folder / "receiver.sqlite3")) as db:
        try:
            names = dict(db.execute("SELECT pageno, name FROM dbstat"))
        except sqlite3.OperationalError:
            pytest.skip("this SQLite is built without dbstat")
    return sorted({names[page] for page in pages} - {"sqlite_schema"})  # its page also says how large the file is


async def test_a_claim_writes_no_index_of_what_is_unsettled(tmp_path: Path) -> None:
    store, clock = await with_a_past(tmp_path)
    written(tmp_path)
    await store.update(AlertsReceived(of_group(received(an_alert("a")), "a")), the_policy(), START)
    opened = named(tmp_path, written(tmp_path))
    (claimed,) = await store.claim("email", clock.now, 60, 1)
    leased = named(tmp_path, written(tmp_path))
    page = claimed.notification
    told = deciding(Delivered(page.round, page.target.person), clock.now)
    await store.settle(claimed, "ref", told, clock.now)
    settled = named(tmp_path, written(tmp_path))
    await store.close()
    of_incident = ["incident", "incident_count", "incident_key", "incident_open", "incident_opened", "incident_state"]
    of_outbox = ["outbox", "outbox_due", "outbox_lane", "outbox_owed", "outbox_unsettled", "outbox_waiting"]
    unique, timeline = "sqlite_autoindex_outbox_1", ["timeline", "timeline_incident"]
    opening = {*of_incident, "incident_wake", *of_outbox, unique, "sqlite_sequence", *timeline, "alike"}
    assert set(opened) == opening
    assert leased == ["outbox", "outbox_due", "outbox_lease", "outbox_waiting"]
    settling = {"incident", "incident_wake", "outbox", "outbox_lease", "outbox_owed", "outbox_unsettled", *timeline}
    assert set(settled) == settling
