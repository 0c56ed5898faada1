-- Time series and the account of what arrived. The physical layout of measurement
-- (partitions, hypertables) is applied after this file: see store/layouts.

CREATE TABLE measurement (
    tag_id  integer NOT NULL,
    ts      timestamptz NOT NULL,
    value   double precision NOT NULL,
    quality smallint NOT NULL,
    PRIMARY KEY (tag_id, ts)
);
COMMENT ON TABLE measurement IS 'Numeric readings; identity is (tag_id, ts)';
COMMENT ON COLUMN measurement.tag_id IS 'tag (no foreign key: checked by the writer, off the hot path)';
COMMENT ON COLUMN measurement.ts IS 'time by the source''s clock (UTC)';
COMMENT ON COLUMN measurement.value IS 'value in tag.unit; bool as 0/1; enum as its code';
COMMENT ON COLUMN measurement.quality IS 'upper 16 bits of the OPC UA StatusCode: >= 0x4000 uncertain, negative bad, else good';

CREATE TABLE event (
    tag_id  integer NOT NULL,
    ts      timestamptz NOT NULL,
    text    text NOT NULL,
    quality smallint NOT NULL,
    PRIMARY KEY (tag_id, ts)
);
COMMENT ON TABLE event IS 'Readings of text tags: alarms, serial numbers, free states';
COMMENT ON COLUMN event.tag_id IS 'tag with data_type text';
COMMENT ON COLUMN event.ts IS 'time by the source''s clock (UTC)';
COMMENT ON COLUMN event.text IS 'the text as sent';
COMMENT ON COLUMN event.quality IS 'as in measurement';

CREATE TABLE measurement_revision (
    tag_id      integer NOT NULL,
    ts          timestamptz NOT NULL,
    value       double precision,
    text        text,
    quality     smallint NOT NULL,
    replaced_at timestamptz NOT NULL,
    replaced_by integer NOT NULL,
    batch       text NOT NULL
);
CREATE INDEX measurement_revision_key ON measurement_revision (tag_id, ts);
COMMENT ON TABLE measurement_revision IS 'Values that a correction replaced';
COMMENT ON COLUMN measurement_revision.tag_id IS 'tag';
COMMENT ON COLUMN measurement_revision.ts IS 'time by the source''s clock (UTC)';
COMMENT ON COLUMN measurement_revision.value IS 'the old value; null for text tags';
COMMENT ON COLUMN measurement_revision.text IS 'the old text; null for numeric tags';
COMMENT ON COLUMN measurement_revision.quality IS 'the old quality';
COMMENT ON COLUMN measurement_revision.replaced_at IS 'when the correction was stored (UTC)';
COMMENT ON COLUMN measurement_revision.replaced_by IS 'source_id that sent the correction';
COMMENT ON COLUMN measurement_revision.batch IS 'batch that carried the correction';

CREATE TABLE latest_value (
    tag_id      integer PRIMARY KEY,
    ts          timestamptz NOT NULL,
    value       double precision,
    text        text,
    quality     smallint NOT NULL,
    received_at timestamptz NOT NULL
);
COMMENT ON TABLE latest_value IS 'Newest reading of each tag, by source time, never by arrival';
COMMENT ON COLUMN latest_value.tag_id IS 'tag';
COMMENT ON COLUMN latest_value.ts IS 'time by the source''s clock (UTC)';
COMMENT ON COLUMN latest_value.value IS 'as in measurement; null for text tags';
COMMENT ON COLUMN latest_value.text IS 'as in event; null for numeric tags';
COMMENT ON COLUMN latest_value.quality IS 'as in measurement';
COMMENT ON COLUMN latest_value.received_at IS 'when the platform received it (UTC)';

