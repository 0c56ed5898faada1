-- A request for a key that was lost on its way back and is sent again makes no second key.
ALTER TABLE api_key ADD COLUMN request_key text, ADD UNIQUE (unit_id, request_key);
COMMENT ON COLUMN api_key.request_key IS 'Idempotency-Key of the request that issued it; null = none';
