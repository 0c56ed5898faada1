-- Files of datasets on their way: kept until they are judged, and for some days what became of them.

CREATE TABLE file_upload (
    upload_id   text PRIMARY KEY,
    unit_id     integer NOT NULL REFERENCES lead_unit (unit_id),
    dataset     text NOT NULL,
    file_name   text NOT NULL,
    n_bytes     integer NOT NULL,
    dry_run     boolean NOT NULL,
    sent_by     text NOT NULL,
    stage       text NOT NULL DEFAULT 'queued'
                CHECK (stage IN ('queued', 'reading', 'submitting', 'marking', 'done', 'refused', 'failed')),
    total       integer,
    done        integer NOT NULL DEFAULT 0,
    accepted    integer NOT NULL DEFAULT 0,
    duplicates  integer NOT NULL DEFAULT 0,
    corrections integer NOT NULL DEFAULT 0,
    quarantined integer NOT NULL DEFAULT 0,
    problem     jsonb,
    notes       jsonb NOT NULL DEFAULT '{}',
    errors      jsonb NOT NULL DEFAULT '[]',
    content     bytea,
    marked      bytea,
    attempts    integer NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL DEFAULT now(),
    beat_at     timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);
CREATE INDEX file_upload_unit ON file_upload (unit_id, created_at DESC);
COMMENT ON TABLE file_upload IS 'Files of datasets that units have uploaded, and what became of them; few a unit, for some days (store/files.py)';
COMMENT ON COLUMN file_upload.upload_id IS 'identity; the batches of its records are derived from it';
COMMENT ON COLUMN file_upload.unit_id IS 'owner';
COMMENT ON COLUMN file_upload.dataset IS 'dataset';
COMMENT ON COLUMN file_upload.file_name IS 'name as the sender gave it';
COMMENT ON COLUMN file_upload.n_bytes IS 'size (bytes)';
COMMENT ON COLUMN file_upload.dry_run IS 'true = judged only, nothing is stored of it';
COMMENT ON COLUMN file_upload.sent_by IS 'who: unit:<code> or person:<name>';
COMMENT ON COLUMN file_upload.stage IS 'queued, reading, submitting, marking; at the end done, refused (as a whole) or failed';
COMMENT ON COLUMN file_upload.total IS 'rows of data in it; null = not known yet';
COMMENT ON COLUMN file_upload.done IS 'rows judged and applied so far';
COMMENT ON COLUMN file_upload.accepted IS 'records stored, corrections included; of a dry run: that would be';
COMMENT ON COLUMN file_upload.duplicates IS 'records that were there with the same content';
COMMENT ON COLUMN file_upload.corrections IS 'records that were there with other content';
COMMENT ON COLUMN file_upload.quarantined IS 'rows refused';
COMMENT ON COLUMN file_upload.problem IS 'why the whole file was refused: {reason, parameters}';
COMMENT ON COLUMN file_upload.notes IS 'what was read: sheet, encoding, columns that are none of the dataset''s';
COMMENT ON COLUMN file_upload.errors IS 'refused cells, the first of them';
COMMENT ON COLUMN file_upload.content IS 'the file, until it is finished';
COMMENT ON COLUMN file_upload.marked IS 'the file with the refused cells marked; null = there are none';
COMMENT ON COLUMN file_upload.attempts IS 'how often a process began it';
COMMENT ON COLUMN file_upload.created_at IS 'when it was received (UTC)';
COMMENT ON COLUMN file_upload.beat_at IS 'last sign of life of the process that works on it (UTC)';
COMMENT ON COLUMN file_upload.finished_at IS 'when it was finished (UTC); null = not yet';
