-- The canaries: what proves that a reading of each connector comes through to the store.

CREATE TABLE canary (
    connector text PRIMARY KEY,
    source_ts timestamptz NOT NULL,
    sent_at   timestamptz NOT NULL,
    stored_at timestamptz NOT NULL,
    count     bigint NOT NULL CHECK (count > 0)
);
COMMENT ON TABLE canary IS 'The newest canary of each connector: the whole path from its source to here worked then';
COMMENT ON COLUMN canary.connector IS 'name of the connector; api = the open interface itself';
COMMENT ON COLUMN canary.source_ts IS 'the source''s own time when it answered (UTC)';
COMMENT ON COLUMN canary.sent_at IS 'when the connector handed the canary to the log (UTC)';
COMMENT ON COLUMN canary.stored_at IS 'when the writer stored the newest canary (UTC)';
COMMENT ON COLUMN canary.count IS 'canaries stored so far';
