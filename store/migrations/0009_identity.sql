-- Who calls, and what that caller may see. The policies themselves are in store/access.sql, which is
-- applied after every migration; docs/adr/0007 says why it is built like this.

ALTER TABLE api_key
    ADD COLUMN name         text NOT NULL DEFAULT '',
    ADD COLUMN scopes       text[],
    ADD COLUMN expires_at   timestamptz,
    ADD COLUMN created_by   text NOT NULL DEFAULT '',
    ADD COLUMN last_used_at timestamptz;
COMMENT ON COLUMN api_key.name IS 'what the owner calls it';
COMMENT ON COLUMN api_key.scopes IS 'permissions it carries (store/identity.py); null = all that a unit has';
COMMENT ON COLUMN api_key.expires_at IS 'not valid from then on (UTC); null = until revoked';
COMMENT ON COLUMN api_key.created_by IS 'who issued it, as in audit_event.actor';
COMMENT ON COLUMN api_key.last_used_at IS 'last use, to a minute (UTC)';

CREATE TABLE person (
    person_id     integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name          text NOT NULL UNIQUE CHECK (name ~ '^[^[:space:][:cntrl:]]{1,100}$'),
    display_name  text NOT NULL,
    role          text NOT NULL CHECK (role IN ('province', 'city', 'county', 'lead_unit', 'enterprise',
                      'think_tank', 'bank', 'operator')),
    region_code   text REFERENCES region (code),
    pilot_ids     integer[],
    unit_id       integer REFERENCES lead_unit (unit_id),
    uscc          text CHECK (uscc_is_valid(uscc)),
    password_hash text,
    oidc_subject  text UNIQUE,
    failures      integer NOT NULL DEFAULT 0,
    locked_until  timestamptz,
    created_at    timestamptz NOT NULL DEFAULT now(),
    disabled_at   timestamptz,
    CHECK ((role IN ('city', 'county')) = (region_code IS NOT NULL)),
    CHECK ((role = 'lead_unit') = (unit_id IS NOT NULL)),
    CHECK ((role IN ('enterprise', 'bank')) = (uscc IS NOT NULL)),
    CHECK (role = 'think_tank' OR pilot_ids IS NULL)
);
COMMENT ON TABLE person IS 'People who log in; the role decides what they may do, the scope what they may see';
COMMENT ON COLUMN person.person_id IS 'internal key';
COMMENT ON COLUMN person.name IS 'login name';
COMMENT ON COLUMN person.display_name IS 'name as shown';
COMMENT ON COLUMN person.role IS 'province 省, city 市, county 县区, lead_unit 牵头单位, enterprise 企业, think_tank 第三方智库, bank 银行, operator 平台运维';
COMMENT ON COLUMN person.region_code IS 'scope of city and county: this region and all below it';
COMMENT ON COLUMN person.pilot_ids IS 'scope of a think tank: these pilots; null = all';
COMMENT ON COLUMN person.unit_id IS 'scope of lead_unit';
COMMENT ON COLUMN person.uscc IS 'scope of enterprise: itself; of bank: the enterprises that authorised it';
COMMENT ON COLUMN person.password_hash IS 'argon2id; null = logs in by OIDC only';
COMMENT ON COLUMN person.oidc_subject IS 'issuer and subject, joined by a blank; null = by password only';
COMMENT ON COLUMN person.failures IS 'wrong passwords in a row';
COMMENT ON COLUMN person.locked_until IS 'no login before (UTC)';
COMMENT ON COLUMN person.created_at IS 'when added (UTC)';
COMMENT ON COLUMN person.disabled_at IS 'when shut out (UTC); null = active';

