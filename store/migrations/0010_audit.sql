-- The audit log: append-only, each event sealed with the hash of the one before.

CREATE TABLE audit_event (
    seq     bigint PRIMARY KEY,
    at      timestamptz NOT NULL,
    actor   text NOT NULL,
    unit_id integer,
    action  text NOT NULL,
    object  text NOT NULL,
    detail  text NOT NULL,
    hash    bytea NOT NULL
);
CREATE INDEX audit_event_unit ON audit_event (unit_id, seq) WHERE unit_id IS NOT NULL;
COMMENT ON TABLE audit_event IS 'Logins, keys, configuration changes, exports, corrections and decisions; append-only, hash-chained';
COMMENT ON COLUMN audit_event.seq IS 'number, from 1 without a gap';
COMMENT ON COLUMN audit_event.at IS 'when (UTC)';
COMMENT ON COLUMN audit_event.actor IS 'who: unit:<code>, person:<name>, or role:<database role> for the platform itself';
COMMENT ON COLUMN audit_event.unit_id IS 'unit it concerns; null = none';
COMMENT ON COLUMN audit_event.action IS 'what, as noun.verb';
COMMENT ON COLUMN audit_event.object IS 'to what';
COMMENT ON COLUMN audit_event.detail IS 'JSON object, as text';
COMMENT ON COLUMN audit_event.hash IS 'SHA-256 of the hash before (32 zero bytes at first) and this event''s text: audit_text()';

CREATE FUNCTION audit_text(e audit_event) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT concat_ws(E'\n', e.seq, (extract(epoch FROM e.at) * 1000000)::bigint, e.actor,
        coalesce(e.unit_id::text, '-'), e.action, e.object, e.detail)
$$;
COMMENT ON FUNCTION audit_text(audit_event) IS 'What the hash of an event seals: seq, µs since 1970, actor, unit_id or -, action, object, detail, a line each';

CREATE FUNCTION audit(what text, on_object text, with_detail text, of_unit integer DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
    p    person := caller();
    last audit_event;
    e    audit_event;
BEGIN
    -- One event after the other; whoever writes an event does it last in his transaction.
    PERFORM pg_advisory_xact_lock(7236003);
    SELECT * INTO last FROM audit_event ORDER BY seq DESC LIMIT 1;
    e.seq := coalesce(last.seq, 0) + 1;
    e.at := date_trunc('microseconds', clock_timestamp());
    e.actor := CASE
        WHEN p.person_id IS NOT NULL THEN 'person:' || p.name
        WHEN p.unit_id IS NOT NULL THEN 'unit:' || coalesce((SELECT code FROM lead_unit WHERE unit_id = p.unit_id), '?')
        ELSE 'role:' || session_user END;
    e.unit_id := coalesce(of_unit, p.unit_id);
    e.action := translate(what, E'\n\r', '  ');
    e.object := translate(on_object, E'\n\r', '  ');
    e.detail := (with_detail::jsonb)::text;
    e.hash := sha256(coalesce(last.hash, decode(repeat('00', 32), 'hex')) || convert_to(audit_text(e), 'UTF8'));
    INSERT INTO audit_event VALUES (e.*);
    RETURN e.seq;
END $$;
COMMENT ON FUNCTION audit(text, text, text, integer) IS 'Append an event of the transaction''s caller; returns its seq';

CREATE FUNCTION audit_refuses_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON audit_event
    FOR EACH ROW EXECUTE FUNCTION audit_refuses_change();
CREATE TRIGGER audit_keeps_all BEFORE TRUNCATE ON audit_event
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuses_change();