CREATE TABLE quarantine (
    quarantine_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    unit_id       integer NOT NULL,
    source_id     integer NOT NULL,
    batch         text NOT NULL,
    place         text NOT NULL,
    reason        text NOT NULL,
    parameters    jsonb NOT NULL,
    tag           text,
    ts            timestamptz,
    original      bytea NOT NULL,
    received_at   timestamptz NOT NULL
);
CREATE INDEX quarantine_unit ON quarantine (unit_id, quarantine_id DESC);
COMMENT ON TABLE quarantine IS 'What was refused, with reason, place and the original bytes';
COMMENT ON COLUMN quarantine.quarantine_id IS 'internal key';
COMMENT ON COLUMN quarantine.unit_id IS 'owner';
COMMENT ON COLUMN quarantine.source_id IS 'source it came by';
COMMENT ON COLUMN quarantine.batch IS 'batch that carried it';
COMMENT ON COLUMN quarantine.place IS 'where in the input, e.g. records[3].ts or dataset enterprise records[0].uscc';
COMMENT ON COLUMN quarantine.reason IS 'code of the closed list in ingest/reasons.py';
COMMENT ON COLUMN quarantine.parameters IS 'values for the reason''s text';
COMMENT ON COLUMN quarantine.tag IS 'tag name, where it could be read';
COMMENT ON COLUMN quarantine.ts IS 'claimed time, where it could be read (UTC)';
COMMENT ON COLUMN quarantine.original IS 'bytes as received (the row, or the whole body when it could not be parsed)';
COMMENT ON COLUMN quarantine.received_at IS 'when received (UTC)';

CREATE TABLE ingest_ledger (
    source_id        integer PRIMARY KEY REFERENCES source (source_id),
    received         bigint NOT NULL DEFAULT 0,
    stored           bigint NOT NULL DEFAULT 0,
    duplicates       bigint NOT NULL DEFAULT 0,
    corrections      bigint NOT NULL DEFAULT 0,
    quarantined      bigint NOT NULL DEFAULT 0,
    last_received_at timestamptz,
    last_source_ts   timestamptz,
    CHECK (received = stored + duplicates + quarantined),
    CHECK (corrections <= stored)
);
COMMENT ON TABLE ingest_ledger IS 'Account of every source, kept in the transaction that stores the rows';
COMMENT ON COLUMN ingest_ledger.source_id IS 'source';
COMMENT ON COLUMN ingest_ledger.received IS 'rows taken from the log';
COMMENT ON COLUMN ingest_ledger.stored IS 'rows stored, corrections among them';
COMMENT ON COLUMN ingest_ledger.duplicates IS 'rows whose key and value were stored before';
COMMENT ON COLUMN ingest_ledger.corrections IS 'rows whose key was stored before with another value';
COMMENT ON COLUMN ingest_ledger.quarantined IS 'rows refused';
COMMENT ON COLUMN ingest_ledger.last_received_at IS 'newest arrival (UTC)';
COMMENT ON COLUMN ingest_ledger.last_source_ts IS 'newest accepted source time (UTC)';

CREATE TABLE supply_hour (
    equipment_id integer NOT NULL,
    source_id    integer NOT NULL,
    hour         timestamptz NOT NULL,
    accepted     bigint NOT NULL,
    live         bigint NOT NULL,
    timely       bigint NOT NULL,
    duplicates   bigint NOT NULL,
    quarantined  bigint NOT NULL,
    PRIMARY KEY (equipment_id, source_id, hour)
);
CREATE INDEX supply_hour_hour ON supply_hour (hour);
COMMENT ON TABLE supply_hour IS 'How data arrived, by equipment, source and hour of source time; additive';
COMMENT ON COLUMN supply_hour.equipment_id IS 'equipment; 0 where the tag is unknown';
COMMENT ON COLUMN supply_hour.source_id IS 'source';
COMMENT ON COLUMN supply_hour.hour IS 'hour of the source time (UTC), of arrival where the time could not be read';
COMMENT ON COLUMN supply_hour.accepted IS 'rows stored';
COMMENT ON COLUMN supply_hour.live IS 'rows stored that were not sent as back-fill';
COMMENT ON COLUMN supply_hour.timely IS 'live rows received within 60 s of their source time';
COMMENT ON COLUMN supply_hour.duplicates IS 'duplicate rows';
COMMENT ON COLUMN supply_hour.quarantined IS 'refused rows';

