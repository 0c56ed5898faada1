-- What each role of the application may do, and which rows it sees. Applied after every migration, and
-- again without effect. Deny by default: what is not named here is not granted, and a table of which it
-- is not known whose its rows are makes this fail.
--
-- qunce_api, qunce_dashboard   serve callers: row security applies, by `qunce.principal` (0009_identity.sql)
-- qunce_writer, qunce_metrics  work for all units: they pass row security, and have no credentials in reach
-- qunce_monitor                reads the platform's own accounts for operators' figures
-- qunce_auth                   checks credentials, by functions, and can do nothing else

CREATE SCHEMA IF NOT EXISTS scoped;
COMMENT ON SCHEMA scoped IS 'What callers see in place of tables that cannot carry row security: docs/adr/0007';

CREATE OR REPLACE VIEW scoped.measurement WITH (security_barrier) AS
    SELECT m.* FROM public.measurement m WHERE EXISTS (
        SELECT FROM public.tag t WHERE t.tag_id = m.tag_id
            AND (t.unit_id = ANY ((SELECT visible_units())::int[])
                 OR t.equipment_id IN (SELECT visible_equipment())));
CREATE OR REPLACE VIEW scoped.event WITH (security_barrier) AS
    SELECT e.* FROM public.event e WHERE EXISTS (
        SELECT FROM public.tag t WHERE t.tag_id = e.tag_id
            AND (t.unit_id = ANY ((SELECT visible_units())::int[])
                 OR t.equipment_id IN (SELECT visible_equipment())));

REVOKE ALL ON ALL TABLES IN SCHEMA public, scoped FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA public, scoped
    FROM qunce_api, qunce_dashboard, qunce_writer, qunce_metrics, qunce_monitor, qunce_auth;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public
    TO qunce_api, qunce_dashboard, qunce_writer, qunce_metrics, qunce_monitor, qunce_auth;
GRANT USAGE ON SCHEMA scoped TO qunce_api, qunce_dashboard;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO qunce_writer, qunce_metrics;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM qunce_api, qunce_dashboard;  -- they would tell how much others have

