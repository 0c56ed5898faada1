-- Plain PostgreSQL: native range partitions by day (UTC), created as days appear (store/layout.py).
ALTER TABLE measurement RENAME TO measurement_shape;
CREATE TABLE measurement (LIKE measurement_shape INCLUDING ALL) PARTITION BY RANGE (ts);
DROP TABLE measurement_shape;
COMMENT ON TABLE measurement IS 'Numeric readings; identity is (tag_id, ts)';
