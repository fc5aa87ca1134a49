-- Moves the rows of schema 1 into the tables of schema 2, which stand beside them by now.
INSERT INTO incident (id, key, state, priority, opened_at, wake_at, resolved_at, doc)
    SELECT id, key, state, priority, opened_at, next_due_at, resolved_at, doc FROM incident_1;
INSERT INTO timeline (incident_id, seq, at, kind, text, actor)
    SELECT incident_id, seq, at, kind, text, actor FROM timeline_1;
INSERT INTO outbox (id, incident_id, lane, channel, address, kind, round, serial, priority, notification, state,
                    created_at, not_before, attempt, lease_until, settled_at, ref, last_error)
    SELECT o.id, o.incident_id, o.lane, o.channel, 
           json_extract(CAST(o.notification AS TEXT), '$.target.address'), o.kind, o.round, 0,
           i.priority, o.notification, o.state, o.created_at, o.not_before, o.attempt, o.lease_until, o.settled_at,
           o.ref, o.last_error
    FROM outbox_1 o JOIN incident_1 i ON i.id = o.incident_id;
DROP TABLE outbox_1;
DROP TABLE timeline_1;
DROP TABLE incident_1;
