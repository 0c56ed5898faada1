-- What raw SQL of a caller could still do: put an event into another unit's part of the audit log, and learn from a
-- refused key whether a row of another unit exists.

CREATE OR REPLACE FUNCTION audit(what text, on_object text, with_detail text, of_unit integer DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
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
    -- Whom it concerns, an operator says, and what works for all units; everybody else speaks of himself.
    e.unit_id := CASE
        WHEN p.unit_id IS NOT NULL THEN p.unit_id
        WHEN p.role = 'operator' THEN of_unit
        WHEN p.role IS NULL AND session_user NOT IN ('qunce_api', 'qunce_dashboard', 'qunce_auth', 'qunce_monitor')
            THEN of_unit END;
    e.action := translate(what, E'\n\r', '  ');
    e.object := translate(on_object, E'\n\r', '  ');
    e.detail := (with_detail::jsonb)::text;
    e.hash := sha256(coalesce(last.hash, decode(repeat('00', 32), 'hex')) || convert_to(audit_text(e), 'UTF8'));
    INSERT INTO audit_event VALUES (e.*);
    RETURN e.seq;
END $$;

-- A key that holds no unit is refused for a row that its caller may not know of.
ALTER TABLE stoppage_equipment
    DROP CONSTRAINT stoppage_equipment_pkey,
    ADD PRIMARY KEY (stoppage_id, unit_id, equipment_id);
ALTER TABLE file_upload
    DROP CONSTRAINT file_upload_pkey,
    ADD PRIMARY KEY (upload_id, unit_id);