CREATE TABLE arrival (
    source_id integer NOT NULL,
    slot      timestamptz NOT NULL,
    received  bigint NOT NULL,
    live      bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (source_id, slot)
);
CREATE INDEX arrival_slot ON arrival (slot);
COMMENT ON TABLE arrival IS 'Rows received in each 10 s of arrival time; the live data rate. Kept two days';
COMMENT ON COLUMN arrival.source_id IS 'source';
COMMENT ON COLUMN arrival.slot IS 'start of the 10 s (UTC)';
COMMENT ON COLUMN arrival.received IS 'rows received, back-fill and refused rows among them';
COMMENT ON COLUMN arrival.live IS 'rows received that were sent live and not refused';

CREATE TABLE latency_bucket (
    source_id integer NOT NULL,
    slot      timestamptz NOT NULL,
    bucket    smallint NOT NULL,
    n         bigint NOT NULL,
    PRIMARY KEY (source_id, slot, bucket)
);
CREATE INDEX latency_bucket_slot ON latency_bucket (slot);
COMMENT ON TABLE latency_bucket IS 'Histogram of (stored - source time) of live rows by 5 min of arrival';
COMMENT ON COLUMN latency_bucket.source_id IS 'source';
COMMENT ON COLUMN latency_bucket.slot IS 'start of the 5 min of arrival (UTC)';
COMMENT ON COLUMN latency_bucket.bucket IS 'b covers [10 ms * 1.1^b, 10 ms * 1.1^(b+1)); 0 holds all below';
COMMENT ON COLUMN latency_bucket.n IS 'rows';

CREATE TABLE writer_position (
    stream    text NOT NULL,
    lane      text NOT NULL CHECK (lane IN ('live', 'backfill')),
    partition smallint NOT NULL,
    sequence  bigint NOT NULL,
    PRIMARY KEY (stream, lane, partition)
);
COMMENT ON TABLE writer_position IS 'How far the writer has stored the log, committed with the rows';
COMMENT ON COLUMN writer_position.stream IS 'identity of the log stream: its name and creation time';
COMMENT ON COLUMN writer_position.lane IS 'live or backfill: back-fill never holds up live data';
COMMENT ON COLUMN writer_position.partition IS 'partition of the log';
COMMENT ON COLUMN writer_position.sequence IS 'last sequence stored';

CREATE TABLE submission (
    batch       text PRIMARY KEY,
    unit_id     integer NOT NULL,
    dataset     text NOT NULL,
    received    integer NOT NULL,
    accepted    integer NOT NULL,
    duplicates  integer NOT NULL,
    corrections integer NOT NULL,
    quarantined integer NOT NULL,
    errors      jsonb NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE submission IS 'Verdict on each dataset submission';
COMMENT ON COLUMN submission.batch IS 'identity of the submission';
COMMENT ON COLUMN submission.unit_id IS 'owner';
COMMENT ON COLUMN submission.dataset IS 'dataset';
COMMENT ON COLUMN submission.received IS 'records received';
COMMENT ON COLUMN submission.accepted IS 'records stored, corrections among them';
COMMENT ON COLUMN submission.duplicates IS 'records already known';
COMMENT ON COLUMN submission.corrections IS 'records that replaced another revision';
COMMENT ON COLUMN submission.quarantined IS 'records refused';
COMMENT ON COLUMN submission.errors IS 'first 100 refusals: index, place, reason, parameters';
COMMENT ON COLUMN submission.applied_at IS 'when applied (UTC)';

CREATE TABLE dirty_hour (
    equipment_id integer NOT NULL,
    hour         timestamptz NOT NULL,
    marked_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    since        timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (equipment_id, hour)
);
CREATE INDEX dirty_hour_hour ON dirty_hour (hour);
COMMENT ON TABLE dirty_hour IS 'Equipment-hours whose rows, calendar or orders changed since they were computed';
COMMENT ON COLUMN dirty_hour.equipment_id IS 'equipment';
COMMENT ON COLUMN dirty_hour.hour IS 'hour (UTC)';
COMMENT ON COLUMN dirty_hour.marked_at IS 'last mark (UTC); removed only if not marked again since it was read';
COMMENT ON COLUMN dirty_hour.since IS 'first mark not yet worked off (UTC); a later mark does not change it';
