-- Partitions are made by the owner, whoever writes into them.
CREATE FUNCTION make_day_partition(day date) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
    name text := 'measurement_' || to_char(day, 'YYYYMMDD');
BEGIN
    PERFORM pg_advisory_xact_lock(7236002);
    IF to_regclass('public.' || name) IS NOT NULL THEN
        RETURN;
    END IF;
    -- Made apart and attached: attaching waits for no reader, and makes none wait.
    EXECUTE format('CREATE TABLE public.%I (LIKE public.measurement INCLUDING ALL)', name);
    EXECUTE format('ALTER TABLE public.measurement ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
        name, day::text || ' 00:00:00+00', (day + 1)::text || ' 00:00:00+00');
END $$;
COMMENT ON FUNCTION make_day_partition(date) IS 'The partition of measurement for a day (UTC), if there is none yet';
