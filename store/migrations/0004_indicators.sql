-- Rollups and indicator values.

CREATE TABLE equipment_hour (
    equipment_id    integer NOT NULL,
    hour            timestamptz NOT NULL,
    observed_s      double precision NOT NULL,
    known_s         double precision NOT NULL,
    state_known_s   double precision NOT NULL,
    online_s        double precision NOT NULL,
    executing_s     double precision,
    apt_s           double precision,
    aust_s          double precision,
    pbt_s           double precision,
    pbt_known_s     double precision,
    pq              double precision,
    gq              double precision,
    sq              double precision,
    pri_pq_s        double precision,
    pri_gq_s        double precision,
    pri_apt_s       double precision,
    energy_kwh      double precision,
    due             bigint NOT NULL,
    filled          bigint NOT NULL,
    readings        bigint NOT NULL,
    valid           bigint NOT NULL,
    flags           smallint NOT NULL,
    provisional     boolean NOT NULL,
    computed_at     timestamptz NOT NULL,
    PRIMARY KEY (equipment_id, hour)
);
CREATE INDEX equipment_hour_hour ON equipment_hour (hour);
-- hours computed before they were over, to be computed once more when they are
CREATE INDEX equipment_hour_provisional ON equipment_hour (hour) WHERE provisional;
COMMENT ON TABLE equipment_hour IS 'Additive components of all equipment indicators, by hour; null = not known, never zero';
COMMENT ON COLUMN equipment_hour.equipment_id IS 'equipment';
COMMENT ON COLUMN equipment_hour.hour IS 'hour (UTC), [hour, hour + 1 h)';
COMMENT ON COLUMN equipment_hour.observed_s IS 'seconds of the hour that have passed when computed (3600 once closed)';
COMMENT ON COLUMN equipment_hour.known_s IS 'seconds for which state and mode are known';
COMMENT ON COLUMN equipment_hour.state_known_s IS 'seconds for which the state is known';
COMMENT ON COLUMN equipment_hour.online_s IS 'seconds in which some tag was younger than 3 reporting intervals';
COMMENT ON COLUMN equipment_hour.executing_s IS 'seconds with state Executing';
COMMENT ON COLUMN equipment_hour.apt_s IS 'actual production time APT: Executing and Processing (ISO 22400-2; OPC 40001-1)';
COMMENT ON COLUMN equipment_hour.aust_s IS 'actual unit setup time AUST: mode Setup';
COMMENT ON COLUMN equipment_hour.pbt_s IS 'planned busy time PBT from the shift calendar; null without a calendar';
COMMENT ON COLUMN equipment_hour.pbt_known_s IS 'part of PBT for which state and mode are known: the denominator of availability';
COMMENT ON COLUMN equipment_hour.pq IS 'produced quantity PQ, pieces';
COMMENT ON COLUMN equipment_hour.gq IS 'good quantity GQ, pieces';
COMMENT ON COLUMN equipment_hour.sq IS 'scrap quantity SQ, pieces';
COMMENT ON COLUMN equipment_hour.pri_pq_s IS 'sum over orders of PRI x PQ, seconds; null without an order';
COMMENT ON COLUMN equipment_hour.pri_gq_s IS 'sum over orders of PRI x GQ, seconds; null without an order';
COMMENT ON COLUMN equipment_hour.pri_apt_s IS 'APT for which PRI is known, seconds: the denominator of effectiveness';
COMMENT ON COLUMN equipment_hour.energy_kwh IS 'electricity, kWh';
COMMENT ON COLUMN equipment_hour.due IS 'readings due by the reporting schedule';
COMMENT ON COLUMN equipment_hour.filled IS 'due slots with at least one reading';
COMMENT ON COLUMN equipment_hour.readings IS 'readings stored';
COMMENT ON COLUMN equipment_hour.valid IS 'readings stored with good quality';
COMMENT ON COLUMN equipment_hour.flags IS 'bits: 1 no readings of a counter for part of the hour, 2 counter reset, 4 jump rejected, 8 pieces without an order, 16 lone outlier dropped';
COMMENT ON COLUMN equipment_hour.provisional IS 'computed before the hour was over and its last readings could have arrived';
COMMENT ON COLUMN equipment_hour.computed_at IS 'when computed (UTC)';

