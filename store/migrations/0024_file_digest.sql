-- Of which file an Idempotency-Key was.
ALTER TABLE file_upload ADD COLUMN body_digest bytea;
COMMENT ON COLUMN file_upload.body_digest IS 'SHA-256 of the file and of how it is to be taken; null = no Idempotency-Key came with it';