DO $access$
DECLARE
    -- Everybody's: they say nothing of a unit.
    open_to_all   text[] := '{region, cluster, sub_sector, indicator_code, code_version, layout, schema_migration}';
    -- Nobody's but the owner's: asked through functions alone.
    closed        text[] := '{session, request_nonce, principal_secret}';
    -- The platform's own bookkeeping.
    internal      text[] := '{dirty_hour, dirty_period, unit_position, writer_position}';
    -- Of each enterprise, what a bank sees that it authorised.
    pool          text[] := '{enterprise, certificate, enterprise_statement, digital_assessment, credit_authorisation, loan}';
    -- What the interface writes itself; everything else goes through the log.
    written       text[] := '{quarantine, quarantine_kept, source_heartbeat, heartbeat_hour, stoppage, stoppage_equipment,
                            file_upload}';
    by_unit       text := 'unit_id = ANY ((SELECT visible_units())::int[])';
    by_enterprise text := 'enterprise_id IN (SELECT visible_enterprises())';
    by_equipment  text := 'equipment_id IN (SELECT visible_equipment())';
    writable      text := 'unit_id = (SELECT own_unit())';
    -- What a unit sent and what became of it: nothing for who sees its figures only.
    supervised    text := '(SELECT supervises()) AND ' || by_unit;
    -- Tables whose rows are somebody's by what they refer to.
    special       jsonb := jsonb_build_object(
        'lead_unit', by_unit || ' OR unit_id IN (SELECT e.unit_id FROM enterprise e)',
        'enterprise', by_unit || ' OR ' || by_enterprise,
        'reporting_schedule', 'EXISTS (SELECT FROM tag t WHERE t.tag_id = reporting_schedule.tag_id)',
        'latest_value', 'EXISTS (SELECT FROM tag t WHERE t.tag_id = latest_value.tag_id)',
        'measurement_revision', 'EXISTS (SELECT FROM tag t WHERE t.tag_id = measurement_revision.tag_id)',
        'ingest_ledger', 'EXISTS (SELECT FROM source s WHERE s.source_id = ingest_ledger.source_id)',
        'arrival', 'EXISTS (SELECT FROM source s WHERE s.source_id = arrival.source_id)',
        'latency_bucket', 'EXISTS (SELECT FROM source s WHERE s.source_id = latency_bucket.source_id)',
        'clock_skew', 'EXISTS (SELECT FROM source s WHERE s.source_id = clock_skew.source_id)',
        -- Rows of tags that nobody knows are of no machine, but of a source.
        'supply_hour', 'EXISTS (SELECT FROM equipment q WHERE q.equipment_id = supply_hour.equipment_id)'
            || ' OR equipment_id = 0 AND EXISTS (SELECT FROM source s WHERE s.source_id = supply_hour.source_id)',
        'equipment_hour', 'EXISTS (SELECT FROM equipment q WHERE q.equipment_id = equipment_hour.equipment_id)',
        'indicator_value', $p$CASE level
            WHEN 'province' THEN (SELECT sees_province())
            WHEN 'cluster' THEN EXISTS (SELECT FROM pilot p WHERE p.pilot_id = entity_id)
            WHEN 'enterprise' THEN EXISTS (SELECT FROM enterprise e WHERE e.enterprise_id = entity_id)
            WHEN 'equipment' THEN EXISTS (SELECT FROM equipment q WHERE q.equipment_id = entity_id)
            WHEN 'source' THEN EXISTS (SELECT FROM source s WHERE s.source_id = entity_id) END$p$,
        -- What came of a unit that is not registered is the operator's to look at.
        'quarantine', supervised || ' OR (unit_id = 0 AND (SELECT is_operator()))',
        'submission', supervised,
        -- Of whom else's machines a stoppage speaks, no single enterprise is told.
        'stoppage', by_unit,
        'stoppage_equipment', by_unit,
        -- Files are as they were sent: the unit's own.
        'file_upload', writable,
        'component_status', '(SELECT sees_province())',
        'canary', '(SELECT sees_province())',
        'audit_event', $p$(SELECT (caller()).role) IN ('province', 'operator') OR unit_id = (SELECT own_unit())$p$,
        'person', '(SELECT is_operator()) OR unit_id = (SELECT own_unit()) OR person_id = (SELECT (caller()).person_id)',
        'api_key', '(SELECT is_operator()) OR unit_id = (SELECT own_unit())');
    t         record;
    reading   text;
    partition record;
