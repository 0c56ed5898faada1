-- The broker asks the platform about each login (docs/adr/0008-mqtt-credentials.md): no file of digests for it.

ALTER TABLE api_key DROP COLUMN mqtt_digest;
