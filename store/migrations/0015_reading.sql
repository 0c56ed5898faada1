-- How callers read the readings of one tag. Through the views of the schema scoped neither an order nor a
-- limit reaches the table's index: a page of a long series would read all of it. These functions ask once
-- whether the tag is in the caller's sight, by the views' own condition, and then read the table itself.

CREATE FUNCTION sees_tag(of_tag integer) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT EXISTS (SELECT FROM tag t WHERE t.tag_id = of_tag
        AND (t.unit_id = ANY ((SELECT visible_units())::int[])
             OR t.equipment_id IN (SELECT visible_equipment())))
$$;
COMMENT ON FUNCTION sees_tag(integer) IS 'Whether the caller sees this tag';

CREATE FUNCTION tag_readings(of_tag integer, low timestamptz, high timestamptz, least_quality smallint, most_quality smallint, most bigint)
RETURNS TABLE (ts timestamptz, value double precision, quality smallint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
BEGIN
    IF sees_tag(of_tag) THEN
        RETURN QUERY SELECT m.ts, m.value, m.quality FROM measurement m
            WHERE m.tag_id = of_tag AND m.ts >= low AND m.ts < high
                AND m.quality BETWEEN least_quality AND most_quality
            ORDER BY m.ts LIMIT most;
    END IF;
END $$;
COMMENT ON FUNCTION tag_readings(integer, timestamptz, timestamptz, smallint, smallint, bigint) IS 'The first readings of a tag in [low, high), in the order of time; none of a tag out of sight';

CREATE FUNCTION tag_texts(of_tag integer, low timestamptz, high timestamptz, least_quality smallint, most_quality smallint, most bigint)
RETURNS TABLE (ts timestamptz, text text, quality smallint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
BEGIN
    IF sees_tag(of_tag) THEN
        RETURN QUERY SELECT e.ts, e.text, e.quality FROM event e
            WHERE e.tag_id = of_tag AND e.ts >= low AND e.ts < high
                AND e.quality BETWEEN least_quality AND most_quality
            ORDER BY e.ts LIMIT most;
    END IF;
END $$;
COMMENT ON FUNCTION tag_texts(integer, timestamptz, timestamptz, smallint, smallint, bigint) IS 'As tag_readings, of a text tag';

CREATE FUNCTION tag_span(of_tag integer, low timestamptz, high timestamptz, least_quality smallint, most_quality smallint)
RETURNS TABLE (first_at timestamptz, last_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
BEGIN
    IF sees_tag(of_tag) THEN
        SELECT m.ts INTO first_at FROM measurement m WHERE m.tag_id = of_tag AND m.ts >= low AND m.ts < high
            AND m.quality BETWEEN least_quality AND most_quality ORDER BY m.ts LIMIT 1;
        SELECT m.ts INTO last_at FROM measurement m WHERE m.tag_id = of_tag AND m.ts >= low AND m.ts < high
            AND m.quality BETWEEN least_quality AND most_quality ORDER BY m.ts DESC LIMIT 1;
    END IF;
    RETURN NEXT;
END $$;
COMMENT ON FUNCTION tag_span(integer, timestamptz, timestamptz, smallint, smallint) IS 'Times of the first and last of them; null = none';

CREATE FUNCTION tag_buckets(of_tag integer, low timestamptz, high timestamptz, least_quality smallint, most_quality smallint, most bigint,
    width interval, origin timestamptz)
RETURNS TABLE (bucket timestamptz, first double precision, last double precision, min double precision,
    max double precision, mean double precision, n bigint, good bigint, bad bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
BEGIN
    IF sees_tag(of_tag) THEN
        RETURN QUERY WITH b AS MATERIALIZED (
            SELECT date_bin(width, r.ts, origin) AS at, min(r.ts) AS first_at, max(r.ts) AS last_at,
                min(r.value) AS least, max(r.value) AS greatest, avg(r.value) AS average, count(*) AS n,
                count(*) FILTER (WHERE r.quality BETWEEN 0 AND 16383) AS good,
                count(*) FILTER (WHERE r.quality < 0) AS bad
            FROM (SELECT m.ts, m.value, m.quality FROM measurement m
                  WHERE m.tag_id = of_tag AND m.ts >= low AND m.ts < high
                      AND m.quality BETWEEN least_quality AND most_quality LIMIT most) r
            GROUP BY 1)
        SELECT b.at, (SELECT m.value FROM measurement m WHERE m.tag_id = of_tag AND m.ts = b.first_at),
            (SELECT m.value FROM measurement m WHERE m.tag_id = of_tag AND m.ts = b.last_at),
            b.least, b.greatest, b.average, b.n, b.good, b.bad
        FROM b ORDER BY b.at;
    END IF;
END $$;
COMMENT ON FUNCTION tag_buckets(integer, timestamptz, timestamptz, smallint, smallint, bigint, interval, timestamptz) IS 'At most `most` readings of a tag in [low, high), rolled up into buckets of this width; empty buckets are left out';