BEGIN
    FOR t IN
        SELECT c.oid, c.relname AS name,
            EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'unit_id' AND NOT attisdropped) AS has_unit,
            EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'enterprise_id' AND NOT attisdropped) AS has_enterprise,
            EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'equipment_id' AND NOT attisdropped) AS has_equipment,
            EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'bank_uscc' AND NOT attisdropped) AS has_bank
        FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
            AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
    LOOP
        -- The workers: everything but credentials and the audit log.
        IF NOT t.name = ANY (closed || '{person, api_key, audit_event, schema_migration}'::text[]) THEN
            EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON public.%I TO qunce_writer', t.name);
            EXECUTE format('GRANT SELECT ON public.%I TO qunce_metrics', t.name);
        END IF;
        CONTINUE WHEN t.name = ANY (closed || internal)
            OR t.name IN ('measurement', 'event');  -- callers have them through the schema scoped
        IF t.name = ANY (open_to_all) THEN
            EXECUTE format('GRANT SELECT ON public.%I TO qunce_api, qunce_dashboard', t.name);
            CONTINUE;
        END IF;
        reading := coalesce(special ->> t.name, CASE WHEN t.has_unit THEN by_unit
            || CASE WHEN t.has_enterprise THEN ' OR ' || by_enterprise
                    WHEN t.has_equipment THEN ' OR ' || by_equipment ELSE '' END END);
        IF reading IS NULL THEN
            RAISE EXCEPTION 'store/access.sql does not say whose the rows of table % are', t.name;
        END IF;
        IF t.name = ANY (pool) THEN
            reading := reading || ' OR enterprise_id IN (SELECT pooled_enterprises())'
                -- Which other banks it deals with, no bank is told.
                || CASE WHEN t.has_bank THEN ' AND bank_uscc = (SELECT (caller()).uscc)' ELSE '' END;
        END IF;
        EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', t.name);
        EXECUTE format('DROP POLICY IF EXISTS reading ON public.%I', t.name);
        EXECUTE format('CREATE POLICY reading ON public.%I FOR SELECT TO qunce_api, qunce_dashboard USING (%s)',
            t.name, reading);
        IF t.name = 'person' THEN
            GRANT SELECT (person_id, name, display_name, role, region_code, pilot_ids, unit_id, uscc, oidc_subject,
                failures, locked_until, created_at, disabled_at) ON person TO qunce_api, qunce_dashboard;
        ELSIF t.name = 'api_key' THEN
            GRANT SELECT (key_id, unit_id, name, scopes, created_at, created_by, expires_at, last_used_at, revoked_at, request_key)
                ON api_key TO qunce_api, qunce_dashboard;
        ELSE
            EXECUTE format('GRANT SELECT ON public.%I TO qunce_api, qunce_dashboard', t.name);
        END IF;
        IF t.name = ANY (written) THEN
            EXECUTE format('GRANT INSERT, UPDATE, DELETE ON public.%I TO qunce_api', t.name);
            EXECUTE format('DROP POLICY IF EXISTS adding ON public.%I', t.name);
            EXECUTE format('DROP POLICY IF EXISTS changing ON public.%I', t.name);
            EXECUTE format('DROP POLICY IF EXISTS removing ON public.%I', t.name);
            EXECUTE format('CREATE POLICY adding ON public.%I FOR INSERT TO qunce_api WITH CHECK (%s)',
                t.name, writable);
            EXECUTE format('CREATE POLICY changing ON public.%I FOR UPDATE TO qunce_api USING (%s) WITH CHECK (%s)',
                t.name, writable, writable);
            EXECUTE format('CREATE POLICY removing ON public.%I FOR DELETE TO qunce_api USING (%s)', t.name, writable);
        END IF;
    END LOOP;
    -- Partitions are reached through their parent alone.
    FOR partition IN
        SELECT c.relname FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relispartition AND c.relkind IN ('r', 'p')
    LOOP
        EXECUTE format('REVOKE ALL ON public.%I FROM PUBLIC, qunce_api, qunce_dashboard', partition.relname);
    END LOOP;
END $access$;

-- What the writer only looks up; and what there was stays.
REVOKE INSERT, UPDATE, DELETE ON lead_unit, pilot, region, cluster, sub_sector, indicator_code, code_version, layout,
    closed_period, indicator_value, equipment_hour, stoppage, stoppage_equipment, file_upload,
    source_heartbeat, heartbeat_hour FROM qunce_writer;
REVOKE UPDATE, DELETE ON dataset_revision, measurement_revision FROM qunce_writer;

GRANT SELECT ON scoped.measurement, scoped.event TO qunce_api, qunce_dashboard;
-- What was refused stays, and stays what it was; the interface marks it as replayed.
REVOKE INSERT, UPDATE, DELETE ON quarantine FROM qunce_api;
GRANT UPDATE (replayed_at, replay_batch) ON quarantine TO qunce_api;
-- A declared stoppage is withdrawn, never erased, and its equipment stays what it was declared for. Its number is
-- nobody's choice: one that is taken would tell of another unit's.
REVOKE INSERT, DELETE ON stoppage FROM qunce_api;
GRANT INSERT (unit_id, kind, start_at, end_at, reason, voucher, scope, request_key) ON stoppage TO qunce_api;
REVOKE UPDATE, DELETE ON stoppage_equipment FROM qunce_api;
-- Keys: a unit's own, by itself; people: by an operator.
DROP POLICY IF EXISTS issuing ON api_key;
DROP POLICY IF EXISTS revoking ON api_key;
CREATE POLICY issuing ON api_key FOR INSERT TO qunce_api
    WITH CHECK ((SELECT is_operator()) OR unit_id = (SELECT own_unit()));
CREATE POLICY revoking ON api_key FOR UPDATE TO qunce_api
    USING ((SELECT is_operator()) OR unit_id = (SELECT own_unit()))
    WITH CHECK ((SELECT is_operator()) OR unit_id = (SELECT own_unit()));
