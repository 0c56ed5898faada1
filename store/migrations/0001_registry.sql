-- The registry: who supervises, who is supervised, which equipment and tags they own.

CREATE FUNCTION uscc_is_valid(code text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
-- GB 32100-2015: 17 characters weighted by 3^(i-1) mod 31, the 18th is the check character.
DECLARE
    alphabet constant text := '0123456789ABCDEFGHJKLMNPQRTUWXY';
    weight   constant int[] := ARRAY[1,3,9,27,19,26,16,17,20,29,25,13,8,24,10,30,28];
    total int := 0;
BEGIN
    IF code !~ '^[0-9A-HJ-NPQRTUWXY]{18}$' THEN
        RETURN false;
    END IF;
    FOR i IN 1..17 LOOP
        total := total + (strpos(alphabet, substr(code, i, 1)) - 1) * weight[i];
    END LOOP;
    RETURN substr(alphabet, (31 - total % 31) % 31 + 1, 1) = substr(code, 18, 1);
END $$;
COMMENT ON FUNCTION uscc_is_valid(text) IS '统一社会信用代码 with a correct check digit (GB 32100-2015)';

CREATE TABLE region (
    code   text PRIMARY KEY CHECK (code ~ '^[0-9]{6}([0-9]{3})?$'),
    name   text NOT NULL,
    level  text NOT NULL CHECK (level IN ('province', 'city', 'district', 'town')),
    parent text REFERENCES region (code)
);
COMMENT ON TABLE region IS 'Administrative regions of the province';
COMMENT ON COLUMN region.code IS 'GB/T 2260 code, 6 digits; towns of cities without districts 9 digits (GB/T 10114)';
COMMENT ON COLUMN region.name IS 'Chinese name';
COMMENT ON COLUMN region.level IS 'province, city, district (区县) or town (镇街 of a city without districts)';
COMMENT ON COLUMN region.parent IS 'code of the region above; null for the province';

CREATE TABLE cluster (
    code    text PRIMARY KEY,
    name_zh text NOT NULL,
    name_en text NOT NULL,
    kind    text NOT NULL CHECK (kind IN ('pillar', 'emerging'))
);
COMMENT ON TABLE cluster IS 'Strategic industrial clusters: 10 pillar and 10 emerging (粤府函〔2020〕82号)';
COMMENT ON COLUMN cluster.code IS 'our short code';
COMMENT ON COLUMN cluster.name_zh IS 'Chinese name as in the policy';
COMMENT ON COLUMN cluster.name_en IS 'English name';
COMMENT ON COLUMN cluster.kind IS 'pillar 战略性支柱 or emerging 战略性新兴';

CREATE TABLE sub_sector (
    code         text PRIMARY KEY,
    cluster_code text NOT NULL REFERENCES cluster (code),
    name_zh      text NOT NULL,
    name_en      text NOT NULL
);
COMMENT ON TABLE sub_sector IS 'Sub-sectors of the strategic clusters';
COMMENT ON COLUMN sub_sector.code IS 'our short code, cluster code first';
COMMENT ON COLUMN sub_sector.cluster_code IS 'cluster it belongs to';
COMMENT ON COLUMN sub_sector.name_zh IS 'Chinese name';
COMMENT ON COLUMN sub_sector.name_en IS 'English name';

CREATE TABLE lead_unit (
    unit_id    integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code       text NOT NULL UNIQUE CHECK (code ~ '^[A-Z0-9][A-Z0-9-]{2,30}$'),
    name_zh    text NOT NULL,
    name_en    text NOT NULL,
    path       smallint NOT NULL CHECK (path IN (1, 2)),
    uscc       text NOT NULL CHECK (uscc_is_valid(uscc)),
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE lead_unit IS 'Lead units (牵头单位) of the pilots; the owner of every row they send';
COMMENT ON COLUMN lead_unit.unit_id IS 'internal key';
COMMENT ON COLUMN lead_unit.code IS 'public code given by the province';
COMMENT ON COLUMN lead_unit.name_zh IS 'Chinese name';
COMMENT ON COLUMN lead_unit.name_en IS 'English name';
COMMENT ON COLUMN lead_unit.path IS 'path of the implementation rules the unit follows: 1 or 2';
COMMENT ON COLUMN lead_unit.uscc IS '统一社会信用代码 (GB 32100-2015)';
COMMENT ON COLUMN lead_unit.created_at IS 'when registered (UTC)';

CREATE TABLE api_key (
    key_id      integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    unit_id     integer NOT NULL REFERENCES lead_unit (unit_id),
    digest      bytea NOT NULL UNIQUE,
    mqtt_digest text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    revoked_at  timestamptz
);
COMMENT ON TABLE api_key IS 'Secrets of the units; only digests are kept';
COMMENT ON COLUMN api_key.key_id IS 'internal key';
COMMENT ON COLUMN api_key.unit_id IS 'owner';
COMMENT ON COLUMN api_key.digest IS 'SHA-256 of the key (the key itself has 256 random bits)';
COMMENT ON COLUMN api_key.mqtt_digest IS 'bcrypt digest, for the broker''s password file';
COMMENT ON COLUMN api_key.created_at IS 'when issued (UTC)';
COMMENT ON COLUMN api_key.revoked_at IS 'when revoked (UTC); null = valid';

CREATE TABLE pilot (
    pilot_id        integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code            text NOT NULL UNIQUE,
    name_zh         text NOT NULL,
    name_en         text NOT NULL,
    cluster_code    text NOT NULL REFERENCES cluster (code),
    sub_sector_code text REFERENCES sub_sector (code),
    region_code     text NOT NULL REFERENCES region (code),
    unit_id         integer NOT NULL REFERENCES lead_unit (unit_id),
    stage           text NOT NULL CHECK (stage IN ('selection', 'incubation', 'piloting', 'assessment', 'demonstration')),
    started_on      date NOT NULL,
    -- one lead unit, one pilot industry, one starting area (粤工信工业互联网函〔2022〕14号)
    UNIQUE (unit_id, cluster_code, region_code)
);
COMMENT ON TABLE pilot IS 'Cluster pilots (集群试点): what indicator level ''cluster'' refers to';
COMMENT ON COLUMN pilot.pilot_id IS 'internal key; entity_id of indicator level cluster';
COMMENT ON COLUMN pilot.code IS 'public code';
COMMENT ON COLUMN pilot.name_zh IS 'Chinese name';
COMMENT ON COLUMN pilot.name_en IS 'English name';
COMMENT ON COLUMN pilot.cluster_code IS 'strategic cluster';
COMMENT ON COLUMN pilot.sub_sector_code IS 'sub-sector, if narrower than the cluster';
COMMENT ON COLUMN pilot.region_code IS 'starting area (试点起步区域), city or county';
COMMENT ON COLUMN pilot.unit_id IS 'lead unit';
COMMENT ON COLUMN pilot.stage IS 'life cycle: selection 遴选, incubation 培育, piloting 试点, assessment 考核, demonstration 示范';
COMMENT ON COLUMN pilot.started_on IS 'first day of the pilot (+08:00)';

CREATE TABLE park (
    park_id     integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    unit_id     integer NOT NULL REFERENCES lead_unit (unit_id),
    code        text NOT NULL,
    name        text NOT NULL,
    region_code text NOT NULL REFERENCES region (code),
    virtual     boolean NOT NULL,
    UNIQUE (unit_id, code)
);
COMMENT ON TABLE park IS 'Industrial-internet parks (工业互联园区), physical and virtual';
COMMENT ON COLUMN park.park_id IS 'internal key';
COMMENT ON COLUMN park.unit_id IS 'owner';
COMMENT ON COLUMN park.code IS 'unit''s code of the park';
COMMENT ON COLUMN park.name IS 'Chinese name';
COMMENT ON COLUMN park.region_code IS 'where it lies';
COMMENT ON COLUMN park.virtual IS 'true: virtual park';

CREATE TABLE enterprise (
    enterprise_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    unit_id       integer NOT NULL REFERENCES lead_unit (unit_id),
    uscc          text NOT NULL CHECK (uscc_is_valid(uscc)),
    name          text NOT NULL,
    region_code   text NOT NULL REFERENCES region (code),
    industry      text,
    park_id       integer REFERENCES park (park_id),
    registered_on date NOT NULL,
    scale         text CHECK (scale IN ('large', 'medium', 'small', 'micro')),
    UNIQUE (unit_id, uscc)
);
COMMENT ON TABLE enterprise IS 'Enterprises a unit has brought onto its platform; one row a unit and enterprise';
COMMENT ON COLUMN enterprise.enterprise_id IS 'internal key; entity_id of indicator level enterprise';
COMMENT ON COLUMN enterprise.unit_id IS 'unit that registered it';
COMMENT ON COLUMN enterprise.uscc IS '统一社会信用代码 (GB 32100-2015)';
COMMENT ON COLUMN enterprise.name IS 'Chinese name';
COMMENT ON COLUMN enterprise.region_code IS 'city or county';
COMMENT ON COLUMN enterprise.industry IS 'industry as reported';
COMMENT ON COLUMN enterprise.park_id IS 'park it resides in';
COMMENT ON COLUMN enterprise.registered_on IS 'day it joined the platform (+08:00)';
COMMENT ON COLUMN enterprise.scale IS 'size class';

CREATE TABLE equipment (
    equipment_id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    unit_id              integer NOT NULL REFERENCES lead_unit (unit_id),
    enterprise_id        integer NOT NULL REFERENCES enterprise (enterprise_id),
    code                 text NOT NULL CHECK (code !~ '[./+#[:space:]]'),
    name                 text NOT NULL,
    kind                 text NOT NULL,
    rated_capacity_per_h double precision CHECK (rated_capacity_per_h > 0),
    digital              boolean NOT NULL,
    networked            boolean NOT NULL,
    commissioned_on      date,
    UNIQUE (unit_id, code)
);
CREATE INDEX equipment_enterprise ON equipment (enterprise_id);
COMMENT ON TABLE equipment IS 'Equipment register (ISA-95 work units, meters, gateways)';
COMMENT ON COLUMN equipment.equipment_id IS 'internal key; entity_id of indicator level equipment';
COMMENT ON COLUMN equipment.unit_id IS 'owner';
COMMENT ON COLUMN equipment.enterprise_id IS 'enterprise it stands in';
COMMENT ON COLUMN equipment.code IS 'unit''s code';
COMMENT ON COLUMN equipment.name IS 'Chinese name';
COMMENT ON COLUMN equipment.kind IS 'kind of equipment as reported';
COMMENT ON COLUMN equipment.rated_capacity_per_h IS 'rated production capacity, pieces per hour';
COMMENT ON COLUMN equipment.digital IS 'has a digital controller';
COMMENT ON COLUMN equipment.networked IS 'is networked';
COMMENT ON COLUMN equipment.commissioned_on IS 'day of commissioning (+08:00)';

CREATE TABLE tag (
    tag_id       integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    unit_id      integer NOT NULL REFERENCES lead_unit (unit_id),
    equipment_id integer NOT NULL REFERENCES equipment (equipment_id),
    name         text NOT NULL,
    signal       text NOT NULL,
    data_type    text NOT NULL CHECK (data_type IN ('enum', 'counter', 'float', 'int', 'bool', 'text')),
    unit         text NOT NULL,
    range_min    double precision,
    range_max    double precision CHECK (range_max >= range_min),
    UNIQUE (unit_id, name)
);
CREATE INDEX tag_equipment ON tag (equipment_id, signal);
COMMENT ON TABLE tag IS 'Measured signals; a tag never changes its data type';
COMMENT ON COLUMN tag.tag_id IS 'internal key of measurement';
COMMENT ON COLUMN tag.unit_id IS 'owner';
COMMENT ON COLUMN tag.equipment_id IS 'equipment it belongs to';
COMMENT ON COLUMN tag.name IS 'public name: equipment code, dot, signal';
COMMENT ON COLUMN tag.signal IS 'state, mode, produced, good, scrap, rework, energy, or a process value';
COMMENT ON COLUMN tag.data_type IS 'declared type; what does not fit is quarantined';
COMMENT ON COLUMN tag.unit IS 'UCUM unit, 1 if none';
COMMENT ON COLUMN tag.range_min IS 'smallest physically possible value, in unit';
COMMENT ON COLUMN tag.range_max IS 'largest physically possible value, in unit';

CREATE TABLE reporting_schedule (
    tag_id     integer NOT NULL REFERENCES tag (tag_id),
    valid_from timestamptz NOT NULL,
    interval_s double precision NOT NULL CHECK (interval_s >= 0.1),
    PRIMARY KEY (tag_id, valid_from)
);
COMMENT ON TABLE reporting_schedule IS 'How often a tag is due; the latest valid_from not after a time holds';
COMMENT ON COLUMN reporting_schedule.tag_id IS 'tag';
COMMENT ON COLUMN reporting_schedule.valid_from IS 'from when (UTC)';
COMMENT ON COLUMN reporting_schedule.interval_s IS 'seconds between two due readings, 0.1 or more';

CREATE TABLE source (
    source_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    unit_id   integer NOT NULL REFERENCES lead_unit (unit_id),
    key       text NOT NULL,
    UNIQUE (unit_id, key)
);
COMMENT ON TABLE source IS 'Ways by which a unit''s data arrive';
COMMENT ON COLUMN source.source_id IS 'internal key';
COMMENT ON COLUMN source.unit_id IS 'owner';
COMMENT ON COLUMN source.key IS 'protocol:name, e.g. mqtt:GD-ELE-01 or opcua:dongguan-f1';
