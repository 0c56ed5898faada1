-- When the platform knew of a report: not when it came, for what waits in the log is not known to anybody yet. What was
-- the case as of a moment is then the same whenever it is asked.
ALTER TABLE dataset_revision ADD recorded_at timestamptz;
UPDATE dataset_revision SET recorded_at = received_at;
ALTER TABLE dataset_revision
    ALTER recorded_at SET DEFAULT clock_timestamp(),
    ALTER recorded_at SET NOT NULL;
COMMENT ON COLUMN dataset_revision.recorded_at IS 'when stored (UTC); received_at is when it came';
CREATE INDEX dataset_revision_recorded ON dataset_revision (dataset, recorded_at);

-- A key that was ended stays ended, and none lives longer than it was given.
CREATE FUNCTION api_key_ends() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS DISTINCT FROM OLD.revoked_at THEN
        RAISE EXCEPTION 'a key that was revoked stays revoked' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF OLD.expires_at IS NOT NULL AND (NEW.expires_at IS NULL OR NEW.expires_at > OLD.expires_at) THEN
        RAISE EXCEPTION 'a key expires no later than it was to' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER api_key_ends BEFORE UPDATE ON api_key FOR EACH ROW EXECUTE FUNCTION api_key_ends();
