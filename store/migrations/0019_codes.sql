-- Since when a code table has been what it is: its version is its content.

CREATE TABLE code_version (
    name   text NOT NULL,
    sha256 text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    since  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (name, sha256)
);
COMMENT ON TABLE code_version IS 'Contents that code tables have had';
COMMENT ON COLUMN code_version.name IS 'code table';
COMMENT ON COLUMN code_version.sha256 IS 'SHA-256 of its content';
COMMENT ON COLUMN code_version.since IS 'when it was first published (UTC)';

CREATE FUNCTION note_code_version(of_table text, content text) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
BEGIN
    INSERT INTO code_version (name, sha256) VALUES (of_table, content) ON CONFLICT DO NOTHING;
    RETURN (SELECT since FROM code_version WHERE name = of_table AND sha256 = content);
END $$;
COMMENT ON FUNCTION note_code_version(text, text) IS 'Since when a code table has had this content; from now on if it is new';

-- A unit's submissions, newest first.
CREATE INDEX submission_unit ON submission (unit_id, applied_at DESC, batch DESC);
