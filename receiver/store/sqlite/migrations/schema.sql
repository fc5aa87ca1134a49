-- The receiver's memory. What must hold is written here, so that no bug can store the opposite.
-- Times are seconds since 1970, UTC; `doc` is the JSON of receiver.incident.model.Incident.
CREATE TABLE IF NOT EXISTS incident (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('triggered', 'acknowledged', 'resolved')),
    priority TEXT NOT NULL CHECK (priority IN ('P1', 'P2', 'P3', 'P4', 'P5')),
    opened_at REAL NOT NULL,  -- by the clock of now: while it is open, this moves along with a clock that is set
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
CREATE INDEX IF NOT EXISTS incident_opened ON incident (opened_at, id);
CREATE INDEX IF NOT EXISTS incident_state ON incident (state, id);

-- Which open incident an alert that fires belongs to, whatever Alertmanager calls its group today.
CREATE TABLE IF NOT EXISTS member (
    receiver TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    incident_id INTEGER NOT NULL,  -- of one that is open, so that none is deleted that has members
    PRIMARY KEY (receiver, fingerprint, incident_id)
) STRICT, WITHOUT ROWID;

-- Which incident speaks for which: Incident.attached_to.
CREATE TABLE IF NOT EXISTS attachment (
    incident_id INTEGER PRIMARY KEY REFERENCES incident (id),
    parent INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS attachment_parent ON attachment (parent, incident_id);

-- What was called the same, for "seen before". A name stays here without its incident if that could not be read when it
-- was deleted: nothing refers to it, and its number is never given again.
CREATE TABLE IF NOT EXISTS alike (
    alertname TEXT NOT NULL,
    team TEXT NOT NULL,
    incident_id INTEGER NOT NULL,
    PRIMARY KEY (alertname, team, incident_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS timeline (
    incident_id INTEGER NOT NULL REFERENCES incident (id),
    seq INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    text TEXT NOT NULL,  -- what receivers up to schema 4 wrote in place of data
    actor TEXT NOT NULL,
    data TEXT NOT NULL DEFAULT '{}'  -- receiver.incident.model.Data as JSON
) STRICT;
CREATE INDEX IF NOT EXISTS timeline_incident ON timeline (incident_id, seq);

-- How far each outgoing webhook has come: the `seq` of a timeline's line. An older receiver does not look at it.
CREATE TABLE IF NOT EXISTS hook (
    name TEXT PRIMARY KEY,
    seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    incident_id INTEGER NOT NULL REFERENCES incident (id),
    lane TEXT NOT NULL,
    channel TEXT NOT NULL,
    address TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('page', 'acknowledged', 'resolved', 'update', 'reminder')),
    round INTEGER NOT NULL,
    serial INTEGER NOT NULL,
    priority TEXT NOT NULL CHECK (priority IN ('P1', 'P2', 'P3', 'P4', 'P5')),
    notification BLOB NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'sending', 'sent', 'dead', 'cancelled')),
    created_at REAL NOT NULL,
    not_before REAL NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,  -- counts leases; only the holder of the newest may settle
    lease_until REAL,
    settled_at REAL,
    ref TEXT NOT NULL DEFAULT '',
    last_error TEXT NOT NULL DEFAULT '',
    rank INTEGER NOT NULL DEFAULT 0,  -- the order of sending: pages by priority, then everything else by priority
    tries INTEGER NOT NULL DEFAULT 0,  -- attempts that reached for the provider and failed
    spent REAL NOT NULL DEFAULT 0,  -- seconds of patience that they have used up
    parked INTEGER NOT NULL DEFAULT 0,  -- its address is served by itself: it is slow, or paused
    elsewhere INTEGER NOT NULL DEFAULT 0,  -- a page that has looked for another way to the person
    bundle INTEGER,  -- the first page of the umbrella that it is a member of
    -- a transition that is applied twice owes nothing twice
    UNIQUE (incident_id, lane, kind, round, serial),
    CHECK ((state = 'sending') = (lease_until IS NOT NULL)),
    CHECK ((state IN ('sent', 'dead', 'cancelled')) = (settled_at IS NOT NULL))
) STRICT;
CREATE INDEX IF NOT EXISTS outbox_lane ON outbox (incident_id, lane, id);
-- What is unsettled of an incident: its settled rows are many when its last step is repeated for days. By settled_at and
-- not by state: SQLite writes an index anew when a column of its WHERE is set, and a claim and a retry set the state.
CREATE INDEX IF NOT EXISTS outbox_unsettled ON outbox (incident_id, lane, id) WHERE settled_at IS NULL;
-- What is due: neither what waits for its time nor what waits for its address is looked at.
CREATE INDEX IF NOT EXISTS outbox_due ON outbox (channel, rank, not_before, id) WHERE state = 'pending' AND parked = 0;
CREATE INDEX IF NOT EXISTS outbox_waiting ON outbox (channel, address, rank, id) WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS outbox_parked ON outbox (channel, address) WHERE parked = 1;
-- What is owed on a channel, and which pages have waited for long and not looked for another way.
CREATE INDEX IF NOT EXISTS outbox_owed ON outbox (channel, kind, elsewhere, created_at) WHERE settled_at IS NULL;
CREATE INDEX IF NOT EXISTS outbox_lease ON outbox (lease_until) WHERE state = 'sending';
CREATE INDEX IF NOT EXISTS outbox_dead ON outbox (settled_at) WHERE state = 'dead';
CREATE INDEX IF NOT EXISTS outbox_bundle ON outbox (bundle) WHERE bundle IS NOT NULL;
-- What was sent as one message of many incidents, which shows how they stand: its ref begins with *.
CREATE INDEX IF NOT EXISTS outbox_digest ON outbox (ref, incident_id) WHERE ref >= '*' AND ref < '+';
CREATE INDEX IF NOT EXISTS outbox_umbrella ON outbox (incident_id, lane) WHERE bundle IS NOT NULL;

