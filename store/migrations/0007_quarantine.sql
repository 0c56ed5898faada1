-- The quarantine is replayed entry by entry, and the originals it keeps are bounded.

ALTER TABLE quarantine
    ADD COLUMN replayed_at  timestamptz,
    ADD COLUMN replay_batch text;
COMMENT ON COLUMN quarantine.replayed_at IS 'when it was put into the log again (UTC); null = open';
COMMENT ON COLUMN quarantine.replay_batch IS 'batch that carried it again; null = open';
COMMENT ON COLUMN quarantine.reason IS 'code of the closed list in store/reasons.py';
COMMENT ON COLUMN quarantine.original IS 'bytes as received (the row, or the whole body when it could not be parsed); cut ones have their size and SHA-256 in parameters';

CREATE INDEX quarantine_open ON quarantine (unit_id, quarantine_id) WHERE replayed_at IS NULL;
-- Read backwards as well, and written at the end of a unit's part, which descending is its beginning.
DROP INDEX quarantine_unit;
CREATE INDEX quarantine_unit ON quarantine (unit_id, quarantine_id);

CREATE TABLE quarantine_kept (
    unit_id        integer PRIMARY KEY,
    original_bytes bigint NOT NULL CHECK (original_bytes >= 0)
);
COMMENT ON TABLE quarantine_kept IS 'How many bytes of originals a unit''s open entries hold, kept in the transaction of the entries';
COMMENT ON COLUMN quarantine_kept.unit_id IS 'owner; 0 = units that are not registered';
COMMENT ON COLUMN quarantine_kept.original_bytes IS 'sum over open entries (bytes)';
INSERT INTO quarantine_kept (unit_id, original_bytes)
    SELECT unit_id, sum(octet_length(original)) FROM quarantine GROUP BY unit_id;
