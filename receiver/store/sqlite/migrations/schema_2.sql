-- The receiver's memory. What must hold is written here, so that no bug can store the opposite.
-- Times are seconds since 1970, UTC; `doc` is the incident as receiver.incident.Incident writes itself.
CREATE TABLE IF NOT EXISTS incident (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('triggered', 'acknowledged', 'resolved')),
    priority TEXT NOT NULL CHECK (priority IN ('P1', 'P2', 'P3', 'P4')),
    opened_at REAL NOT NULL,
    wake_at REAL,  -- when the next of its clocks runs to its time
    resolved_at REAL,
    doc BLOB NOT NULL,
    CHECK ((state = 'resolved') = (resolved_at IS NOT NULL)),
    CHECK (state <> 'resolved' OR wake_at IS NULL)
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS incident_open ON incident (key) WHERE state <> 'resolved';
CREATE INDEX IF NOT EXISTS incident_key ON incident (key, id);
CREATE INDEX IF NOT EXISTS incident_wake ON incident (wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS incident_count ON incident (state, priority, opened_at) WHERE state <> 'resolved';
CREATE INDEX IF NOT EXISTS incident_over ON incident (resolved_at) WHERE resolved_at IS NOT NULL;

-- Which open incident an alert that fires belongs to, whatever Alertmanager calls its group today.
CREATE TABLE IF NOT EXISTS member (
    receiver TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    incident_id INTEGER NOT NULL REFERENCES incident (id),
    PRIMARY KEY (receiver, fingerprint, incident_id)
) STRICT, WITHOUT ROWID;

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
    address TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('page', 'acknowledged', 'resolved', 'update', 'reminder')),
    round INTEGER NOT NULL,
    serial INTEGER NOT NULL,
    priority TEXT NOT NULL CHECK (priority IN ('P1', 'P2', 'P3', 'P4')),
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
    UNIQUE (incident_id, lane, kind, round, serial),
    CHECK ((state = 'sending') = (lease_until IS NOT NULL)),
    CHECK ((state IN ('sent', 'dead', 'cancelled')) = (settled_at IS NOT NULL))
) STRICT;
CREATE INDEX IF NOT EXISTS outbox_owed ON outbox (channel, priority, id) WHERE state IN ('pending', 'sending');
CREATE INDEX IF NOT EXISTS outbox_lane ON outbox (incident_id, lane, id);
CREATE INDEX IF NOT EXISTS outbox_address ON outbox (channel, address, not_before) WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS outbox_lease ON outbox (lease_until) WHERE state = 'sending';

CREATE TABLE IF NOT EXISTS heartbeat (
    source TEXT PRIMARY KEY,
    last_seen_at REAL NOT NULL
) STRICT;

-- What this process remembers of itself: when it was last alive.
CREATE TABLE IF NOT EXISTS own (
    name TEXT PRIMARY KEY,
    value REAL NOT NULL
) STRICT, WITHOUT ROWID;