CREATE TABLE session (
    digest     bytea PRIMARY KEY,
    person_id  integer NOT NULL REFERENCES person (person_id),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    address    text NOT NULL,
    ended_at   timestamptz
);
CREATE INDEX session_person ON session (person_id);
CREATE INDEX session_expires ON session (expires_at);
COMMENT ON TABLE session IS 'Logins of people';
COMMENT ON COLUMN session.digest IS 'SHA-256 of the token (the token itself has 256 random bits)';
COMMENT ON COLUMN session.person_id IS 'whose';
COMMENT ON COLUMN session.created_at IS 'when opened (UTC)';
COMMENT ON COLUMN session.expires_at IS 'ends by itself (UTC)';
COMMENT ON COLUMN session.address IS 'where from';
COMMENT ON COLUMN session.ended_at IS 'when logged out or revoked (UTC); null = open';

CREATE TABLE request_nonce (
    key_id  integer NOT NULL REFERENCES api_key (key_id),
    nonce   text NOT NULL,
    used_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (key_id, nonce)
);
CREATE INDEX request_nonce_used ON request_nonce (used_at);
COMMENT ON TABLE request_nonce IS 'Nonces of signed requests within the time window: each is good once';
COMMENT ON COLUMN request_nonce.key_id IS 'key that signed';
COMMENT ON COLUMN request_nonce.nonce IS 'as sent';
COMMENT ON COLUMN request_nonce.used_at IS 'when (UTC)';

CREATE TABLE credit_authorisation (
    unit_id       integer NOT NULL REFERENCES lead_unit (unit_id),
    enterprise_id integer NOT NULL REFERENCES enterprise (enterprise_id),
    bank_uscc     text NOT NULL CHECK (uscc_is_valid(bank_uscc)),
    valid_from    date NOT NULL,
    valid_to      date NOT NULL CHECK (valid_to > valid_from),
    document_no   text NOT NULL,
    PRIMARY KEY (enterprise_id, bank_uscc, valid_from)
);
COMMENT ON TABLE credit_authorisation IS 'Enterprises that let a bank see their data of the enterprise pool';
COMMENT ON COLUMN credit_authorisation.unit_id IS 'lead unit that reported it';
COMMENT ON COLUMN credit_authorisation.enterprise_id IS 'enterprise that authorises';
COMMENT ON COLUMN credit_authorisation.bank_uscc IS '统一社会信用代码 of the bank';
COMMENT ON COLUMN credit_authorisation.valid_from IS 'first day (+08:00)';
COMMENT ON COLUMN credit_authorisation.valid_to IS 'day from which it holds no more (+08:00)';
COMMENT ON COLUMN credit_authorisation.document_no IS 'number of the signed authorisation';

-- What the transaction's caller may see and write. `qunce.principal` is `unit:<id>` or `person:<id>`;
-- nothing set, nothing seen. They run as the owner, and look up the registry as it is.

CREATE FUNCTION caller() RETURNS person
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
    who   text := coalesce(current_setting('qunce.principal', true), '');
    found person;
BEGIN
    IF who LIKE 'person:%' THEN
        SELECT * INTO found FROM person WHERE person_id = substr(who, 8)::int AND disabled_at IS NULL;
        found.password_hash := NULL;
    ELSIF who LIKE 'unit:%' THEN
        found.role := 'lead_unit';
        found.unit_id := substr(who, 6)::int;
    END IF;
    RETURN found;
END $$;
COMMENT ON FUNCTION caller() IS 'Who calls: a person, or a unit as one of its people; all null when nobody is set';

CREATE FUNCTION regions_below(top text) RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    WITH RECURSIVE below AS (
        SELECT code FROM region WHERE code = top
        UNION SELECT r.code FROM region r JOIN below b ON r.parent = b.code
    ) SELECT code FROM below
$$;
COMMENT ON FUNCTION regions_below(text) IS 'A region and all regions below it';