CREATE TABLE dirty_period (
    period       text NOT NULL CHECK (period IN ('hour', 'day', 'month')),
    period_start timestamptz NOT NULL,
    marked_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    since        timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (period, period_start)
);
COMMENT ON TABLE dirty_period IS 'Periods whose equipment-hours changed since the indicators were computed; marked in the rollup''s transaction';
COMMENT ON COLUMN dirty_period.period IS 'hour, day or month';
COMMENT ON COLUMN dirty_period.period_start IS 'start of the period (UTC)';
COMMENT ON COLUMN dirty_period.marked_at IS 'last mark (UTC); removed only if not marked again since it was read';
COMMENT ON COLUMN dirty_period.since IS 'first mark not yet worked off (UTC); a later mark does not change it';

CREATE TABLE indicator_value (
    code            text NOT NULL,
    formula_version smallint NOT NULL,
    level           text NOT NULL CHECK (level IN ('equipment', 'enterprise', 'cluster', 'province', 'source')),
    entity_id       integer NOT NULL,
    period          text NOT NULL CHECK (period IN ('now', 'hour', 'day', 'month')),
    period_start    timestamptz NOT NULL,
    value           double precision,
    numerator       double precision,
    denominator     double precision,
    n_inputs        integer NOT NULL,
    completeness    real,
    provenance      text NOT NULL CHECK (provenance IN ('observed', 'reported')),
    reason          text,
    provisional     boolean NOT NULL,
    computed_at     timestamptz NOT NULL,
    superseded_at   timestamptz,
    CHECK (value IS NOT NULL OR reason IS NOT NULL)
);
CREATE UNIQUE INDEX indicator_value_current
    ON indicator_value (code, level, entity_id, period, period_start) WHERE superseded_at IS NULL;
CREATE INDEX indicator_value_period ON indicator_value (period, period_start, code, level, entity_id);
COMMENT ON TABLE indicator_value IS 'Indicator values, append-only: a closed period''s recomputation supersedes; a provisional value (period still open) is replaced in place';
COMMENT ON COLUMN indicator_value.code IS 'indicator code of the catalogue';
COMMENT ON COLUMN indicator_value.formula_version IS 'version of the formula';
COMMENT ON COLUMN indicator_value.level IS 'kind of entity; cluster = pilot';
COMMENT ON COLUMN indicator_value.entity_id IS 'equipment_id, enterprise_id, pilot_id, source_id; 0 for the province';
COMMENT ON COLUMN indicator_value.period IS 'hour (UTC), day or month (+08:00), now (a moving window; period_start = epoch)';
COMMENT ON COLUMN indicator_value.period_start IS 'start of the period (UTC)';
COMMENT ON COLUMN indicator_value.value IS 'value in the catalogue''s unit; ratios as fractions of 1; null with a reason';
COMMENT ON COLUMN indicator_value.numerator IS 'numerator, so that ratios are never averaged';
COMMENT ON COLUMN indicator_value.denominator IS 'denominator';
COMMENT ON COLUMN indicator_value.n_inputs IS 'how many entities or readings it was computed from';
COMMENT ON COLUMN indicator_value.completeness IS 'share of the needed inputs that were there, 0..1';
COMMENT ON COLUMN indicator_value.provenance IS 'observed (computed from readings) or reported (from what units declared)';
COMMENT ON COLUMN indicator_value.reason IS 'why there is no value, from the closed list in metrics';
COMMENT ON COLUMN indicator_value.provisional IS 'the period was still open when computed';
COMMENT ON COLUMN indicator_value.computed_at IS 'when computed (UTC)';
COMMENT ON COLUMN indicator_value.superseded_at IS 'when a later computation replaced it (UTC); null = current';

CREATE TABLE component_status (
    component  text NOT NULL,
    instance   text NOT NULL,
    status     text NOT NULL CHECK (status IN ('starting', 'ok', 'recoverable', 'permanent', 'stopping', 'stopped')),
    detail     jsonb NOT NULL,
    beat_at    timestamptz NOT NULL,
    PRIMARY KEY (component, instance)
);
COMMENT ON TABLE component_status IS 'What each part of the platform last said of itself';
COMMENT ON COLUMN component_status.component IS 'api, writer, connector name, metrics, dashboard';
COMMENT ON COLUMN component_status.instance IS 'process';
COMMENT ON COLUMN component_status.status IS 'closed list; stale when beat_at is old';
COMMENT ON COLUMN component_status.detail IS 'figures and texts for people';
COMMENT ON COLUMN component_status.beat_at IS 'when said (UTC)';
