-- Gives the tables of schema 9 the shape of schema 8.
DROP INDEX outbox_unsettled, outbox_owed;
CREATE INDEX outbox_unsettled ON outbox (incident_id, lane, id) WHERE state IN ('pending', 'sending');
CREATE INDEX outbox_owed ON outbox (channel, created_at) WHERE state IN ('pending', 'sending');
CREATE INDEX outbox_late ON outbox (channel, created_at)
    WHERE kind = 'page' AND elsewhere = 0 AND state IN ('pending', 'sending');
ALTER TABLE alike ADD CONSTRAINT alike_incident_id_fkey FOREIGN KEY (incident_id) REFERENCES incident (id);
CREATE INDEX alike_incident ON alike (incident_id);
UPDATE schema_version SET version = 8;