-- Until when what is owed to an address is gathered: receiver.incident.delivery.Window.
CREATE TABLE IF NOT EXISTS gathering (
    channel TEXT NOT NULL,
    address TEXT NOT NULL,
    until REAL NOT NULL,
    count INTEGER NOT NULL,
    umbrella INTEGER NOT NULL,
    PRIMARY KEY (channel, address)
) STRICT, WITHOUT ROWID;

-- Who stands in for whom: receiver.oncall.cover.Cover. Covers are instants, whatever becomes of the shift.
CREATE TABLE IF NOT EXISTS override (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    schedule TEXT NOT NULL,
    out TEXT NOT NULL,
    person TEXT NOT NULL,
    start REAL NOT NULL,
    end REAL NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('asked', 'active', 'cancelled')),
    made_by TEXT NOT NULL,
    accepted_by TEXT NOT NULL,
    reason TEXT NOT NULL,
    pair INTEGER NOT NULL,
    CHECK (start < end),
    CHECK (state <> 'active' OR person <> '')
) STRICT;
CREATE INDEX IF NOT EXISTS override_end ON override (end);

-- What people are still to be told of covers: receiver.store.duty.CoverNotice.
CREATE TABLE IF NOT EXISTS cover_notice (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    person TEXT NOT NULL,
    news TEXT NOT NULL,
    actor TEXT NOT NULL,
    cover TEXT NOT NULL,  -- JSON
    created_at REAL NOT NULL,
    not_before REAL NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS cover_notice_due ON cover_notice (not_before);

-- Until when somebody is awake.
CREATE TABLE IF NOT EXISTS awake (
    person TEXT PRIMARY KEY,
    until REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- Maintenance windows that people have made here: receiver.store.duty.MadeWindow.
CREATE TABLE IF NOT EXISTS window (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    matchers TEXT NOT NULL,  -- JSON
    start REAL NOT NULL,
    end REAL NOT NULL,
    made_by TEXT NOT NULL,
    reason TEXT NOT NULL,
    incident_id INTEGER NOT NULL,
    CHECK (start <= end)
) STRICT;
CREATE INDEX IF NOT EXISTS window_end ON window (end);

-- Which incident has made which silence in Alertmanager: receiver.store.silences.MadeSilence.
CREATE TABLE IF NOT EXISTS silence (
    am_id TEXT NOT NULL,
    source TEXT NOT NULL,
    incident_id INTEGER NOT NULL,
    made_by TEXT NOT NULL,
    matchers TEXT NOT NULL,  -- JSON
    comment TEXT NOT NULL,
    made_at REAL NOT NULL,
    ends_at REAL NOT NULL,
    key TEXT NOT NULL,
    replaced_by TEXT NOT NULL,
    over_at REAL,
    over_by TEXT NOT NULL,
    PRIMARY KEY (source, am_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS silence_incident ON silence (incident_id);
CREATE INDEX IF NOT EXISTS silence_running ON silence (made_at) WHERE over_at IS NULL;

-- Forms that have been sent once already: a repeated one does nothing.
CREATE TABLE IF NOT EXISTS form (
    key TEXT PRIMARY KEY,
    at REAL NOT NULL,
    number INTEGER NOT NULL  -- of the incident, or of what else it has made
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS form_at ON form (at);

CREATE TABLE IF NOT EXISTS heartbeat (
    source TEXT PRIMARY KEY,
    last_seen_at REAL NOT NULL
) STRICT;

-- When each job was last heard: receiver.incident.heartbeat.Beat. An older receiver does not look at it.
CREATE TABLE IF NOT EXISTS job_heartbeat (
    name TEXT PRIMARY KEY,
    silent_since REAL NOT NULL,
    heard_at REAL,
    missed_at REAL
) STRICT, WITHOUT ROWID;

-- What this process remembers of itself: when it was last alive, and when it last looked at the jobs' heartbeats.
CREATE TABLE IF NOT EXISTS own (
    name TEXT PRIMARY KEY,
    value REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- Who is signed in: receiver.store.access.Session. An older receiver does not look at these three.
CREATE TABLE IF NOT EXISTS session (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),  -- SHA-256 of what is in the cookie
    person TEXT NOT NULL,
    name TEXT NOT NULL,
    groups TEXT NOT NULL,  -- JSON
    via TEXT NOT NULL,
    created REAL NOT NULL,
    seen REAL NOT NULL,
    expires REAL NOT NULL,
    ip TEXT NOT NULL,
    agent TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS session_expires ON session (expires);

-- The tokens of scripts: receiver.store.access.Token.
CREATE TABLE IF NOT EXISTS token (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),  -- SHA-256 of the token
    name TEXT NOT NULL,
    scope TEXT NOT NULL CHECK (scope IN ('read', 'act', 'admin')),
    owner TEXT NOT NULL,
    created REAL NOT NULL,
    expires REAL,
    last_used REAL,
    revoked REAL
) STRICT;

-- The devices that Web Push reaches: receiver.store.push.Subscription. An older receiver does not look at them.
CREATE TABLE IF NOT EXISTS push_subscription (
    id TEXT PRIMARY KEY CHECK (length(id) = 64),  -- SHA-256 of the endpoint
    person TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    p256dh TEXT NOT NULL,
    auth TEXT NOT NULL,
    device TEXT NOT NULL,
    created REAL NOT NULL,
    last_ok REAL,
    last_receipt REAL,
    waiting_since REAL,
    gone REAL,
    failures INTEGER NOT NULL DEFAULT 0,
    blocked INTEGER NOT NULL DEFAULT 0,
    CHECK ((gone IS NULL) = (endpoint <> ''))
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS push_subscription_person ON push_subscription (person, created);

-- Who did what, from where: receiver.store.audit.Act. Nothing in it is changed or deleted.
CREATE TABLE IF NOT EXISTS audit (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    actor TEXT NOT NULL,
    via TEXT NOT NULL,
    ip TEXT NOT NULL,
    act TEXT NOT NULL,
    object TEXT NOT NULL,
    before TEXT NOT NULL,
    after TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS audit_object ON audit (object, seq);
CREATE TRIGGER IF NOT EXISTS audit_unchanged BEFORE UPDATE ON audit
BEGIN
    SELECT raise(ABORT, 'the audit log is only appended to');
END;
CREATE TRIGGER IF NOT EXISTS audit_undeleted BEFORE DELETE ON audit
BEGIN
    SELECT raise(ABORT, 'the audit log is only appended to');
END;
