-- Every account says corrections beside what is stored, and the writer's position is kept a unit.

ALTER TABLE ingest_ledger DROP CONSTRAINT ingest_ledger_check;
ALTER TABLE ingest_ledger DROP CONSTRAINT ingest_ledger_check1;
UPDATE ingest_ledger SET stored = stored - corrections WHERE corrections > 0;
ALTER TABLE ingest_ledger
    ADD CONSTRAINT ingest_ledger_balances
    CHECK (received = stored + duplicates + corrections + quarantined);
COMMENT ON COLUMN ingest_ledger.stored IS 'rows stored under a key that was new';
COMMENT ON COLUMN ingest_ledger.corrections IS 'rows that replaced another value of their key';

CREATE TABLE unit_position (
    stream   text NOT NULL,
    lane     text NOT NULL CHECK (lane IN ('live', 'backfill')),
    unit     text NOT NULL,
    sequence bigint NOT NULL,
    PRIMARY KEY (stream, lane, unit)
);
COMMENT ON TABLE unit_position IS 'How far the writer has stored what a unit has in the log, committed with the rows';
COMMENT ON COLUMN unit_position.stream IS 'identity of the log stream: its name and creation time';
COMMENT ON COLUMN unit_position.lane IS 'live or backfill: back-fill never holds up live data';
COMMENT ON COLUMN unit_position.unit IS 'unit as named in the log; it need not be registered';
COMMENT ON COLUMN unit_position.sequence IS 'last sequence of the unit stored';
COMMENT ON TABLE writer_position IS 'Positions by partition, as kept before unit_position: everything up to here is stored';

ALTER TABLE tag
    ADD COLUMN frozen_after_s double precision CHECK (frozen_after_s > 0),
    ADD COLUMN rate_max_per_s double precision CHECK (rate_max_per_s > 0);
COMMENT ON COLUMN tag.frozen_after_s IS 'a value unchanged for longer than this, in seconds, is marked uncertain; null = never';
COMMENT ON COLUMN tag.rate_max_per_s IS 'a change faster than this, in unit per second, is marked uncertain; null = never';

ALTER TABLE latest_value ADD COLUMN unchanged_since timestamptz;
-- Every row is replaced again and again: with room on its page no index has to follow.
ALTER TABLE latest_value SET (fillfactor = 50);
COMMENT ON COLUMN latest_value.unchanged_since IS 'source time since which the value has been the same (UTC); null = not watched';

CREATE TABLE closed_period (
    unit_id      integer PRIMARY KEY REFERENCES lead_unit (unit_id),
    closed_until timestamptz NOT NULL,
    closed_at    timestamptz NOT NULL DEFAULT now(),
    closed_by    text NOT NULL
);
COMMENT ON TABLE closed_period IS 'Until when a unit''s readings are closed: what is older is refused as period_closed';
COMMENT ON COLUMN closed_period.unit_id IS 'lead unit';
COMMENT ON COLUMN closed_period.closed_until IS 'readings before this source time are no longer taken (UTC)';
COMMENT ON COLUMN closed_period.closed_at IS 'when it was closed (UTC)';
COMMENT ON COLUMN closed_period.closed_by IS 'who closed it';

CREATE TABLE clock_skew (
    source_id   integer PRIMARY KEY REFERENCES source (source_id),
    ahead_s     double precision NOT NULL,
    worst_s     double precision NOT NULL,
    measured_at timestamptz NOT NULL
);
COMMENT ON TABLE clock_skew IS 'How far a source''s clock is ahead of the platform''s, as its live readings show';
COMMENT ON COLUMN clock_skew.source_id IS 'source';
COMMENT ON COLUMN clock_skew.ahead_s IS 'newest source time less the time of arrival, of the last live batch; negative = late or behind (s)';
COMMENT ON COLUMN clock_skew.worst_s IS 'the largest ahead_s there was (s)';
COMMENT ON COLUMN clock_skew.measured_at IS 'when measured (UTC)';
