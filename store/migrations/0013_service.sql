-- What units do for themselves: heartbeats of what sends for them, and stoppages declared in advance or after.

CREATE TABLE source_heartbeat (
    unit_id       integer NOT NULL REFERENCES lead_unit (unit_id),
    source        text NOT NULL,
    received_at   timestamptz NOT NULL,
    skew_s        double precision NOT NULL,
    queue_depth   bigint,
    oldest_queued timestamptz,
    version       text,
    PRIMARY KEY (unit_id, source)
);
COMMENT ON TABLE source_heartbeat IS 'The last heartbeat of each thing that sends for a unit';
COMMENT ON COLUMN source_heartbeat.unit_id IS 'lead unit';
COMMENT ON COLUMN source_heartbeat.source IS 'what it calls itself; as source.key where it is one of those';
COMMENT ON COLUMN source_heartbeat.received_at IS 'when it arrived, by the platform''s clock (UTC)';
COMMENT ON COLUMN source_heartbeat.skew_s IS 'how far its clock was ahead of the platform''s; negative = behind (s)';
COMMENT ON COLUMN source_heartbeat.queue_depth IS 'readings that wait at the sender, as it says';
COMMENT ON COLUMN source_heartbeat.oldest_queued IS 'source time of the oldest of them, as it says (UTC)';
COMMENT ON COLUMN source_heartbeat.version IS 'version of its software, as it says';

CREATE TABLE heartbeat_hour (
    unit_id integer NOT NULL REFERENCES lead_unit (unit_id),
    source  text NOT NULL,
    hour    timestamptz NOT NULL,
    minutes bigint NOT NULL,
    PRIMARY KEY (unit_id, source, hour)
);
COMMENT ON TABLE heartbeat_hour IS 'In which minutes a heartbeat came: the numerator of the availability of a source. Kept 100 days';
COMMENT ON COLUMN heartbeat_hour.unit_id IS 'lead unit';
COMMENT ON COLUMN heartbeat_hour.source IS 'as in source_heartbeat';
COMMENT ON COLUMN heartbeat_hour.hour IS 'hour of arrival (UTC)';
COMMENT ON COLUMN heartbeat_hour.minutes IS 'bit m is set: a heartbeat came in minute m of the hour';

-- That an equipment is the unit's own is the database's business, not the program's.
ALTER TABLE equipment ADD UNIQUE (equipment_id, unit_id);

CREATE TABLE stoppage (
    stoppage_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    unit_id       integer NOT NULL REFERENCES lead_unit (unit_id),
    kind          text NOT NULL CHECK (kind IN ('holiday', 'maintenance', 'no_order', 'relocation', 'power',
                      'emergency', 'other')),
    start_at      timestamptz NOT NULL,
    end_at        timestamptz CHECK (end_at > start_at),
    reason        text NOT NULL,
    voucher       text,
    scope         text NOT NULL CHECK (scope IN ('equipment', 'enterprise', 'all')),
    declared_at   timestamptz NOT NULL DEFAULT now(),
    changed_at    timestamptz NOT NULL DEFAULT now(),
    withdrawn_at  timestamptz,
    request_key   text,
    UNIQUE (stoppage_id, unit_id),
    UNIQUE (unit_id, request_key)
);
CREATE INDEX stoppage_unit ON stoppage (unit_id, stoppage_id);
COMMENT ON TABLE stoppage IS 'Stoppages that units declare: what was not due then is not missing';
COMMENT ON COLUMN stoppage.stoppage_id IS 'internal key';
COMMENT ON COLUMN stoppage.unit_id IS 'lead unit';
COMMENT ON COLUMN stoppage.kind IS 'holiday 节假日, maintenance 检修, no_order 无订单, relocation 搬迁, power 停电限电, emergency 突发事件, other 其他';
COMMENT ON COLUMN stoppage.start_at IS 'from (UTC)';
COMMENT ON COLUMN stoppage.end_at IS 'to, exclusive (UTC); null = until further notice';
COMMENT ON COLUMN stoppage.reason IS 'in words';
COMMENT ON COLUMN stoppage.voucher IS 'number or address of the document that proves it';
COMMENT ON COLUMN stoppage.scope IS 'how the equipment was chosen: by code, all of an enterprise, or all of the unit at that moment';
COMMENT ON COLUMN stoppage.declared_at IS 'when declared (UTC)';
COMMENT ON COLUMN stoppage.changed_at IS 'when last changed (UTC)';
COMMENT ON COLUMN stoppage.withdrawn_at IS 'when withdrawn (UTC): it holds no more; null = it holds';
COMMENT ON COLUMN stoppage.request_key IS 'Idempotency-Key of the declaration, if there was one';

CREATE TABLE stoppage_equipment (
    stoppage_id  bigint NOT NULL,
    unit_id      integer NOT NULL,
    equipment_id integer NOT NULL,
    PRIMARY KEY (stoppage_id, equipment_id),
    FOREIGN KEY (stoppage_id, unit_id) REFERENCES stoppage (stoppage_id, unit_id),
    FOREIGN KEY (equipment_id, unit_id) REFERENCES equipment (equipment_id, unit_id)
);
CREATE INDEX stoppage_equipment_equipment ON stoppage_equipment (equipment_id);
COMMENT ON TABLE stoppage_equipment IS 'Which equipment a declared stoppage is of';
COMMENT ON COLUMN stoppage_equipment.stoppage_id IS 'stoppage';
COMMENT ON COLUMN stoppage_equipment.unit_id IS 'lead unit';
COMMENT ON COLUMN stoppage_equipment.equipment_id IS 'equipment, one of the unit';

ALTER TABLE equipment_hour ADD COLUMN stopped_s double precision NOT NULL DEFAULT 0;
COMMENT ON COLUMN equipment_hour.stopped_s IS 'seconds within a declared stoppage, from the first reporting schedule on: nothing is due in them';
COMMENT ON COLUMN equipment_hour.due IS 'readings due by the reporting schedule, outside declared stoppages';
COMMENT ON COLUMN equipment_hour.filled IS 'due slots with at least one reading';

CREATE FUNCTION reopen_stopped(of_stoppage bigint, low timestamptz, high timestamptz) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
    n bigint;
BEGIN
    INSERT INTO dirty_hour (equipment_id, hour)
    SELECT h.equipment_id, h.hour FROM stoppage_equipment s JOIN equipment_hour h USING (equipment_id)
        WHERE s.stoppage_id = of_stoppage AND s.unit_id = own_unit() AND h.hour > low - interval '1 hour' AND h.hour < high
    UNION
    -- being computed for the first time just now, from what was declared before
    SELECT h.equipment_id, h.hour FROM stoppage_equipment s JOIN dirty_hour h USING (equipment_id)
        WHERE s.stoppage_id = of_stoppage AND s.unit_id = own_unit() AND h.hour > low - interval '1 hour' AND h.hour < high
    ORDER BY 1, 2
    ON CONFLICT (equipment_id, hour) DO UPDATE SET marked_at = clock_timestamp();
    GET DIAGNOSTICS n = ROW_COUNT;
    RETURN n;
END $$;
COMMENT ON FUNCTION reopen_stopped(bigint, timestamptz, timestamptz) IS 'Have the computed hours of the caller''s own stoppage''s equipment in a span computed anew; how many';
