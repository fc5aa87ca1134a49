"""The table of the devices that Web Push reaches."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from receiver.store.push import MOST_DEVICES, PushOutcome, Subscription
from receiver.store.sql.connection import Connection, Reader, Writer

_COLUMNS = "id, person, endpoint, p256dh, auth, device, created, last_ok, last_receipt, waiting_since, gone, failures"
_READ = f"""SELECT {_COLUMNS}, blocked FROM push_subscription
    WHERE person = ? ORDER BY created DESC, id"""  # noqa: S608  # our own names
_ADD = """INSERT INTO push_subscription (id, person, endpoint, p256dh, auth, device, created)
    VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET person = excluded.person, endpoint = excluded.endpoint, p256dh = excluded.p256dh,
        auth = excluded.auth, device = excluded.device, created = excluded.created, waiting_since = NULL, gone = NULL,
        failures = 0, blocked = 0"""
_TOO_MANY = """DELETE FROM push_subscription WHERE id IN (
    SELECT id FROM push_subscription WHERE person = ?1 AND id <> ?2
    ORDER BY gone IS NULL DESC,
        CASE WHEN last_receipt > created THEN last_receipt ELSE created END DESC, id LIMIT 1000000 OFFSET ?3)"""
_NOTES = {
    PushOutcome.ACCEPTED: """UPDATE push_subscription
        SET last_ok = ?1, failures = 0, waiting_since = coalesce(waiting_since, ?1) WHERE id = ?2""",
    PushOutcome.FAILED: "UPDATE push_subscription SET failures = failures + 1 WHERE id = ?2",
    PushOutcome.GONE: """UPDATE push_subscription
        SET gone = coalesce(gone, ?1), endpoint = '', p256dh = '', auth = '' WHERE id = ?2""",
}
_RECEIPT = "UPDATE push_subscription SET last_receipt = ?, waiting_since = NULL, blocked = ? WHERE id = ?"
_KNOWN = "SELECT 1 FROM push_subscription WHERE id = ?"


class SQLPush:
    """See receiver.store.push.PushStore."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer, self._reader = writer, reader  # pages go out while another program locks the database

    async def subscribe(self, subscription: Subscription) -> None:
        one = subscription
        columns = (one.id, one.person, one.endpoint, one.p256dh, one.auth, one.device, one.created.timestamp())

        def change(db: Connection) -> None:
            db.execute(_ADD, columns)
            db.execute(_TOO_MANY, (one.person, one.id, MOST_DEVICES - 1))

        await self._writer.commit(change, urgent=True)

    async def unsubscribe(self, person: str, number: str) -> bool:
        delete = "DELETE FROM push_subscription WHERE person = ? AND id = ?"
        return await self._writer.commit(lambda db: db.execute(delete, (person, number)).rowcount > 0, urgent=True)

    async def subscriptions(self, person: str) -> Sequence[Subscription]:
        rows = await self._reader.run(lambda db: db.execute(_READ, (person,)).fetchall())
        return [_subscription(row) for row in rows]

    async def note_pushes(self, outcomes: Mapping[str, PushOutcome], now: datetime) -> None:
        def change(db: Connection) -> None:
            for number, outcome in outcomes.items():
                db.execute(_NOTES[outcome], (now.timestamp(), number))

        await self._writer.commit(change)

    async def note_receipt(self, number: str, now: datetime, *, shown: bool) -> bool:
        # Anybody may ask this: what is unknown is only read.
        if not await self._writer.run(lambda db: db.execute(_KNOWN, (number,)).fetchone()):
            return False
        values = (now.timestamp(), int(not shown), number)
        return await self._writer.commit(lambda db: db.execute(_RECEIPT, values).rowcount > 0)

    async def forget_devices(self, person: str) -> None:
        delete = "DELETE FROM push_subscription WHERE person = ?"
        await self._writer.commit(lambda db: db.execute(delete, (person,)), urgent=True)


def _subscription(row: tuple[Any, ...]) -> Subscription:
    number, person, endpoint, p256dh, auth, device, created, *later, failures, blocked = row
    last_ok, last_receipt, waiting_since, gone = (None if at is None else _moment(at) for at in later)
    return Subscription(
        number,
        person,
        endpoint,
        p256dh,
        auth,
        device,
        _moment(created),
        last_ok,
        last_receipt,
        waiting_since,
        gone,
        failures,
        bool(blocked),
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
