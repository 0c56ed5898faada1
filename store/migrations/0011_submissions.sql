-- The verdict on readings, record by record, beside that on dataset records; and what a key was used for.

ALTER TABLE submission
    ADD COLUMN body_digest bytea,
    ADD COLUMN verdicts bytea;
CREATE INDEX submission_measurements ON submission (applied_at) WHERE dataset = 'measurements';
COMMENT ON TABLE submission IS 'Verdict on each submission of dataset records, and on those of readings that want one';
COMMENT ON COLUMN submission.dataset IS 'dataset; measurements = readings';
COMMENT ON COLUMN submission.accepted IS 'records stored, corrections among them; counts of readings grow with each part that is stored';
COMMENT ON COLUMN submission.errors IS 'refusals: place, reason, parameters; the first 100, or all where verdicts are kept';
COMMENT ON COLUMN submission.body_digest IS 'SHA-256 of the body and how it was read, where an Idempotency-Key came with it; null = none did';
COMMENT ON COLUMN submission.verdicts IS 'one byte a record: 0 accepted, 1 duplicate, 2 correction, 3 quarantined; null = counts alone';
