PRAGMA user_version=6;
CREATE TABLE gathering (
    channel TEXT NOT NULL,
    address TEXT NOT NULL,
    until REAL NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (channel, address)
) STRICT, WITHOUT ROWID;
CREATE TABLE heartbeat (
    source TEXT PRIMARY KEY,
    last_seen_at REAL NOT NULL
) STRICT;
INSERT INTO "heartbeat" VALUES('alertmanager',1795403820.0);
CREATE TABLE incident (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('triggered', 'acknowledged', 'resolved')),
    priority TEXT NOT NULL CHECK (priority IN ('P1', 'P2', 'P3', 'P4')),
    opened_at REAL NOT NULL,
    wake_at REAL,
    resolved_at REAL,
    doc BLOB NOT NULL,
    CHECK ((state = 'resolved') = (resolved_at IS NOT NULL)),
    CHECK (state <> 'resolved' OR wake_at IS NULL)
) STRICT;
INSERT INTO "incident" VALUES(1,'receiver|Acknowledged','acknowledged','P1',1795402800.0,NULL,NULL,CAST('{"id":1,"key":"receiver|Acknowledged","state":"acknowledged","priority":"P1","title":"HighErrorRate: High error rate detected","team":"backend","receiver":"receiver","labels":{"alertname":"HighErrorRate","severity":"critical","team":"backend"},"alerts":{"Acknowledged":{"fingerprint":"Acknowledged","firing":true,"starts_at":"2026-11-23T03:00:00Z","ends_at":null,"labels":{"alertname":"HighErrorRate","severity":"critical","team":"backend"},"annotations":{"summary":"High error rate detected","description":"12% of requests fail."},"generator_url":""}},"opened_at":"2026-11-23T03:00:00Z","plan":{"steps":[{"after":0.0,"roles":["on-call-engineer"]},{"after":900.0,"roles":["tech-lead"]},{"after":1800.0,"roles":["engineering-manager"]},{"after":3600.0,"roles":["cto"]}],"response_time":900.0},"next_step":1,"clocks":{"started_at":"2026-11-23T03:00:00Z"},"delivery":{"rounds":1,"round_lanes":["pagerduty:staff:on-call-engineer:P1","email:linh@example.com","slack:#alerts-backend"],"round_reason":"opened","paged_at":"2026-11-23T03:00:00Z","delivered_at":"2026-11-23T03:00:00Z","reached":["linh"],"serial":1,"told":[{"channel":"pagerduty","address":"staff","lane":"pagerduty:staff:on-call-engineer:P1","person":"linh","role":"on-call-engineer"},{"channel":"email","address":"linh@example.com","lane":"email:linh@example.com","person":"linh","role":"on-call-engineer"},{"channel":"slack","address":"#alerts-backend","lane":"slack:#alerts-backend","person":"","role":""}]},"acknowledged_at":"2026-11-23T03:00:00Z","acknowledged_by":"linh"}' AS BLOB));
INSERT INTO "incident" VALUES(2,'receiver|Waiting','triggered','P2',1795402860.0,1795404660.0,NULL,CAST('{"id":2,"key":"receiver|Waiting","state":"triggered","priority":"P2","title":"HighErrorRate: High error rate detected","team":"backend","receiver":"receiver","labels":{"alertname":"HighErrorRate","severity":"warning","team":"backend"},"alerts":{"Waiting":{"fingerprint":"Waiting","firing":true,"starts_at":"2026-11-23T03:00:00Z","ends_at":null,"labels":{"alertname":"HighErrorRate","severity":"warning","team":"backend"},"annotations":{"summary":"High error rate detected","description":"12% of requests fail."},"generator_url":""}},"opened_at":"2026-11-23T03:01:00Z","plan":{"steps":[{"after":0.0,"roles":["on-call-engineer"]},{"after":1800.0,"roles":["tech-lead"]},{"after":3600.0,"roles":["engineering-manager"]}],"response_time":1800.0},"next_step":1,"clocks":{"started_at":"2026-11-23T03:01:00Z","next_due_at":"2026-11-23T03:31:00Z","answer_due_at":"2026-11-23T03:31:00Z"},"delivery":{"rounds":1,"round_lanes":["pagerduty:staff:on-call-engineer:P2","email:linh@example.com","slack:#alerts-backend"],"round_reason":"opened","paged_at":"2026-11-23T03:01:00Z","delivered_at":"2026-11-23T03:17:00Z","reached":["linh"],"told":[{"channel":"pagerduty","address":"staff","lane":"pagerduty:staff:on-call-engineer:P2","person":"linh","role":"on-call-engineer"},{"channel":"email","address":"linh@example.com","lane":"email:linh@example.com","person":"linh","role":"on-call-engineer"},{"channel":"slack","address":"#alerts-backend","lane":"slack:#alerts-backend","person":"","role":""}]}}' AS BLOB));
INSERT INTO "incident" VALUES(3,'receiver|Minor','triggered','P4',1795402860.0,1795406460.0,NULL,CAST('{"id":3,"key":"receiver|Minor","state":"triggered","title":"HighErrorRate: High error rate detected","team":"backend","receiver":"receiver","labels":{"alertname":"HighErrorRate","severity":"none","team":"backend"},"alerts":{"Minor":{"fingerprint":"Minor","firing":true,"starts_at":"2026-11-23T03:00:00Z","ends_at":null,"labels":{"alertname":"HighErrorRate","severity":"none","team":"backend"},"annotations":{"summary":"High error rate detected","description":"12% of requests fail."},"generator_url":""}},"opened_at":"2026-11-23T03:01:00Z","plan":{"steps":[{"after":3600,"roles":["on-call-engineer"]}],"response_time":86400.0},"clocks":{"started_at":"2026-11-23T03:01:00Z","next_due_at":"2026-11-23T04:01:00Z","answer_due_at":"2026-11-24T03:01:00Z"},"delivery":{}}' AS BLOB));
INSERT INTO "incident" VALUES(4,'receiver|Over','resolved','P3',1795402860.0,NULL,1795403820.0,CAST('{"id":4,"key":"receiver|Over","state":"resolved","priority":"P3","title":"HighErrorRate: High error rate detected","team":"backend","receiver":"receiver","labels":{"alertname":"HighErrorRate","severity":"info","team":"backend"},"alerts":{"Over":{"fingerprint":"Over","firing":false,"starts_at":"2026-11-23T03:00:00Z","ends_at":"2026-11-23T03:01:00Z","labels":{"alertname":"HighErrorRate","severity":"info","team":"backend"},"annotations":{"summary":"High error rate detected","description":"12% of requests fail."},"generator_url":""}},"echoes":{"Over":{"starts_at":"2026-11-23T03:00:00Z","at":"2026-11-23T03:17:00Z"}},"opened_at":"2026-11-23T03:01:00Z","plan":{"steps":[{"after":900.0,"roles":["on-call-engineer"]},{"after":3600.0,"roles":["tech-lead"]}],"response_time":7200.0},"next_step":1,"clocks":{"started_at":"2026-11-23T03:01:00Z"},"delivery":{"rounds":1,"round_lanes":["pagerduty:staff:on-call-engineer:P3","email:linh@example.com","slack:#alerts-backend"],"round_reason":"opened","paged_at":"2026-11-23T03:17:00Z","delivered_at":"2026-11-23T03:17:00Z","reached":["linh"],"serial":1,"told":[{"channel":"pagerduty","address":"staff","lane":"pagerduty:staff:on-call-engineer:P3","person":"linh","role":"on-call-engineer"},{"channel":"email","address":"linh@example.com","lane":"email:linh@example.com","person":"linh","role":"on-call-engineer"},{"channel":"slack","address":"#alerts-backend","lane":"slack:#alerts-backend","person":"","role":""}]},"resolved_at":"2026-11-23T03:17:00Z","resolved_by":"alerts"}' AS BLOB));
CREATE TABLE member (
    receiver TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    incident_id INTEGER NOT NULL REFERENCES incident (id),
    PRIMARY KEY (receiver, fingerprint, incident_id)
) STRICT, WITHOUT ROWID;
INSERT INTO "member" VALUES('receiver','Acknowledged',1);
INSERT INTO "member" VALUES('receiver','Waiting',2);
INSERT INTO "member" VALUES('receiver','Minor',3);
CREATE TABLE outbox (
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
    rank INTEGER NOT NULL DEFAULT 0,
    tries INTEGER NOT NULL DEFAULT 0,
    spent REAL NOT NULL DEFAULT 0,
    parked INTEGER NOT NULL DEFAULT 0,
    elsewhere INTEGER NOT NULL DEFAULT 0,
    bundle INTEGER,

    UNIQUE (incident_id, lane, kind, round, serial),
    CHECK ((state = 'sending') = (lease_until IS NOT NULL)),
    CHECK ((state IN ('sent', 'dead', 'cancelled')) = (settled_at IS NOT NULL))
) STRICT;
INSERT INTO "outbox" VALUES(1,1,'pagerduty:staff:on-call-engineer:P1','pagerduty','staff','page',1,0,'P1',CAST('{"kind":"page","target":{"channel":"pagerduty","address":"staff","lane":"pagerduty:staff:on-call-engineer:P1","person":"linh","role":"on-call-engineer"},"round":1,"roles":["on-call-engineer"],"reason":"opened","at":"2026-11-23T03:00:00Z"}' AS BLOB),'cancelled',1795402800.0,1795402800.0,0,NULL,1795402800.0,'','',0,0,0.0,0,0,NULL);
INSERT INTO "outbox" VALUES(2,1,'email:linh@example.com','email','linh@example.com','page',1,0,'P1',CAST('{"kind":"page","target":{"channel":"email","address":"linh@example.com","lane":"email:linh@example.com","person":"linh","role":"on-call-engineer"},"round":1,"roles":["on-call-engineer"],"reason":"opened","at":"2026-11-23T03:00:00Z"}' AS BLOB),'sent',1795402800.0,1795402800.0,1,NULL,1795402800.0,'<mail-1>','',0,0,0.0,0,0,NULL);
INSERT INTO "outbox" VALUES(3,1,'slack:#alerts-backend','slack','#alerts-backend','page',1,0,'P1',CAST('{"kind":"page","target":{"channel":"slack","address":"#alerts-backend","lane":"slack:#alerts-backend","person":"","role":""},"round":1,"roles":["on-call-engineer"],"reason":"opened","at":"2026-11-23T03:00:00Z"}' AS BLOB),'cancelled',1795402800.0,1795402800.0,0,NULL,1795402800.0,'','',0,0,0.0,0,0,NULL);
INSERT INTO "outbox" VALUES(4,1,'email:linh@example.com','email','linh@example.com','acknowledged',1,0,'P1',CAST('{"kind":"acknowledged","target":{"channel":"email","address":"linh@example.com","lane":"email:linh@example.com","person":"linh","role":"on-call-engineer"},"round":1,"data":{},"serial":1}' AS BLOB),'sent',1795402800.0,1795402800.0,1,NULL,1795403820.0,'<mail-2>','',4,0,0.0,0,0,NULL);
INSERT INTO "outbox" VALUES(5,2,'pagerduty:staff:on-call-engineer:P2','pagerduty','staff','page',1,0,'P2',CAST('{"kind":"page","target":{"channel":"pagerduty","address":"staff","lane":"pagerduty:staff:on-call-engineer:P2","person":"linh","role":"on-call-engineer"},"round":1,"roles":["on-call-engineer"],"reason":"opened","at":"2026-11-23T03:01:00Z"}' AS BLOB),'pending',1795402860.0,1795402860.0,0,NULL,NULL,'','',1,0,0.0,0,0,NULL);
INSERT INTO "outbox" VALUES(6,2,'email:linh@example.com','email','linh@example.com','page',1,0,'P2',CAST('{"kind":"page","target":{"channel":"email","address":"linh@example.com","lane":"email:linh@example.com","person":"linh","role":"on-call-engineer"},"round":1,"roles":["on-call-engineer"],"reason":"opened","at":"2026-11-23T03:01:00Z"}' AS BLOB),'sent',1795402860.0,1795402860.0,1,NULL,1795403820.0,'<mail-2>','',1,0,0.0,0,0,NULL);
INSERT INTO "outbox" VALUES(7,2,'slack:#alerts-backend','slack','#alerts-backend','page',1,0,'P2',CAST('{"kind":"page","target":{"channel":"slack","address":"#alerts-backend","lane":"slack:#alerts-backend","person":"","role":""},"round":1,"roles":["on-call-engineer"],"reason":"opened","at":"2026-11-23T03:01:00Z"}' AS BLOB),'pending',1795402860.0,1795402860.0,0,NULL,NULL,'','',1,0,0.0,0,0,NULL);
INSERT INTO "outbox" VALUES(8,4,'pagerduty:staff:on-call-engineer:P3','pagerduty','staff','page',1,0,'P3',CAST('{"kind":"page","target":{"channel":"pagerduty","address":"staff","lane":"pagerduty:staff:on-call-engineer:P3","person":"linh","role":"on-call-engineer"},"round":1,"roles":["on-call-engineer"],"reason":"opened","at":"2026-11-23T03:17:00Z"}' AS BLOB),'cancelled',1795403820.0,1795403820.0,0,NULL,1795403820.0,'','',2,0,0.0,0,0,NULL);
INSERT INTO "outbox" VALUES(9,4,'email:linh@example.com','email','linh@example.com','page',1,0,'P3',CAST('{"kind":"page","target":{"channel":"email","address":"linh@example.com","lane":"email:linh@example.com","person":"linh","role":"on-call-engineer"},"round":1,"roles":["on-call-engineer"],"reason":"opened","at":"2026-11-23T03:17:00Z"}' AS BLOB),'sent',1795403820.0,1795403820.0,1,NULL,1795403820.0,'<mail-2>','',2,0,0.0,0,0,NULL);
INSERT INTO "outbox" VALUES(10,4,'slack:#alerts-backend','slack','#alerts-backend','page',1,0,'P3',CAST('{"kind":"page","target":{"channel":"slack","address":"#alerts-backend","lane":"slack:#alerts-backend","person":"","role":""},"round":1,"roles":["on-call-engineer"],"reason":"opened","at":"2026-11-23T03:17:00Z"}' AS BLOB),'cancelled',1795403820.0,1795403820.0,0,NULL,1795403820.0,'','',2,0,0.0,0,0,NULL);
INSERT INTO "outbox" VALUES(11,4,'email:linh@example.com','email','linh@example.com','resolved',1,0,'P3',CAST('{"kind":"resolved","target":{"channel":"email","address":"linh@example.com","lane":"email:linh@example.com","person":"linh","role":"on-call-engineer"},"round":1,"data":{},"serial":1}' AS BLOB),'pending',1795403820.0,1795403820.0,0,NULL,NULL,'','',6,0,0.0,0,0,NULL);
CREATE TABLE own (
    name TEXT PRIMARY KEY,
    value REAL NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "own" VALUES('alive',1795403820.0);
CREATE TABLE timeline (
    incident_id INTEGER NOT NULL REFERENCES incident (id),
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    text TEXT NOT NULL,
    actor TEXT NOT NULL,
    data TEXT NOT NULL DEFAULT '{}'
) STRICT;
INSERT INTO "timeline" VALUES(1,1,1795402800.0,'opened','','','{"priority":"P1","team":"backend","title":"HighErrorRate: High error rate detected"}');
INSERT INTO "timeline" VALUES(1,2,1795402800.0,'alert_firing','','','{"alert":"HighErrorRate"}');
INSERT INTO "timeline" VALUES(1,3,1795402800.0,'paged','','','{"people":[{"person":"linh","role":"on-call-engineer"}]}');
INSERT INTO "timeline" VALUES(1,4,1795402800.0,'told','','','{"notification":"page","channel":"email","address":"linh@example.com","person":"linh"}');
INSERT INTO "timeline" VALUES(1,5,1795402800.0,'acknowledged','','linh','{"origin":"api"}');
INSERT INTO "timeline" VALUES(2,6,1795402860.0,'opened','','','{"priority":"P2","team":"backend","title":"HighErrorRate: High error rate detected"}');
INSERT INTO "timeline" VALUES(2,7,1795402860.0,'alert_firing','','','{"alert":"HighErrorRate"}');
INSERT INTO "timeline" VALUES(2,8,1795402860.0,'paged','','','{"people":[{"person":"linh","role":"on-call-engineer"}]}');
INSERT INTO "timeline" VALUES(3,9,1795402860.0,'opened','','','{"priority":"P4","team":"backend","title":"HighErrorRate: High error rate detected"}');
INSERT INTO "timeline" VALUES(3,10,1795402860.0,'alert_firing','','','{"alert":"HighErrorRate"}');
INSERT INTO "timeline" VALUES(4,11,1795402860.0,'opened','','','{"priority":"P3","team":"backend","title":"HighErrorRate: High error rate detected"}');
INSERT INTO "timeline" VALUES(4,12,1795402860.0,'alert_firing','','','{"alert":"HighErrorRate"}');
INSERT INTO "timeline" VALUES(4,13,1795403820.0,'paged','','','{"people":[{"person":"linh","role":"on-call-engineer"}]}');
INSERT INTO "timeline" VALUES(2,14,1795403820.0,'told','','','{"notification":"page","channel":"email","address":"linh@example.com","person":"linh"}');
INSERT INTO "timeline" VALUES(4,15,1795403820.0,'told','','','{"notification":"page","channel":"email","address":"linh@example.com","person":"linh"}');
INSERT INTO "timeline" VALUES(1,16,1795403820.0,'told','','','{"notification":"acknowledged","channel":"email","address":"linh@example.com","person":"linh"}');
INSERT INTO "timeline" VALUES(4,17,1795403820.0,'alert_resolved','','','{"alert":"HighErrorRate"}');
INSERT INTO "timeline" VALUES(4,18,1795403820.0,'resolved','','alerts','{}');
CREATE UNIQUE INDEX incident_open ON incident (key) WHERE state <> 'resolved';
CREATE INDEX incident_key ON incident (key, id);
CREATE INDEX incident_wake ON incident (wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX incident_count ON incident (state, priority, opened_at) WHERE state <> 'resolved';
CREATE INDEX incident_over ON incident (resolved_at) WHERE resolved_at IS NOT NULL;
CREATE INDEX incident_opened ON incident (opened_at, id);
CREATE INDEX incident_state ON incident (state, id);
CREATE INDEX incident_still_open ON incident (id) WHERE state <> 'resolved';
CREATE INDEX member_incident ON member (incident_id);
CREATE INDEX timeline_incident ON timeline (incident_id, seq);
CREATE INDEX outbox_lane ON outbox (incident_id, lane, id);
CREATE INDEX outbox_unsettled ON outbox (incident_id, lane, id) WHERE state IN ('pending', 'sending');
CREATE INDEX outbox_due ON outbox (channel, rank, not_before, id) WHERE state = 'pending' AND parked = 0;
CREATE INDEX outbox_waiting ON outbox (channel, address, rank, id) WHERE state = 'pending';
CREATE INDEX outbox_parked ON outbox (channel, address) WHERE parked = 1;
CREATE INDEX outbox_owed ON outbox (channel, created_at) WHERE state IN ('pending', 'sending');
CREATE INDEX outbox_late ON outbox (channel, created_at)
    WHERE kind = 'page' AND elsewhere = 0 AND state IN ('pending', 'sending');
CREATE INDEX outbox_lease ON outbox (lease_until) WHERE state = 'sending';
CREATE INDEX outbox_dead ON outbox (settled_at) WHERE state = 'dead';
CREATE INDEX outbox_bundle ON outbox (bundle) WHERE bundle IS NOT NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('timeline',18);
INSERT INTO "sqlite_sequence" VALUES('outbox',11);
