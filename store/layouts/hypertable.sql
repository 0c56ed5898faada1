-- TimescaleDB: one chunk a day (UTC).
SELECT create_hypertable('measurement', by_range('ts', INTERVAL '1 day'), create_default_indexes => false);
