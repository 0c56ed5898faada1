-- The newest event of the audit log, for the platform itself to note outside of the database: a log that is cut at its end
-- is whole, and only who knows how far it reached sees that.
CREATE FUNCTION audit_head(OUT seq bigint, OUT hash bytea) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
    'SELECT e.seq, e.hash FROM public.audit_event e ORDER BY e.seq DESC LIMIT 1';
COMMENT ON FUNCTION audit_head() IS 'seq and hash of the newest event; null of an empty log';
