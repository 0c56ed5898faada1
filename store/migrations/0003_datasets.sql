-- What units report. Typed tables hold the present state, dataset_revision every state there was.

CREATE TABLE dataset_revision (
    unit_id     integer NOT NULL,
    dataset     text NOT NULL,
    natural_key text NOT NULL,
    revision    integer NOT NULL,
    record      jsonb NOT NULL,
    batch       text NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (unit_id, dataset, natural_key, revision)
);
COMMENT ON TABLE dataset_revision IS 'Every revision of every reported record, append-only';
COMMENT ON COLUMN dataset_revision.unit_id IS 'owner';
COMMENT ON COLUMN dataset_revision.dataset IS 'dataset';
COMMENT ON COLUMN dataset_revision.natural_key IS 'key fields joined by |';
COMMENT ON COLUMN dataset_revision.revision IS '1 = first report; the highest holds';
COMMENT ON COLUMN dataset_revision.record IS 'the record as validated';
COMMENT ON COLUMN dataset_revision.batch IS 'submission that carried it';
COMMENT ON COLUMN dataset_revision.received_at IS 'when received (UTC)';

CREATE TABLE shift_calendar (
    unit_id      integer NOT NULL,
    equipment_id integer NOT NULL REFERENCES equipment (equipment_id),
    start_at     timestamptz NOT NULL,
    end_at       timestamptz NOT NULL CHECK (end_at > start_at),
    kind         text NOT NULL CHECK (kind IN ('shift', 'break', 'planned_downtime')),
    PRIMARY KEY (equipment_id, start_at, kind)
);
COMMENT ON TABLE shift_calendar IS 'Planned operation time: PBT = shifts - breaks - planned downtime (ISO 22400-2)';
COMMENT ON COLUMN shift_calendar.unit_id IS 'owner';
COMMENT ON COLUMN shift_calendar.equipment_id IS 'work unit';
COMMENT ON COLUMN shift_calendar.start_at IS 'from (UTC)';
COMMENT ON COLUMN shift_calendar.end_at IS 'to, exclusive (UTC)';
COMMENT ON COLUMN shift_calendar.kind IS 'shift (POT), break or planned_downtime (both reduce it)';

CREATE TABLE production_order (
    unit_id          integer NOT NULL,
    order_id         text NOT NULL,
    equipment_id     integer NOT NULL REFERENCES equipment (equipment_id),
    product          text NOT NULL,
    pri_s            double precision NOT NULL CHECK (pri_s > 0),
    planned_quantity double precision NOT NULL CHECK (planned_quantity >= 0),
    start_at         timestamptz NOT NULL,
    end_at           timestamptz CHECK (end_at > start_at),
    PRIMARY KEY (unit_id, order_id)
);
CREATE INDEX production_order_equipment ON production_order (equipment_id, start_at);
COMMENT ON TABLE production_order IS 'Production orders with the planned run time per item';
COMMENT ON COLUMN production_order.unit_id IS 'owner';
COMMENT ON COLUMN production_order.order_id IS 'unit''s order number';
COMMENT ON COLUMN production_order.equipment_id IS 'work unit';
COMMENT ON COLUMN production_order.product IS 'product';
COMMENT ON COLUMN production_order.pri_s IS 'planned run time per item PRI (ISO 22400-2), seconds';
COMMENT ON COLUMN production_order.planned_quantity IS 'pieces ordered';
COMMENT ON COLUMN production_order.start_at IS 'start (UTC)';
COMMENT ON COLUMN production_order.end_at IS 'end, exclusive (UTC); null = running';

CREATE TABLE milestone (
    unit_id     integer NOT NULL REFERENCES lead_unit (unit_id),
    code        text NOT NULL,
    name        text NOT NULL,
    planned_on  date NOT NULL,
    accepted_on date,
    PRIMARY KEY (unit_id, code)
);
COMMENT ON TABLE milestone IS 'Milestones of the task book (任务书)';
COMMENT ON COLUMN milestone.unit_id IS 'lead unit';
COMMENT ON COLUMN milestone.code IS 'code in the task book';
COMMENT ON COLUMN milestone.name IS 'name';
COMMENT ON COLUMN milestone.planned_on IS 'planned day (+08:00)';
COMMENT ON COLUMN milestone.accepted_on IS 'day of acceptance (+08:00); null = open';

CREATE TABLE reported_indicator (
    unit_id      integer NOT NULL REFERENCES lead_unit (unit_id),
    code         text NOT NULL,
    period_start timestamptz NOT NULL,
    period_end   timestamptz NOT NULL CHECK (period_end > period_start),
    value        double precision NOT NULL,
    numerator    double precision,
    denominator  double precision,
    PRIMARY KEY (unit_id, code, period_start, period_end)
);
COMMENT ON TABLE reported_indicator IS 'Indicator values as the unit reports them; never mixed with computed ones';
COMMENT ON COLUMN reported_indicator.unit_id IS 'lead unit';
COMMENT ON COLUMN reported_indicator.code IS 'indicator code of the catalogue';
COMMENT ON COLUMN reported_indicator.period_start IS 'period from (UTC)';
COMMENT ON COLUMN reported_indicator.period_end IS 'period to, exclusive (UTC)';
COMMENT ON COLUMN reported_indicator.value IS 'value in the catalogue''s unit; ratios as fractions of 1';
COMMENT ON COLUMN reported_indicator.numerator IS 'numerator, if reported';
COMMENT ON COLUMN reported_indicator.denominator IS 'denominator, if reported';
