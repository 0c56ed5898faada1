-- Sessions say how long they last, and what their person may see; a password's hash can be brought up to date.

DROP FUNCTION session_person(bytea);
CREATE FUNCTION session_person(given bytea)
RETURNS TABLE (person_id integer, name text, display_name text, role text, unit_id integer, unit text,
    scope text, expires_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT p.person_id, p.name, p.display_name, p.role, p.unit_id, u.code,
        concat_ws(' ', p.role, p.region_code, p.pilot_ids::text, u.code, p.uscc), s.expires_at
    FROM session s JOIN person p USING (person_id) LEFT JOIN lead_unit u ON u.unit_id = p.unit_id
    WHERE s.digest = given AND s.ended_at IS NULL AND s.expires_at > now() AND p.disabled_at IS NULL
$$;
COMMENT ON FUNCTION session_person(bytea) IS 'Whose open session this is; no row = none. People of the same scope see the same';

CREATE FUNCTION renew_hash(id integer, old text, new text) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    UPDATE person SET password_hash = new WHERE person_id = id AND password_hash = old
$$;
COMMENT ON FUNCTION renew_hash(integer, text, text) IS 'The same password hashed anew, after its parameters changed';