GRANT INSERT (unit_id, digest, name, scopes, expires_at, created_by, request_key) ON api_key TO qunce_api;
GRANT UPDATE (revoked_at, expires_at, name) ON api_key TO qunce_api;
DROP POLICY IF EXISTS adding ON person;
DROP POLICY IF EXISTS changing ON person;
CREATE POLICY adding ON person FOR INSERT TO qunce_api WITH CHECK ((SELECT is_operator()));
CREATE POLICY changing ON person FOR UPDATE TO qunce_api
    USING ((SELECT is_operator()) OR person_id = (SELECT (caller()).person_id))
    WITH CHECK ((SELECT is_operator()) OR person_id = (SELECT (caller()).person_id));
GRANT INSERT (name, display_name, role, region_code, pilot_ids, unit_id, uscc, password_hash, oidc_subject)
    ON person TO qunce_api;
GRANT UPDATE (display_name, password_hash, disabled_at, oidc_subject, failures, locked_until) ON person TO qunce_api;

GRANT INSERT, UPDATE, DELETE ON equipment_hour, supply_hour, dirty_hour, dirty_period, indicator_value
    TO qunce_metrics;
-- Every part reports its status through the monitor's login.
GRANT INSERT, UPDATE ON component_status TO qunce_monitor;
GRANT SELECT ON source, lead_unit, ingest_ledger, quarantine, clock_skew, canary, unit_position, writer_position,
    component_status, layout TO qunce_monitor;

-- Functions: each to whom it serves. What an extension brought keeps its own rights.
DO $functions$
DECLARE
    f record;
BEGIN
    FOR f IN SELECT p.oid::regprocedure::text AS signature FROM pg_proc p
        WHERE p.pronamespace = 'public'::regnamespace
            AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
    LOOP
        EXECUTE format('REVOKE ALL ON ROUTINE %s FROM PUBLIC, qunce_api, qunce_dashboard, qunce_writer,'
            ' qunce_metrics, qunce_monitor, qunce_auth', f.signature);
    END LOOP;
    -- Unless it is named, the schema of temporary tables comes first, in what runs as the owner too.
    FOR f IN SELECT p.oid::regprocedure::text AS signature FROM pg_proc p
        WHERE p.pronamespace = 'public'::regnamespace AND p.prosecdef
            AND p.proconfig IS DISTINCT FROM ARRAY['search_path=pg_catalog, public, pg_temp']
            AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, public, pg_temp', f.signature);
    END LOOP;
END $functions$;
GRANT EXECUTE ON FUNCTION uscc_is_valid(text), audit(text, text, text, integer), audit_text(audit_event)
    TO qunce_api, qunce_dashboard, qunce_writer, qunce_metrics, qunce_monitor, qunce_auth;
GRANT EXECUTE ON FUNCTION caller(), regions_below(text), visible_units(), visible_enterprises(),
    pooled_enterprises(), visible_equipment(), sees_province(), supervises(), is_operator(), own_unit(), end_sessions(integer)
    TO qunce_api, qunce_dashboard;
GRANT EXECUTE ON FUNCTION audit_head() TO qunce_monitor;
GRANT EXECUTE ON FUNCTION reopen_stopped(bigint, timestamptz, timestamptz), note_code_version(text, text) TO qunce_api;
GRANT EXECUTE ON FUNCTION tag_readings(integer, timestamptz, timestamptz, smallint, smallint, bigint),
    tag_texts(integer, timestamptz, timestamptz, smallint, smallint, bigint),
    tag_span(integer, timestamptz, timestamptz, smallint, smallint),
    tag_buckets(integer, timestamptz, timestamptz, smallint, smallint, bigint, interval, timestamptz)
    TO qunce_api, qunce_dashboard;
GRANT EXECUTE ON FUNCTION make_day_partition(date) TO qunce_writer;
GRANT EXECUTE ON FUNCTION authenticate_key(bytea), signing_digest(integer), use_nonce(integer, text, integer),
    person_credentials(text), note_login(integer, boolean, integer, integer),
    open_session(bytea, integer, integer, text), session_person(bytea), end_session(bytea),
    renew_hash(integer, text, text), person_of_subject(text)
    TO qunce_auth;
