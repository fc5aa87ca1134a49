-- The receiver's memory. What must hold is written here, so that no bug can store the opposite.
-- Times are seconds since 1970, UTC; `doc` is the incident as receiver.incident.Incident writes itself.
CREATE TABLE IF NOT EXISTS incident (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('triggered', 'acknowledged', 'resolved')),
    priority TEXT NOT NULL CHECK (priority IN ('P1', 'P2', 'P3', 'P4')),
    opened_at REAL NOT NULL,
    next_due_at REAL,
    resolved_at REAL,
    doc BLOB NOT NULL,
    CHECK ((state = 'resolved') = (resolved_at IS NOT NULL)),
    CHECK (state = 'triggered' OR next_due_at IS NULL)
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS incident_open ON incident (key) WHERE state <> 'resolved';
CREATE INDEX IF NOT EXISTS incident_key ON incident (key, id);
CREATE INDEX IF NOT EXISTS incident_due ON incident (next_due_at) WHERE next_due_at IS NOT NULL;

CREATE TABLE IF NOT EXISTS timeline (
    incident_id INTEGER NOT NULL REFERENCES incident (id),
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    text TEXT NOT NULL,
    actor TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS timeline_incident ON timeline (incident_id, seq);

CREATE TABLE IF NOT EXISTS outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    incident_id INTEGER NOT NULL REFERENCES incident (id),
    lane TEXT NOT NULL,
    channel TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('page', 'acknowledged', 'resolved')),
    round INTEGER NOT NULL,
    notification BLOB NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'sending', 'sent', 'dead', 'cancelled')),
    created_at REAL NOT NULL,
    not_before REAL NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    lease_until REAL,
    settled_at REAL,
    ref TEXT NOT NULL DEFAULT '',
    last_error TEXT NOT NULL DEFAULT '',
    -- a transition that is applied twice owes nothing twice
    UNIQUE (incident_id, lane, kind, round),
    CHECK ((state = 'sending') = (lease_until IS NOT NULL)),
    CHECK ((state IN ('sent', 'dead', 'cancelled')) = (settled_at IS NOT NULL))
) STRICT;
CREATE INDEX IF NOT EXISTS outbox_owed ON outbox (channel, not_before) WHERE state IN ('pending', 'sending');
CREATE INDEX IF NOT EXISTS outbox_lane ON outbox (incident_id, lane, id);

CREATE TABLE IF NOT EXISTS heartbeat (
    source TEXT PRIMARY KEY,
    last_seen_at REAL NOT NULL
) STRICT;
