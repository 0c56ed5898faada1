-- Who calls was believed as it was said: SQL that got into a statement could have called itself somebody else. From now on
-- the database seals whom it has checked (authenticate_key, session_person), and takes nobody without that seal.

CREATE TABLE principal_secret (
    one    boolean PRIMARY KEY DEFAULT true CHECK (one),
    secret bytea NOT NULL CHECK (length(secret) = 32)
);
COMMENT ON TABLE principal_secret IS 'What principals are sealed with; the owner''s alone';
COMMENT ON COLUMN principal_secret.one IS 'there is one row';
COMMENT ON COLUMN principal_secret.secret IS '244 random bits';
INSERT INTO principal_secret (secret) VALUES (sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')));

CREATE FUNCTION sealed(who text) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT who || ':' || encode(sha256(secret || sha256(convert_to(who, 'UTF8'))), 'hex') FROM principal_secret
$$;
COMMENT ON FUNCTION sealed(text) IS 'A value of qunce.principal, of unit:<id> or person:<id>; the owner''s alone';

CREATE OR REPLACE FUNCTION caller() RETURNS person
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    given text := coalesce(current_setting('qunce.principal', true), '');
    kind  text := split_part(given, ':', 1);
    id    text := split_part(given, ':', 2);
    found person;
BEGIN
    IF given = '' OR sealed(kind || ':' || id) IS DISTINCT FROM given THEN
        RETURN found;
    END IF;
    IF kind = 'person' THEN
        SELECT * INTO found FROM person WHERE person_id = id::int AND disabled_at IS NULL;
        found.password_hash := NULL;
    ELSIF kind = 'unit' THEN
        found.role := 'lead_unit';
        found.unit_id := id::int;
    END IF;
    RETURN found;
END $$;

DROP FUNCTION authenticate_key(bytea);
CREATE FUNCTION authenticate_key(given bytea)
RETURNS TABLE (key_id integer, unit_id integer, code text, scopes text[], principal text, expires_at timestamptz)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    UPDATE api_key k SET last_used_at = now()
    WHERE k.digest = given AND (k.last_used_at IS NULL OR k.last_used_at < now() - interval '1 minute')
      AND k.revoked_at IS NULL AND NOT pg_is_in_recovery()
      AND current_setting('transaction_read_only') = 'off';
    RETURN QUERY SELECT k.key_id, k.unit_id, u.code, k.scopes, sealed('unit:' || k.unit_id), k.expires_at
        FROM api_key k JOIN lead_unit u ON u.unit_id = k.unit_id
        WHERE k.digest = given AND k.revoked_at IS NULL
          AND (k.expires_at IS NULL OR k.expires_at > now());
END $$;
COMMENT ON FUNCTION authenticate_key(bytea) IS 'The valid key with this SHA-256 digest, and whose it is; no row = none';

DROP FUNCTION session_person(bytea);
CREATE FUNCTION session_person(given bytea)
RETURNS TABLE (person_id integer, name text, display_name text, role text, unit_id integer, unit text,
    scope text, principal text, expires_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT p.person_id, p.name, p.display_name, p.role, p.unit_id, u.code,
        concat_ws(' ', p.role, p.region_code, p.pilot_ids::text, u.code, p.uscc), sealed('person:' || p.person_id),
        s.expires_at
    FROM session s JOIN person p USING (person_id) LEFT JOIN lead_unit u ON u.unit_id = p.unit_id
    WHERE s.digest = given AND s.ended_at IS NULL AND s.expires_at > now() AND p.disabled_at IS NULL
$$;
COMMENT ON FUNCTION session_person(bytea) IS 'Whose open session this is; no row = none. People of the same scope see the same';

CREATE FUNCTION supervises() RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    p person := caller();
BEGIN
    RETURN coalesce(p.role IN ('province', 'city', 'county', 'operator', 'lead_unit'), false);
END $$;
COMMENT ON FUNCTION supervises() IS 'Whether the caller works with units, not only with their figures: it sees what they sent and what was refused';

-- What speaks of an enterprise, an equipment or a park speaks of one of the same unit; of the writer, too, to whom row
-- security does not apply.
ALTER TABLE enterprise
    DROP CONSTRAINT enterprise_park_id_fkey,
    ADD FOREIGN KEY (unit_id, park_id) REFERENCES park (unit_id, park_id);
ALTER TABLE equipment
    DROP CONSTRAINT equipment_enterprise_id_fkey,
    ADD FOREIGN KEY (unit_id, enterprise_id) REFERENCES enterprise (unit_id, enterprise_id);
ALTER TABLE tag
    DROP CONSTRAINT tag_equipment_id_fkey,
    ADD FOREIGN KEY (unit_id, equipment_id) REFERENCES equipment (unit_id, equipment_id);
ALTER TABLE shift_calendar
    DROP CONSTRAINT shift_calendar_equipment_id_fkey,
    ADD FOREIGN KEY (unit_id, equipment_id) REFERENCES equipment (unit_id, equipment_id);
ALTER TABLE production_order
    DROP CONSTRAINT production_order_equipment_id_fkey,
    ADD FOREIGN KEY (unit_id, equipment_id) REFERENCES equipment (unit_id, equipment_id);
ALTER TABLE credit_authorisation
    DROP CONSTRAINT credit_authorisation_enterprise_id_fkey,
    ADD FOREIGN KEY (unit_id, enterprise_id) REFERENCES enterprise (unit_id, enterprise_id);

-- Since when a code table has been what it is, the platform notes for somebody who asks, never for nobody.
CREATE OR REPLACE FUNCTION note_code_version(of_table text, content text) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF (caller()).role IS NOT NULL THEN
        INSERT INTO code_version (name, sha256) VALUES (of_table, content) ON CONFLICT DO NOTHING;
    END IF;
    RETURN (SELECT since FROM code_version WHERE name = of_table AND sha256 = content);
END $$;