CREATE FUNCTION visible_units() RETURNS integer[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
    p person := caller();
BEGIN
    RETURN CASE
        WHEN p.role IN ('province', 'operator') OR (p.role = 'think_tank' AND p.pilot_ids IS NULL)
            THEN (SELECT coalesce(array_agg(unit_id), '{}') FROM lead_unit)
        WHEN p.role = 'think_tank'
            THEN (SELECT coalesce(array_agg(DISTINCT unit_id), '{}') FROM pilot WHERE pilot_id = ANY (p.pilot_ids))
        WHEN p.role IN ('city', 'county')
            THEN (SELECT coalesce(array_agg(DISTINCT unit_id), '{}') FROM pilot
                  WHERE region_code IN (SELECT regions_below(p.region_code)))
        WHEN p.role = 'lead_unit' THEN ARRAY[p.unit_id]
        ELSE '{}'
    END;
END $$;
COMMENT ON FUNCTION visible_units() IS 'Units of which the caller sees everything';

CREATE FUNCTION visible_enterprises() RETURNS SETOF integer
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
    p person := caller();
BEGIN
    IF p.role = 'enterprise' THEN
        RETURN QUERY SELECT enterprise_id FROM enterprise WHERE uscc = p.uscc;
    ELSIF p.role IN ('city', 'county') THEN
        RETURN QUERY SELECT enterprise_id FROM enterprise
                     WHERE region_code IN (SELECT regions_below(p.region_code));
    END IF;
END $$;
COMMENT ON FUNCTION visible_enterprises() IS 'Enterprises that the caller sees beside those of visible_units(): itself, or those of its region';

CREATE FUNCTION pooled_enterprises() RETURNS SETOF integer
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
    p person := caller();
    today date := (now() AT TIME ZONE 'Asia/Shanghai')::date;
BEGIN
    IF p.role = 'bank' THEN
        RETURN QUERY SELECT a.enterprise_id FROM credit_authorisation a
                     WHERE a.bank_uscc = p.uscc AND a.valid_from <= today AND today < a.valid_to;
    END IF;
END $$;
COMMENT ON FUNCTION pooled_enterprises() IS 'Enterprises that authorised the calling bank today (+08:00)';

CREATE FUNCTION visible_equipment() RETURNS SETOF integer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT equipment_id FROM equipment WHERE enterprise_id IN (SELECT visible_enterprises())
$$;
COMMENT ON FUNCTION visible_equipment() IS 'Equipment of visible_enterprises()';

CREATE FUNCTION sees_province() RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
    p person := caller();
BEGIN
    RETURN coalesce(p.role IN ('province', 'operator') OR (p.role = 'think_tank' AND p.pilot_ids IS NULL), false);
END $$;
COMMENT ON FUNCTION sees_province() IS 'Whether the caller sees what concerns the province as a whole';

CREATE FUNCTION is_operator() RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
    p person := caller();
BEGIN
    RETURN coalesce(p.role = 'operator', false);
END $$;
COMMENT ON FUNCTION is_operator() IS 'Whether the caller keeps the platform running';

CREATE FUNCTION own_unit() RETURNS integer
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
    p person := caller();
BEGIN
    RETURN p.unit_id;
END $$;
COMMENT ON FUNCTION own_unit() IS 'The unit for which the caller may write; null = none';

-- Credentials: no role of the application reads these tables, each question has its function.

CREATE FUNCTION authenticate_key(given bytea)
RETURNS TABLE (key_id integer, unit_id integer, code text, scopes text[], expires_at timestamptz)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
BEGIN
    UPDATE api_key k SET last_used_at = now()
    WHERE k.digest = given AND (k.last_used_at IS NULL OR k.last_used_at < now() - interval '1 minute')
      AND k.revoked_at IS NULL AND NOT pg_is_in_recovery()
      AND current_setting('transaction_read_only') = 'off';
    RETURN QUERY SELECT k.key_id, k.unit_id, u.code, k.scopes, k.expires_at
        FROM api_key k JOIN lead_unit u ON u.unit_id = k.unit_id
        WHERE k.digest = given AND k.revoked_at IS NULL
          AND (k.expires_at IS NULL OR k.expires_at > now());
END $$;
COMMENT ON FUNCTION authenticate_key(bytea) IS 'The valid key with this SHA-256 digest, and whose it is; no row = none';

CREATE FUNCTION signing_digest(id integer) RETURNS bytea
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT digest FROM api_key
    WHERE key_id = id AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
$$;
COMMENT ON FUNCTION signing_digest(integer) IS 'What a valid key signs requests with: its SHA-256 digest; null = no such key';

CREATE FUNCTION use_nonce(id integer, given text, window_s integer) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
BEGIN
    DELETE FROM request_nonce WHERE used_at < now() - make_interval(secs => 2 * window_s);
    INSERT INTO request_nonce (key_id, nonce) VALUES (id, given) ON CONFLICT DO NOTHING;
    RETURN FOUND;
END $$;
COMMENT ON FUNCTION use_nonce(integer, text, integer) IS 'True once a nonce and key; nonces are kept for twice the window';

CREATE FUNCTION person_credentials(given text)
RETURNS TABLE (person_id integer, password_hash text, locked_s double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT person_id, password_hash, coalesce(extract(epoch FROM locked_until - now()), 0)::float8
    FROM person WHERE name = given AND disabled_at IS NULL
$$;
COMMENT ON FUNCTION person_credentials(text) IS 'What a login is checked against; locked_s > 0: seconds until the next try';

CREATE FUNCTION note_login(id integer, well boolean, most integer, lock_s integer) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    UPDATE person SET
        failures = CASE WHEN well OR failures + 1 >= most THEN 0 ELSE failures + 1 END,
        locked_until = CASE WHEN well THEN NULL
                            WHEN failures + 1 >= most THEN now() + make_interval(secs => lock_s)
                            ELSE locked_until END
    WHERE person_id = id
$$;
COMMENT ON FUNCTION note_login(integer, boolean, integer, integer) IS 'Count a wrong password, lock out after `most` in a row for `lock_s` seconds; a right one clears the count';

CREATE FUNCTION open_session(given bytea, id integer, lasts_s integer, from_address text) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    DELETE FROM session WHERE expires_at < now() - interval '30 days';
    INSERT INTO session (digest, person_id, expires_at, address)
    VALUES (given, id, now() + make_interval(secs => lasts_s), from_address)
$$;
COMMENT ON FUNCTION open_session(bytea, integer, integer, text) IS 'Keep a new session; those long over are forgotten';

CREATE FUNCTION session_person(given bytea)
RETURNS TABLE (person_id integer, name text, display_name text, role text, unit_id integer, unit text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT p.person_id, p.name, p.display_name, p.role, p.unit_id, u.code
    FROM session s JOIN person p USING (person_id) LEFT JOIN lead_unit u ON u.unit_id = p.unit_id
    WHERE s.digest = given AND s.ended_at IS NULL AND s.expires_at > now() AND p.disabled_at IS NULL
$$;
COMMENT ON FUNCTION session_person(bytea) IS 'Whose open session this is; no row = none';

CREATE FUNCTION end_session(given bytea) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
BEGIN
    UPDATE session SET ended_at = now() WHERE digest = given AND ended_at IS NULL;
    RETURN FOUND;
END $$;
COMMENT ON FUNCTION end_session(bytea) IS 'End one session; false when it was not open';

CREATE FUNCTION end_sessions(id integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
    n bigint;
    p person := caller();
BEGIN
    IF p.person_id IS DISTINCT FROM id AND NOT is_operator() THEN
        RETURN 0;
    END IF;
    UPDATE session SET ended_at = now() WHERE person_id = id AND ended_at IS NULL;
    GET DIAGNOSTICS n = ROW_COUNT;
    RETURN n;
END $$;
COMMENT ON FUNCTION end_sessions(integer) IS 'End all sessions of a person, by himself or by an operator; how many there were';
