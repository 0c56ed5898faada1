-- What units report, one table a dataset (ingest/datasets). Columns that speak of an enterprise, an equipment or a
-- park can only refer to one that the same unit registered.

ALTER TABLE enterprise
    ADD UNIQUE (unit_id, enterprise_id),
    ADD COLUMN above_designated_size boolean,
    ADD COLUMN digital_rd_tools boolean;
COMMENT ON COLUMN enterprise.above_designated_size IS 'whether it is above the designated size (规上)';
COMMENT ON COLUMN enterprise.digital_rd_tools IS 'whether it designs with digital tools (CAD, formula models)';
ALTER TABLE equipment ADD UNIQUE (unit_id, equipment_id);
ALTER TABLE park
    ADD UNIQUE (unit_id, park_id),
    ADD COLUMN land_area_mu double precision CHECK (land_area_mu > 0);
COMMENT ON COLUMN park.land_area_mu IS 'occupied industrial land, mu (1 mu = 666.67 m²)';
ALTER TABLE production_order
    ADD COLUMN promised_at timestamptz,
    ADD COLUMN delivered_at timestamptz CHECK (delivered_at > start_at);
COMMENT ON COLUMN production_order.promised_at IS 'when delivery was promised (UTC)';
COMMENT ON COLUMN production_order.delivered_at IS 'when it was delivered (UTC); null = not yet';

-- Why a record was corrected is kept with the revision.
ALTER TABLE dataset_revision
    ADD COLUMN reason      text,
    ADD COLUMN voucher     text,
    ADD COLUMN reported_by text;
COMMENT ON COLUMN dataset_revision.record IS 'the record as validated; {key fields, "withdrawn": true} = withdrawn';
COMMENT ON COLUMN dataset_revision.reason IS 'why it was corrected or withdrawn, as the sender says';
COMMENT ON COLUMN dataset_revision.voucher IS 'number of the document that proves it, as the sender says';
COMMENT ON COLUMN dataset_revision.reported_by IS 'who sent it, as in audit_event.actor; null = before this was kept, or by another way than HTTP';
CREATE INDEX dataset_revision_received ON dataset_revision (unit_id, dataset, received_at);

CREATE TABLE indicator_code (
    code text PRIMARY KEY
);
COMMENT ON TABLE indicator_code IS 'Codes of the indicator catalogue: what can be a target or be reported';
COMMENT ON COLUMN indicator_code.code IS 'code';
INSERT INTO indicator_code (code) VALUES
    ('equip.availability'), ('equip.effectiveness'), ('equip.quality_ratio'), ('equip.oee'), ('equip.nee'),
    ('equip.teep'), ('equip.run_rate'), ('equip.allocation_efficiency'), ('equip.load_ratio'), ('equip.mtbf'),
    ('equip.mttr'), ('prod.throughput_rate'), ('prod.first_pass_yield'), ('prod.on_time_delivery'), ('energy.per_unit'),
    ('energy.total'), ('conn.equip_network_rate'), ('conn.equip_digital_rate'), ('conn.equip_cloud_rate'), ('conn.equip_online_rate'),
    ('conn.key_process_nc_rate'), ('conn.rd_tool_rate'), ('conn.enterprise_cloud_rate'), ('conn.auto_collect_coverage'), ('dq.transmission_rate'),
    ('dq.validity_rate'), ('dq.effective_rate'), ('dq.timeliness'), ('dq.completeness'), ('dq.latency_p95'),
    ('dq.source_availability'), ('dq.backfill_ratio'), ('dq.consistency'), ('plat.devices_connected'), ('plat.models_count'),
    ('plat.apps_count'), ('plat.enterprises_registered'), ('plat.enterprises_active'), ('plat.cluster_coverage'), ('plat.subscriptions'),
    ('plat.model_reuse'), ('plat.api_calls'), ('plat.id_registrations'), ('plat.id_resolutions'), ('plat.user_satisfaction'),
    ('park.space_use_rate'), ('park.idle_reuse_rate'), ('park.shared_capacity_util'), ('park.resident_enterprises'), ('park.output_per_mu'),
    ('park.maturity_level'), ('sme.innovative_count'), ('sme.srdi_count'), ('sme.little_giant_count'), ('sme.tier_upgrades'),
    ('sme.revenue_growth'), ('sme.rd_intensity'), ('sme.class1_ip'), ('fin.loan_amount'), ('fin.enterprises_served'),
    ('fin.weighted_rate'), ('fin.npl_ratio'), ('fin.credit_data_coverage'), ('dx.base_score'), ('dx.mgmt_score'),
    ('dx.effect_score'), ('dx.scene_level'), ('dx.level'), ('dx.coverage'), ('dx.level2_rate'),
    ('dx.cmmm_score'), ('proj.milestone_on_time'), ('proj.task_completion'), ('proj.investment_rate'), ('proj.fund_execution'),
    ('proj.ledger_compliance'), ('proj.trained_people'), ('proj.ecosystem_partners'), ('proj.benchmark_cases'), ('proj.issue_closure'),
    ('eval.indicator_score'), ('eval.total_score'), ('eval.grade'), ('out.rev_per_employee'), ('out.cost_per_100rev'),
    ('out.energy_per_100rev'), ('out.pass_rate_change'), ('out.labor_productivity'), ('out.lead_time_reduction'), ('out.tax_paid');

CREATE TABLE key_process (
    unit_id       integer NOT NULL REFERENCES lead_unit (unit_id),
    enterprise_id integer NOT NULL,
    code          text NOT NULL,
    name          text NOT NULL,
    is_key        boolean NOT NULL,
    control       text NOT NULL CHECK (control IN ('none', 'nc', 'dnc', 'cnc', 'fmc', 'plc', 'dcs', 'pcs')),
    surveyed_on   date NOT NULL,
    PRIMARY KEY (enterprise_id, code),
    FOREIGN KEY (unit_id, enterprise_id) REFERENCES enterprise (unit_id, enterprise_id)
);
COMMENT ON TABLE key_process IS '生产工序: Production process of an enterprise, and how it is controlled';
COMMENT ON COLUMN key_process.unit_id IS 'lead unit that reported it';
COMMENT ON COLUMN key_process.enterprise_id IS 'Enterprise whose process it is';
COMMENT ON COLUMN key_process.code IS 'Your own code, unique within the enterprise';
COMMENT ON COLUMN key_process.name IS 'Name';
COMMENT ON COLUMN key_process.is_key IS 'Whether it is a key process (关键工序)';
COMMENT ON COLUMN key_process.control IS 'Control system: nc, dnc, cnc, fmc (discrete), plc, dcs, pcs (process), or none';
COMMENT ON COLUMN key_process.surveyed_on IS 'Day it was surveyed (+08:00)';

CREATE TABLE product_run_time (
    unit_id             integer NOT NULL REFERENCES lead_unit (unit_id),
    equipment_id        integer NOT NULL,
    product             text NOT NULL,
    valid_from          date NOT NULL,
    pri_s               double precision NOT NULL,
    planned_scrap_share double precision,
    PRIMARY KEY (equipment_id, product, valid_from),
    FOREIGN KEY (unit_id, equipment_id) REFERENCES equipment (unit_id, equipment_id),
    CHECK (pri_s > 0)
);
COMMENT ON TABLE product_run_time IS '产品计划节拍(PRI): Planned run time per item PRI (ISO 22400-2) of a product on an equipment';
COMMENT ON COLUMN product_run_time.unit_id IS 'lead unit that reported it';
COMMENT ON COLUMN product_run_time.equipment_id IS 'Work unit';
COMMENT ON COLUMN product_run_time.product IS 'Product';
COMMENT ON COLUMN product_run_time.valid_from IS 'First day it holds, until the next (+08:00)';
COMMENT ON COLUMN product_run_time.pri_s IS 'Planned run time per item, seconds';
COMMENT ON COLUMN product_run_time.planned_scrap_share IS 'Planned share of scrap, a fraction of 1';

CREATE TABLE inspection_lot (
    unit_id         integer NOT NULL REFERENCES lead_unit (unit_id),
    lot_no          text NOT NULL,
    equipment_id    integer NOT NULL,
    product         text NOT NULL,
    inspected_at    timestamptz NOT NULL,
    inspected       bigint NOT NULL,
    first_pass_good bigint NOT NULL,
    PRIMARY KEY (unit_id, lot_no),
    FOREIGN KEY (unit_id, equipment_id) REFERENCES equipment (unit_id, equipment_id),
    CHECK (first_pass_good <= inspected)
);
CREATE INDEX inspection_lot_equipment ON inspection_lot (equipment_id);
COMMENT ON TABLE inspection_lot IS '检验批次: Inspected parts of a product, and how many were good at first (first pass yield, ISO 22400-2)';
COMMENT ON COLUMN inspection_lot.unit_id IS 'lead unit that reported it';
COMMENT ON COLUMN inspection_lot.lot_no IS 'Number of the lot';
COMMENT ON COLUMN inspection_lot.equipment_id IS 'Work unit that made the parts';
COMMENT ON COLUMN inspection_lot.product IS 'Product';
COMMENT ON COLUMN inspection_lot.inspected_at IS 'When inspected (UTC)';
COMMENT ON COLUMN inspection_lot.inspected IS 'Inspected parts IP, pieces';
COMMENT ON COLUMN inspection_lot.first_pass_good IS 'Good parts without rework GP, pieces';

CREATE TABLE equipment_failure (
    unit_id      integer NOT NULL REFERENCES lead_unit (unit_id),
    equipment_id integer NOT NULL,
    failed_at    timestamptz NOT NULL,
    restored_at  timestamptz,
    fault        text,
    PRIMARY KEY (equipment_id, failed_at),
    FOREIGN KEY (unit_id, equipment_id) REFERENCES equipment (unit_id, equipment_id),
    CHECK (restored_at > failed_at)
);
COMMENT ON TABLE equipment_failure IS '设备故障: Failure of an equipment and its restoration (for MTBF and MTTR)';
COMMENT ON COLUMN equipment_failure.unit_id IS 'lead unit that reported it';
COMMENT ON COLUMN equipment_failure.equipment_id IS 'Equipment';
COMMENT ON COLUMN equipment_failure.failed_at IS 'When it failed (UTC)';
COMMENT ON COLUMN equipment_failure.restored_at IS 'When it was restored; none until then (UTC)';
COMMENT ON COLUMN equipment_failure.fault IS 'Code or name of the fault';

CREATE TABLE energy_consumption (
    unit_id       integer NOT NULL REFERENCES lead_unit (unit_id),
    enterprise_id integer NOT NULL,
    period        text NOT NULL,
    period_start  date NOT NULL GENERATED ALWAYS AS (
        make_date(left(period, 4)::int, CASE WHEN period LIKE '%Q%' THEN 3 * right(period, 1)::int - 2 WHEN length(period) > 4 THEN right(period, 2)::int ELSE 1 END, 1)) STORED,
    period_months smallint NOT NULL GENERATED ALWAYS AS (
        CASE WHEN period LIKE '%Q%' THEN 3 WHEN length(period) > 4 THEN 1 ELSE 12 END) STORED,
    carrier       text NOT NULL CHECK (carrier IN ('electricity', 'natural_gas', 'steam', 'water', 'coal', 'diesel', 'gasoline', 'lpg', 'heat', 'other')),
    quantity      double precision NOT NULL,
    recovered     double precision,
    PRIMARY KEY (enterprise_id, period, carrier),
    FOREIGN KEY (unit_id, enterprise_id) REFERENCES enterprise (unit_id, enterprise_id)
);
COMMENT ON TABLE energy_consumption IS '能源消费: Energy that an enterprise consumed in a period, by carrier, where it is not metered by the platform';
COMMENT ON COLUMN energy_consumption.unit_id IS 'lead unit that reported it';
COMMENT ON COLUMN energy_consumption.enterprise_id IS 'Enterprise';
COMMENT ON COLUMN energy_consumption.period IS 'Year 2026, quarter 2026-Q1 or month 2026-03 (+08:00)';
COMMENT ON COLUMN energy_consumption.period_start IS 'first day of the period (+08:00)';
COMMENT ON COLUMN energy_consumption.period_months IS 'length of the period, months';
COMMENT ON COLUMN energy_consumption.carrier IS 'Carrier; its unit is that of quantity';
COMMENT ON COLUMN energy_consumption.quantity IS 'Consumed: kWh, m³ of gas, t, GJ of heat, or tce of other energy';
COMMENT ON COLUMN energy_consumption.recovered IS 'Of it recovered or transformed, in the same unit';

CREATE TABLE app (
    unit_id      integer NOT NULL REFERENCES lead_unit (unit_id),
    code         text NOT NULL,
    name         text NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('app', 'mechanism_model', 'microservice')),
    subject      text NOT NULL,
    industry     text,
    owner        text NOT NULL,
    published_on date NOT NULL,
    retired_on   date,
    PRIMARY KEY (unit_id, code),
    CHECK (retired_on > published_on)
);
COMMENT ON TABLE app IS '工业APP与机理模型: Published industrial app, mechanism model or microservice of the platform';
COMMENT ON COLUMN app.unit_id IS 'lead unit that reported it';
COMMENT ON COLUMN app.code IS 'Your own code; versions are not counted';
COMMENT ON COLUMN app.name IS 'Name';
COMMENT ON COLUMN app.kind IS 'app, mechanism_model or microservice';
COMMENT ON COLUMN app.subject IS 'What it is for';
COMMENT ON COLUMN app.industry IS 'Industry it is for (GB/T 4754)';
COMMENT ON COLUMN app.owner IS 'Who developed it';
COMMENT ON COLUMN app.published_on IS 'Day of publication (+08:00)';
COMMENT ON COLUMN app.retired_on IS 'Day from which it is not offered any more (+08:00)';

CREATE TABLE subscription (
    unit_id       integer NOT NULL REFERENCES lead_unit (unit_id),
    contract_no   text NOT NULL,
    enterprise_id integer NOT NULL,
    app_code      text,
    start_on      date NOT NULL,
    end_on        date NOT NULL,
    amount_wan    numeric(18,6) NOT NULL,
    paid_wan      numeric(18,6) NOT NULL,
    renewal       boolean NOT NULL,
    PRIMARY KEY (unit_id, contract_no),
    FOREIGN KEY (unit_id, app_code) REFERENCES app (unit_id, code),
    FOREIGN KEY (unit_id, enterprise_id) REFERENCES enterprise (unit_id, enterprise_id),
    CHECK (end_on > start_on),
    CHECK (paid_wan <= amount_wan)
);
CREATE INDEX subscription_enterprise ON subscription (enterprise_id);
CREATE INDEX subscription_app ON subscription (unit_id, app_code);
COMMENT ON TABLE subscription IS '平台订阅: Subscription of an enterprise to an app or a service of the platform';
COMMENT ON COLUMN subscription.unit_id IS 'lead unit that reported it';
COMMENT ON COLUMN subscription.contract_no IS 'Number of the contract';
COMMENT ON COLUMN subscription.enterprise_id IS 'Enterprise that subscribes';
COMMENT ON COLUMN subscription.app_code IS 'App or model; none for the platform as a whole';
COMMENT ON COLUMN subscription.start_on IS 'First day (+08:00)';
COMMENT ON COLUMN subscription.end_on IS 'Day from which it holds no more (+08:00)';
COMMENT ON COLUMN subscription.amount_wan IS 'Amount of the contract, 10,000 yuan; 0 = free';
COMMENT ON COLUMN subscription.paid_wan IS 'Paid so far, 10,000 yuan';
COMMENT ON COLUMN subscription.renewal IS 'Whether it continues an earlier subscription';

CREATE TABLE app_usage (
    unit_id       integer NOT NULL REFERENCES lead_unit (unit_id),
    app_code      text NOT NULL,
    enterprise_id integer NOT NULL,
    day           date NOT NULL,
    sessions      bigint NOT NULL,
    users         bigint NOT NULL,
    calls         bigint NOT NULL,
    used_h        double precision,
    PRIMARY KEY (unit_id, app_code, enterprise_id, day),
    FOREIGN KEY (unit_id, app_code) REFERENCES app (unit_id, code),
    FOREIGN KEY (unit_id, enterprise_id) REFERENCES enterprise (unit_id, enterprise_id)
);
CREATE INDEX app_usage_enterprise ON app_usage (enterprise_id);
COMMENT ON TABLE app_usage IS '应用使用统计: Use of an app or model by an enterprise on a day';
COMMENT ON COLUMN app_usage.unit_id IS 'lead unit that reported it';
COMMENT ON COLUMN app_usage.app_code IS 'App or model';
COMMENT ON COLUMN app_usage.enterprise_id IS 'Enterprise that used it';
COMMENT ON COLUMN app_usage.day IS 'Day (+08:00)';
COMMENT ON COLUMN app_usage.sessions IS 'Sessions of people';
COMMENT ON COLUMN app_usage.users IS 'Different people';
COMMENT ON COLUMN app_usage.calls IS 'Calls by programs';
COMMENT ON COLUMN app_usage.used_h IS 'Time of use of all people, hours';

CREATE TABLE api_statistic (
    unit_id   integer NOT NULL REFERENCES lead_unit (unit_id),
    interface text NOT NULL,
    start_at  timestamptz NOT NULL,
    span      text NOT NULL CHECK (span IN ('hour', 'day')),
    calls     bigint NOT NULL,
    succeeded bigint NOT NULL,
    PRIMARY KEY (unit_id, interface, start_at, span),
    CHECK (succeeded <= calls)
);
COMMENT ON TABLE api_statistic IS 'API调用统计: Business API calls of the platform in an hour or a day, without health checks and retries';
COMMENT ON COLUMN api_statistic.unit_id IS 'lead unit that reported it';
COMMENT ON COLUMN api_statistic.interface IS 'Interface';
COMMENT ON COLUMN api_statistic.start_at IS 'Start of the hour or day (UTC)';
COMMENT ON COLUMN api_statistic.span IS 'hour or day';
COMMENT ON COLUMN api_statistic.calls IS 'Calls';
COMMENT ON COLUMN api_statistic.succeeded IS 'Calls that succeeded';

CREATE TABLE identifier_statistic (
    unit_id          integer NOT NULL REFERENCES lead_unit (unit_id),
    enterprise_id    integer NOT NULL,
    prefix           text NOT NULL,
    day              date NOT NULL,
    registered       bigint NOT NULL,
    registered_total bigint NOT NULL,
    resolutions      bigint NOT NULL,
    PRIMARY KEY (enterprise_id, prefix, day),
    FOREIGN KEY (unit_id, enterprise_id) REFERENCES enterprise (unit_id, enterprise_id)
);
COMMENT ON TABLE identifier_statistic IS '标识注册与解析统计: Identifiers (标识) of an enterprise registered and resolved on a day, by the secondary node';
COMMENT ON COLUMN identifier_statistic.unit_id IS 'lead unit that reported it';
COMMENT ON COLUMN identifier_statistic.enterprise_id IS 'Enterprise whose identifiers they are';
COMMENT ON COLUMN identifier_statistic.prefix IS 'Prefix of the enterprise at its secondary node';
COMMENT ON COLUMN identifier_statistic.day IS 'Day (+08:00)';
COMMENT ON COLUMN identifier_statistic.registered IS 'Identifiers registered that day';
COMMENT ON COLUMN identifier_statistic.registered_total IS 'Registered until the end of that day';
COMMENT ON COLUMN identifier_statistic.resolutions IS 'Successful resolutions that day';

CREATE TABLE satisfaction_survey (
    unit_id      integer NOT NULL REFERENCES lead_unit (unit_id),
    code         text NOT NULL,
    subject      text NOT NULL,
    conducted_by text NOT NULL,
    opened_on    date NOT NULL,
    closed_on    date NOT NULL,
    invited      bigint NOT NULL,
    respondents  bigint NOT NULL,
    score        double precision NOT NULL,
    PRIMARY KEY (unit_id, code),
    CHECK (closed_on >= opened_on),
    CHECK (respondents <= invited),
    CHECK (score BETWEEN 0 AND 100)
);
COMMENT ON TABLE satisfaction_survey IS '用户满意度调查: Survey of enterprises about the platform; the answers are the enterprises'', not the unit''s';
COMMENT ON COLUMN satisfaction_survey.unit_id IS 'lead unit that reported it';
COMMENT ON COLUMN satisfaction_survey.code IS 'Your own code of the survey';
COMMENT ON COLUMN satisfaction_survey.subject IS 'What it is about';
COMMENT ON COLUMN satisfaction_survey.conducted_by IS 'Who conducted it';
COMMENT ON COLUMN satisfaction_survey.opened_on IS 'First day (+08:00)';
COMMENT ON COLUMN satisfaction_survey.closed_on IS 'Last day (+08:00)';
COMMENT ON COLUMN satisfaction_survey.invited IS 'Enterprises asked';
COMMENT ON COLUMN satisfaction_survey.respondents IS 'Enterprises that answered';
COMMENT ON COLUMN satisfaction_survey.score IS 'Mean score, 0 to 100 points';

CREATE TABLE industry_enterprise (
    unit_id     integer NOT NULL REFERENCES lead_unit (unit_id),
    uscc        text NOT NULL CHECK (uscc_is_valid(uscc)),
    name        text NOT NULL,
    region_code text NOT NULL,
    industry    text NOT NULL,
    segment     text,
    listed_on   date NOT NULL,
    removed_on  date,
    PRIMARY KEY (unit_id, uscc),
    CHECK (removed_on > listed_on)
);
COMMENT ON TABLE industry_enterprise IS '产业图谱企业: Enterprise of the pilot''s industry and area on the industry map (产业图谱), whether it joined or not';
COMMENT ON COLUMN industry_enterprise.unit_id IS 'lead unit that reported it';
COMMENT ON COLUMN industry_enterprise.uscc IS '统一社会信用代码 (GB 32100-2015)';
COMMENT ON COLUMN industry_enterprise.name IS 'Name as registered';
COMMENT ON COLUMN industry_enterprise.region_code IS 'City or district: GB/T 2260, 6 digits; towns 9 digits';
COMMENT ON COLUMN industry_enterprise.industry IS 'Industry (GB/T 4754)';
COMMENT ON COLUMN industry_enterprise.segment IS 'Its place in the chain';
COMMENT ON COLUMN industry_enterprise.listed_on IS 'Day it was put on the map (+08:00)';
COMMENT ON COLUMN industry_enterprise.removed_on IS 'Day from which it is not on it any more (+08:00)';

CREATE TABLE supply_link (
    unit_id    integer NOT NULL REFERENCES lead_unit (unit_id),
    from_uscc  text NOT NULL CHECK (uscc_is_valid(from_uscc)),
    to_uscc    text NOT NULL CHECK (uscc_is_valid(to_uscc)),
    product    text NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('material', 'part', 'outsourcing', 'equipment', 'service', 'sale')),
    valid_from date NOT NULL,
    valid_to   date,
    PRIMARY KEY (unit_id, from_uscc, to_uscc, product),
    CHECK (valid_to > valid_from),
    CHECK (from_uscc <> to_uscc)
);
COMMENT ON TABLE supply_link IS '产业链供需关系: Link of the supply chain on the industry map (产业图谱): who supplies whom with what';
COMMENT ON COLUMN supply_link.unit_id IS 'lead unit that reported it';
COMMENT ON COLUMN supply_link.from_uscc IS 'Who supplies (GB 32100-2015)';
COMMENT ON COLUMN supply_link.to_uscc IS 'Who is supplied (GB 32100-2015)';
COMMENT ON COLUMN supply_link.product IS 'What is supplied';
COMMENT ON COLUMN supply_link.kind IS 'Kind of link';
COMMENT ON COLUMN supply_link.valid_from IS 'First day (+08:00)';
COMMENT ON COLUMN supply_link.valid_to IS 'Day from which it holds no more (+08:00)';

CREATE TABLE park_space (
    unit_id          integer NOT NULL REFERENCES lead_unit (unit_id),
    park_id          integer NOT NULL,
    as_of            date NOT NULL,
    total_m2         double precision NOT NULL,
    leased_m2        double precision NOT NULL,
    in_production_m2 double precision NOT NULL,
    PRIMARY KEY (park_id, as_of),
    FOREIGN KEY (unit_id, park_id) REFERENCES park (unit_id, park_id),
    CHECK (leased_m2 <= total_m2),
    CHECK (in_production_m2 <= leased_m2)
);
COMMENT ON TABLE park_space IS '园区空间: Factory floor area of a park on a day';
COMMENT ON COLUMN park_space.unit_id IS 'lead unit that reported it';
COMMENT ON COLUMN park_space.park_id IS 'Park';
COMMENT ON COLUMN park_space.as_of IS 'Day (+08:00)';
COMMENT ON COLUMN park_space.total_m2 IS 'Factory floor area, m²';
COMMENT ON COLUMN park_space.leased_m2 IS 'Of it leased, m²';
COMMENT ON COLUMN park_space.in_production_m2 IS 'Of it in production, m²';

CREATE TABLE park_residence (
    unit_id       integer NOT NULL REFERENCES lead_unit (unit_id),
    park_id       integer NOT NULL,
    enterprise_id integer NOT NULL,
    valid_from    date NOT NULL,
    valid_to      date,
    kind          text NOT NULL CHECK (kind IN ('lease', 'virtual')),
    floor_area_m2 double precision,
    PRIMARY KEY (park_id, enterprise_id, valid_from),
    FOREIGN KEY (unit_id, park_id) REFERENCES park (unit_id, park_id),
    FOREIGN KEY (unit_id, enterprise_id) REFERENCES enterprise (unit_id, enterprise_id),
    CHECK (valid_to > valid_from)
);
CREATE INDEX park_residence_enterprise ON park_residence (enterprise_id);
COMMENT ON TABLE park_residence IS '入园企业: Residence of an enterprise in a park, physical or by agreement with a virtual park';
COMMENT ON COLUMN park_residence.unit_id IS 'lead unit that reported it';
COMMENT ON COLUMN park_residence.park_id IS 'Park';
COMMENT ON COLUMN park_residence.enterprise_id IS 'Enterprise that resides';
COMMENT ON COLUMN park_residence.valid_from IS 'First day (+08:00)';
COMMENT ON COLUMN park_residence.valid_to IS 'Day from which it holds no more (+08:00)';
COMMENT ON COLUMN park_residence.kind IS 'lease (or ownership), or virtual-park agreement';
COMMENT ON COLUMN park_residence.floor_area_m2 IS 'Floor area it uses, m²';

CREATE TABLE idle_asset (
    unit_id         integer NOT NULL REFERENCES lead_unit (unit_id),
    park_id         integer NOT NULL,
    code            text NOT NULL,
    kind            text NOT NULL CHECK (kind IN ('land', 'factory', 'capacity', 'equipment')),
    quantity        double precision NOT NULL,
    listed_on       date NOT NULL,
    reused_quantity double precision,
    reused_on       date,
    reuse           text,
    PRIMARY KEY (park_id, code),
    FOREIGN KEY (unit_id, park_id) REFERENCES park (unit_id, park_id),
    CHECK ((reused_on IS NULL) = (reused_quantity IS NULL)),
    CHECK (reused_quantity <= quantity)
);
COMMENT ON TABLE idle_asset IS '闲置要素: Idle land, factory, capacity or equipment on a park''s list, and when it was brought back to use';
COMMENT ON COLUMN idle_asset.unit_id IS 'lead unit that reported it';
COMMENT ON COLUMN idle_asset.park_id IS 'Park';
COMMENT ON COLUMN idle_asset.code IS 'Your own number, unique within the park';
COMMENT ON COLUMN idle_asset.kind IS 'land, factory, capacity or equipment; says the unit of quantity';
COMMENT ON COLUMN idle_asset.quantity IS 'Quantity: land mu, factory m², capacity hours, equipment pieces';
COMMENT ON COLUMN idle_asset.listed_on IS 'Day it was put on the list (+08:00)';
COMMENT ON COLUMN idle_asset.reused_quantity IS 'Of it brought back to use, in the same unit';
COMMENT ON COLUMN idle_asset.reused_on IS 'Day it was brought back to use (+08:00)';
COMMENT ON COLUMN idle_asset.reuse IS 'How it is used now';

CREATE TABLE shared_capacity (
    unit_id      integer NOT NULL REFERENCES lead_unit (unit_id),
    equipment_id integer NOT NULL,
    day          date NOT NULL,
    offered_h    double precision NOT NULL,
    used_h       double precision NOT NULL,
    PRIMARY KEY (equipment_id, day),
    FOREIGN KEY (unit_id, equipment_id) REFERENCES equipment (unit_id, equipment_id),
    CHECK (used_h <= offered_h),
    CHECK (offered_h <= 24)
);
COMMENT ON TABLE shared_capacity IS '共享产能: Hours of an equipment offered to others on a day, and used by them';
COMMENT ON COLUMN shared_capacity.unit_id IS 'lead unit that reported it';
COMMENT ON COLUMN shared_capacity.equipment_id IS 'Equipment on the sharing list';
COMMENT ON COLUMN shared_capacity.day IS 'Day (+08:00)';
COMMENT ON COLUMN shared_capacity.offered_h IS 'Offered to others, hours';
COMMENT ON COLUMN shared_capacity.used_h IS 'Used by others than the owner, hours';

CREATE TABLE park_maturity (
    unit_id        integer NOT NULL REFERENCES lead_unit (unit_id),
    park_id        integer NOT NULL,
    assessed_on    date NOT NULL,
    level          text NOT NULL CHECK (level IN ('1', '2', '3', '4')),
    assessor       text NOT NULL,
    certificate_no text,
    PRIMARY KEY (park_id, assessed_on),
    FOREIGN KEY (unit_id, park_id) REFERENCES park (unit_id, park_id)
);
COMMENT ON TABLE park_maturity IS '园区成熟度: Maturity of a park as a third party assessed it (工业互联网园区评价模型 2.0)';
COMMENT ON COLUMN park_maturity.unit_id IS 'lead unit that reported it';
COMMENT ON COLUMN park_maturity.park_id IS 'Park';
COMMENT ON COLUMN park_maturity.assessed_on IS 'Day of the assessment (+08:00)';
COMMENT ON COLUMN park_maturity.level IS 'Level: 1 规划, 2 规范, 3 优化, 4 引领';
COMMENT ON COLUMN park_maturity.assessor IS 'Third party that assessed it';
COMMENT ON COLUMN park_maturity.certificate_no IS 'Number of the certificate';

CREATE TABLE certificate (
    unit_id        integer NOT NULL REFERENCES lead_unit (unit_id),
    enterprise_id  integer NOT NULL,
    kind           text NOT NULL CHECK (kind IN ('innovative', 'srdi', 'little_giant', 'champion')),
    valid_from     date NOT NULL,
    valid_to       date NOT NULL,
    certificate_no text NOT NULL,
    issuer         text NOT NULL,
    revoked_on     date,
    PRIMARY KEY (enterprise_id, kind, valid_from),
    FOREIGN KEY (unit_id, enterprise_id) REFERENCES enterprise (unit_id, enterprise_id),
    CHECK (valid_to > valid_from)
);
COMMENT ON TABLE certificate IS '企业梯度认定证书: Certificate of an enterprise''s tier (专精特新 and the like) with its validity';
COMMENT ON COLUMN certificate.unit_id IS 'lead unit that reported it';
COMMENT ON COLUMN certificate.enterprise_id IS 'Enterprise that holds it';
COMMENT ON COLUMN certificate.kind IS 'Tier';
COMMENT ON COLUMN certificate.valid_from IS 'First day (+08:00)';
COMMENT ON COLUMN certificate.valid_to IS 'Day from which it holds no more (+08:00)';
COMMENT ON COLUMN certificate.certificate_no IS 'Number of the certificate';
COMMENT ON COLUMN certificate.issuer IS 'Who certified it';
COMMENT ON COLUMN certificate.revoked_on IS 'Day it was revoked (+08:00), if it was';

CREATE TABLE enterprise_statement (
    unit_id           integer NOT NULL REFERENCES lead_unit (unit_id),
    enterprise_id     integer NOT NULL,
    period            text NOT NULL,
    period_start      date NOT NULL GENERATED ALWAYS AS (
        make_date(left(period, 4)::int, CASE WHEN period LIKE '%Q%' THEN 3 * right(period, 1)::int - 2 WHEN length(period) > 4 THEN right(period, 2)::int ELSE 1 END, 1)) STORED,
    period_months     smallint NOT NULL GENERATED ALWAYS AS (
        CASE WHEN period LIKE '%Q%' THEN 3 WHEN length(period) > 4 THEN 1 ELSE 12 END) STORED,
    revenue_wan       numeric(18,6) NOT NULL,
    main_business_wan numeric(18,6),
    cost_wan          numeric(18,6) NOT NULL,
    rd_expense_wan    numeric(18,6) NOT NULL,
    employees         bigint NOT NULL,
    value_added_wan   numeric(18,6),
    output_wan        numeric(18,6),
    tax_paid_wan      numeric(18,6),
    energy_tce        double precision,
    PRIMARY KEY (enterprise_id, period),
    FOREIGN KEY (unit_id, enterprise_id) REFERENCES enterprise (unit_id, enterprise_id)
);
COMMENT ON TABLE enterprise_statement IS '企业经营报表: Statement of an enterprise for a month, a quarter or a year; amounts are of that period alone';
COMMENT ON COLUMN enterprise_statement.unit_id IS 'lead unit that reported it';
COMMENT ON COLUMN enterprise_statement.enterprise_id IS 'Enterprise';
COMMENT ON COLUMN enterprise_statement.period IS 'Year 2026, quarter 2026-Q1 or month 2026-03 (+08:00)';
COMMENT ON COLUMN enterprise_statement.period_start IS 'first day of the period (+08:00)';
COMMENT ON COLUMN enterprise_statement.period_months IS 'length of the period, months';
COMMENT ON COLUMN enterprise_statement.revenue_wan IS 'Operating revenue, 10,000 yuan';
COMMENT ON COLUMN enterprise_statement.main_business_wan IS 'Of it from the main business, 10,000 yuan';
COMMENT ON COLUMN enterprise_statement.cost_wan IS 'Operating cost, 10,000 yuan';
COMMENT ON COLUMN enterprise_statement.rd_expense_wan IS 'R&D expense, 10,000 yuan';
COMMENT ON COLUMN enterprise_statement.employees IS 'Average number of employees';
COMMENT ON COLUMN enterprise_statement.value_added_wan IS 'Industrial value added, 10,000 yuan';
COMMENT ON COLUMN enterprise_statement.output_wan IS 'Gross industrial output, 10,000 yuan';
COMMENT ON COLUMN enterprise_statement.tax_paid_wan IS 'Tax paid, refunds deducted, 10,000 yuan';
COMMENT ON COLUMN enterprise_statement.energy_tce IS 'Comprehensive energy consumption, tce';

CREATE TABLE intellectual_property (
    unit_id       integer NOT NULL REFERENCES lead_unit (unit_id),
    enterprise_id integer NOT NULL,
    right_no      text NOT NULL,
    kind          text NOT NULL CHECK (kind IN ('invention_patent', 'plant_variety', 'crop_variety', 'new_drug', 'tcm_protected', 'ic_layout', 'utility_model', 'design_patent', 'software')),
    title         text NOT NULL,
    granted_on    date NOT NULL,
    expires_on    date,
    in_use        boolean NOT NULL,
    PRIMARY KEY (enterprise_id, right_no),
    FOREIGN KEY (unit_id, enterprise_id) REFERENCES enterprise (unit_id, enterprise_id),
    CHECK (expires_on > granted_on)
);
COMMENT ON TABLE intellectual_property IS '知识产权: Intellectual-property right of an enterprise';
COMMENT ON COLUMN intellectual_property.unit_id IS 'lead unit that reported it';
COMMENT ON COLUMN intellectual_property.enterprise_id IS 'Enterprise that owns it';
COMMENT ON COLUMN intellectual_property.right_no IS 'Number of the grant or registration';
COMMENT ON COLUMN intellectual_property.kind IS 'Kind of right; the first six are class I (Ⅰ类)';
COMMENT ON COLUMN intellectual_property.title IS 'Title';
COMMENT ON COLUMN intellectual_property.granted_on IS 'Day of the grant (+08:00)';
COMMENT ON COLUMN intellectual_property.expires_on IS 'Day from which it is not in force any more (+08:00)';
COMMENT ON COLUMN intellectual_property.in_use IS 'Whether it is used in what the enterprise makes';

CREATE TABLE loan (
    unit_id       integer NOT NULL REFERENCES lead_unit (unit_id),
    bank_uscc     text NOT NULL CHECK (uscc_is_valid(bank_uscc)),
    loan_no       text NOT NULL,
    enterprise_id integer NOT NULL,
    kind          text NOT NULL CHECK (kind IN ('loan', 'credit_line')),
    product       text NOT NULL,
    amount_wan    numeric(18,6) NOT NULL,
    annual_rate   double precision,
    disbursed_on  date NOT NULL,
    due_on        date,
    first_loan    boolean NOT NULL,
    PRIMARY KEY (unit_id, bank_uscc, loan_no),
    FOREIGN KEY (unit_id, enterprise_id) REFERENCES enterprise (unit_id, enterprise_id),
    CHECK (due_on > disbursed_on),
    CHECK (amount_wan > 0),
    CHECK (annual_rate BETWEEN 0 AND 1)
);
CREATE INDEX loan_enterprise ON loan (enterprise_id);
COMMENT ON TABLE loan IS '促成融资: Loan or credit line that platform data helped to decide; the enterprise must have authorised the bank';
COMMENT ON COLUMN loan.unit_id IS 'lead unit that reported it';
COMMENT ON COLUMN loan.bank_uscc IS 'Bank';
COMMENT ON COLUMN loan.loan_no IS 'The bank''s number of the loan';
COMMENT ON COLUMN loan.enterprise_id IS 'Enterprise that borrows';
COMMENT ON COLUMN loan.kind IS 'loan or credit_line';
COMMENT ON COLUMN loan.product IS 'Product of the bank';
COMMENT ON COLUMN loan.amount_wan IS 'Amount disbursed, or granted as a line, 10,000 yuan';
COMMENT ON COLUMN loan.annual_rate IS 'Interest rate p.a., a fraction of 1 (0.0365 = 3.65 %)';
COMMENT ON COLUMN loan.disbursed_on IS 'Day it was disbursed or granted (+08:00)';
COMMENT ON COLUMN loan.due_on IS 'Day it is due (+08:00)';
COMMENT ON COLUMN loan.first_loan IS 'Whether it is the enterprise''s first loan';

CREATE TABLE loan_balance (
    unit_id     integer NOT NULL REFERENCES lead_unit (unit_id),
    bank_uscc   text NOT NULL CHECK (uscc_is_valid(bank_uscc)),
    loan_no     text NOT NULL,
    as_of       date NOT NULL,
    balance_wan numeric(18,6) NOT NULL,
    risk_class  text NOT NULL CHECK (risk_class IN ('normal', 'special_mention', 'substandard', 'doubtful', 'loss')),
    PRIMARY KEY (unit_id, bank_uscc, loan_no, as_of),
    FOREIGN KEY (unit_id, bank_uscc, loan_no) REFERENCES loan (unit_id, bank_uscc, loan_no)
);
COMMENT ON TABLE loan_balance IS '贷款余额与五级分类: Balance of a loan on a day, with its risk class of five';
COMMENT ON COLUMN loan_balance.unit_id IS 'lead unit that reported it';
COMMENT ON COLUMN loan_balance.bank_uscc IS 'Bank';
COMMENT ON COLUMN loan_balance.loan_no IS 'The bank''s number of a loan reported before';
COMMENT ON COLUMN loan_balance.as_of IS 'Day (+08:00)';
COMMENT ON COLUMN loan_balance.balance_wan IS 'Outstanding, 10,000 yuan';
COMMENT ON COLUMN loan_balance.risk_class IS 'Risk class; the last three are non-performing';

CREATE TABLE digital_assessment (
    unit_id                  integer NOT NULL REFERENCES lead_unit (unit_id),
    enterprise_id            integer NOT NULL,
    assessed_on              date NOT NULL,
    edition                  text NOT NULL CHECK (edition IN ('2024')),
    method                   text NOT NULL CHECK (method IN ('self', 'on_site')),
    assessor                 text,
    q1_networks              text[] NOT NULL CHECK (q1_networks <@ '{control, application, 5g, full}'),
    equipment_total          bigint NOT NULL,
    equipment_digital        bigint NOT NULL,
    q2_digital_equipment     text NOT NULL CHECK (q2_digital_equipment IN ('0-10', '10-20', '20-40', '40-60', '60-100')),
    equipment_networked      bigint NOT NULL,
    q3_networked_equipment   text NOT NULL CHECK (q3_networked_equipment IN ('0-10', '10-20', '20-40', '40-60', '60-100')),
    q4_auto_collected        text[] NOT NULL CHECK (q4_auto_collected <@ '{product_design, process_design, marketing, after_sales, scheduling, production_control, quality, equipment, safety, energy, procurement, logistics, finance, human_resources}'),
    q5_systems               text NOT NULL CHECK (q5_systems IN ('none', 'single', 'several', 'over_80', 'all')),
    q6_network_security      text[] NOT NULL CHECK (q6_network_security <@ '{A, B, C, D}'),
    q7_data_security         text[] NOT NULL CHECK (q7_data_security <@ '{A, B, C, D}'),
    q8_planning              text NOT NULL CHECK (q8_planning IN ('0', '1', '2', '3', '4', '5')),
    q9_management            text[] NOT NULL CHECK (q9_management <@ '{A, B, C, D}'),
    q10_talent               text[] NOT NULL CHECK (q10_talent <@ '{A, B, C, D, E}'),
    q11_investment           text NOT NULL CHECK (q11_investment IN ('0-10', '10-20', '20-40', '40-60', '60-100')),
    q12_energy               text NOT NULL CHECK (q12_energy IN ('increased', 'flat', 'decreased')),
    q13_quality              text NOT NULL CHECK (q13_quality IN ('increased', 'flat', 'decreased')),
    q14_market               text NOT NULL CHECK (q14_market IN ('increased', 'flat', 'decreased')),
    q15_value                text NOT NULL CHECK (q15_value IN ('increased', 'flat', 'decreased')),
    energy_tce               double precision NOT NULL,
    energy_before_tce        double precision NOT NULL,
    employees                bigint NOT NULL,
    employees_before         bigint NOT NULL,
    revenue_wan              numeric(18,6) NOT NULL,
    revenue_before_wan       numeric(18,6) NOT NULL,
    cost_wan                 numeric(18,6) NOT NULL,
    cost_before_wan          numeric(18,6) NOT NULL,
    scene_product_design     smallint NOT NULL CHECK (scene_product_design BETWEEN 0 AND 4),
    scene_process_design     smallint NOT NULL CHECK (scene_process_design BETWEEN 0 AND 4),
    scene_marketing          smallint NOT NULL CHECK (scene_marketing BETWEEN 0 AND 4),
    scene_after_sales        smallint NOT NULL CHECK (scene_after_sales BETWEEN 0 AND 4),
    scene_scheduling         smallint NOT NULL CHECK (scene_scheduling BETWEEN 0 AND 4),
    scene_production_control smallint NOT NULL CHECK (scene_production_control BETWEEN 0 AND 4),
    scene_quality            smallint NOT NULL CHECK (scene_quality BETWEEN 0 AND 4),
    scene_equipment          smallint NOT NULL CHECK (scene_equipment BETWEEN 0 AND 4),
    scene_safety             smallint NOT NULL CHECK (scene_safety BETWEEN 0 AND 4),
    scene_energy             smallint NOT NULL CHECK (scene_energy BETWEEN 0 AND 4),
    scene_procurement        smallint NOT NULL CHECK (scene_procurement BETWEEN 0 AND 4),
    scene_logistics          smallint NOT NULL CHECK (scene_logistics BETWEEN 0 AND 4),
    scene_finance            smallint NOT NULL CHECK (scene_finance BETWEEN 0 AND 4),
    scene_human_resources    smallint NOT NULL CHECK (scene_human_resources BETWEEN 0 AND 4),
    scene_office             smallint NOT NULL CHECK (scene_office BETWEEN 0 AND 4),
    scene_decision           smallint NOT NULL CHECK (scene_decision BETWEEN 0 AND 4),
    PRIMARY KEY (enterprise_id, assessed_on),
    FOREIGN KEY (unit_id, enterprise_id) REFERENCES enterprise (unit_id, enterprise_id),
    CHECK (equipment_digital <= equipment_total),
    CHECK (equipment_networked <= equipment_total)
);
COMMENT ON TABLE digital_assessment IS '数字化水平评测(2024版): Answers of an enterprise to the digital-level assessment of 2024: 15 questions, 16 scenes, form figures';
COMMENT ON COLUMN digital_assessment.unit_id IS 'lead unit that reported it';
COMMENT ON COLUMN digital_assessment.enterprise_id IS 'Enterprise that was assessed';
COMMENT ON COLUMN digital_assessment.assessed_on IS 'Day of the assessment (+08:00)';
COMMENT ON COLUMN digital_assessment.edition IS 'Edition of the indicators';
COMMENT ON COLUMN digital_assessment.method IS 'Self-assessment, or determined on site';
COMMENT ON COLUMN digital_assessment.assessor IS 'Who determined it on site';
COMMENT ON COLUMN digital_assessment.q1_networks IS 'Q1 networks, several; [] = 无 none';
COMMENT ON COLUMN digital_assessment.equipment_total IS 'Form to Q2, Q3: production equipment, pieces';
COMMENT ON COLUMN digital_assessment.equipment_digital IS 'Form to Q2: of it digital, pieces';
COMMENT ON COLUMN digital_assessment.q2_digital_equipment IS 'Q2 digital / total equipment, percent';
COMMENT ON COLUMN digital_assessment.equipment_networked IS 'Form to Q3: of it networked, pieces';
COMMENT ON COLUMN digital_assessment.q3_networked_equipment IS 'Q3 networked / total equipment, percent';
COMMENT ON COLUMN digital_assessment.q4_auto_collected IS 'Q4 links whose data are collected automatically; [] = 无 none';
COMMENT ON COLUMN digital_assessment.q5_systems IS 'Q5 businesses managed by information systems';
COMMENT ON COLUMN digital_assessment.q6_network_security IS 'Q6 measures, lettered as in the form; [] = 无 none';
COMMENT ON COLUMN digital_assessment.q7_data_security IS 'Q7 measures, lettered as in the form; [] = 无 none';
COMMENT ON COLUMN digital_assessment.q8_planning IS 'Q8 awareness and execution, the step reached: 0 to 5';
COMMENT ON COLUMN digital_assessment.q9_management IS 'Q9 rules, lettered as in the form; [] = 无 none';
COMMENT ON COLUMN digital_assessment.q10_talent IS 'Q10 measures, lettered as in the form; [] = 无 none';
COMMENT ON COLUMN digital_assessment.q11_investment IS 'Q11 share of turnover, percent';
COMMENT ON COLUMN digital_assessment.q12_energy IS 'Q12 energy per 100 yuan of revenue';
COMMENT ON COLUMN digital_assessment.q13_quality IS 'Q13 mean monthly pass rate';
COMMENT ON COLUMN digital_assessment.q14_market IS 'Q14 revenue per employee';
COMMENT ON COLUMN digital_assessment.q15_value IS 'Q15 cost per 100 yuan of revenue';
COMMENT ON COLUMN digital_assessment.energy_tce IS 'Form to Q12: energy last year, tce';
COMMENT ON COLUMN digital_assessment.energy_before_tce IS 'Form to Q12: energy the year before, tce';
COMMENT ON COLUMN digital_assessment.employees IS 'Form to Q14: employees last year';
COMMENT ON COLUMN digital_assessment.employees_before IS 'Form to Q14: employees the year before';
COMMENT ON COLUMN digital_assessment.revenue_wan IS 'Form to Q14: revenue last year, 10,000 yuan';
COMMENT ON COLUMN digital_assessment.revenue_before_wan IS 'Form to Q14: revenue the year before, 10,000 yuan';
COMMENT ON COLUMN digital_assessment.cost_wan IS 'Form to Q15: cost last year, 10,000 yuan';
COMMENT ON COLUMN digital_assessment.cost_before_wan IS 'Form to Q15: cost the year before, 10,000 yuan';
COMMENT ON COLUMN digital_assessment.scene_product_design IS 'Scene product design ★, level 0 to 4';
COMMENT ON COLUMN digital_assessment.scene_process_design IS 'Scene process design, level 0 to 4';
COMMENT ON COLUMN digital_assessment.scene_marketing IS 'Scene marketing ★, level 0 to 4';
COMMENT ON COLUMN digital_assessment.scene_after_sales IS 'Scene after-sales service, level 0 to 4';
COMMENT ON COLUMN digital_assessment.scene_scheduling IS 'Scene scheduling, level 0 to 4';
COMMENT ON COLUMN digital_assessment.scene_production_control IS 'Scene production control ★, level 0 to 4';
COMMENT ON COLUMN digital_assessment.scene_quality IS 'Scene quality management ★, level 0 to 4';
COMMENT ON COLUMN digital_assessment.scene_equipment IS 'Scene equipment management ★, level 0 to 4';
COMMENT ON COLUMN digital_assessment.scene_safety IS 'Scene safety ★, level 0 to 4';
COMMENT ON COLUMN digital_assessment.scene_energy IS 'Scene energy management ★, level 0 to 4';
COMMENT ON COLUMN digital_assessment.scene_procurement IS 'Scene procurement ★, level 0 to 4';
COMMENT ON COLUMN digital_assessment.scene_logistics IS 'Scene warehousing, logistics ★, level 0 to 4';
COMMENT ON COLUMN digital_assessment.scene_finance IS 'Scene finance, level 0 to 4';
COMMENT ON COLUMN digital_assessment.scene_human_resources IS 'Scene human resources, level 0 to 4';
COMMENT ON COLUMN digital_assessment.scene_office IS 'Scene office collaboration, level 0 to 4';
COMMENT ON COLUMN digital_assessment.scene_decision IS 'Scene decision support, level 0 to 4';

CREATE TABLE cmmm_assessment (
    unit_id        integer NOT NULL REFERENCES lead_unit (unit_id),
    enterprise_id  integer NOT NULL,
    assessed_on    date NOT NULL,
    score          double precision NOT NULL,
    level          text CHECK (level IN ('1', '2', '3', '4', '5')),
    method         text NOT NULL CHECK (method IN ('self', 'on_site')),
    certificate_no text,
    PRIMARY KEY (enterprise_id, assessed_on),
    FOREIGN KEY (unit_id, enterprise_id) REFERENCES enterprise (unit_id, enterprise_id),
    CHECK (score BETWEEN 0 AND 5)
);
COMMENT ON TABLE cmmm_assessment IS '智能制造能力成熟度评估: Manufacturing-capability maturity of an enterprise (CMMM, GB/T 39116-2020, 39117-2020)';
COMMENT ON COLUMN cmmm_assessment.unit_id IS 'lead unit that reported it';
COMMENT ON COLUMN cmmm_assessment.enterprise_id IS 'Enterprise that was assessed';
COMMENT ON COLUMN cmmm_assessment.assessed_on IS 'Day of the assessment (+08:00)';
COMMENT ON COLUMN cmmm_assessment.score IS 'Total score, 0 to 5';
COMMENT ON COLUMN cmmm_assessment.level IS 'Level 1 to 5; none = below level 1';
COMMENT ON COLUMN cmmm_assessment.method IS 'Self-assessment, or certified';
COMMENT ON COLUMN cmmm_assessment.certificate_no IS 'Number of the certificate';

CREATE TABLE task_target (
    unit_id     integer NOT NULL REFERENCES lead_unit (unit_id),
    indicator   text NOT NULL,
    baseline    double precision NOT NULL,
    baseline_on date NOT NULL,
    target      double precision NOT NULL,
    target_on   date NOT NULL,
    weight      double precision,
    PRIMARY KEY (unit_id, indicator),
    FOREIGN KEY (indicator) REFERENCES indicator_code (code),
    CHECK (target_on > baseline_on),
    CHECK (target <> baseline)
);
COMMENT ON TABLE task_target IS '任务书指标: Target of the task book (任务书) for an indicator';
COMMENT ON COLUMN task_target.unit_id IS 'lead unit that reported it';
COMMENT ON COLUMN task_target.indicator IS 'Code of the catalogue (docs/indicators.md)';
COMMENT ON COLUMN task_target.baseline IS 'Value at the start, in the catalogue''s unit; ratios as fractions of 1';
COMMENT ON COLUMN task_target.baseline_on IS 'Day of the baseline (+08:00)';
COMMENT ON COLUMN task_target.target IS 'Value to be reached, in the catalogue''s unit; ratios as fractions of 1';
COMMENT ON COLUMN task_target.target_on IS 'Day by which it is to be reached (+08:00)';
COMMENT ON COLUMN task_target.weight IS 'Its weight within the task book, a fraction of 1';

CREATE TABLE task_curve_point (
    unit_id    integer NOT NULL REFERENCES lead_unit (unit_id),
    indicator  text NOT NULL,
    planned_on date NOT NULL,
    value      double precision NOT NULL,
    PRIMARY KEY (unit_id, indicator, planned_on),
    FOREIGN KEY (unit_id, indicator) REFERENCES task_target (unit_id, indicator)
);
COMMENT ON TABLE task_curve_point IS '任务书计划进度: Point of the planned curve between baseline and target of a task-book indicator';
COMMENT ON COLUMN task_curve_point.unit_id IS 'lead unit that reported it';
COMMENT ON COLUMN task_curve_point.indicator IS 'A task_target reported before';
COMMENT ON COLUMN task_curve_point.planned_on IS 'Day (+08:00)';
COMMENT ON COLUMN task_curve_point.value IS 'Value planned for that day, in the catalogue''s unit; ratios as fractions of 1';

CREATE TABLE investment_plan (
    unit_id     integer NOT NULL REFERENCES lead_unit (unit_id),
    category    text NOT NULL CHECK (category IN ('equipment', 'software', 'research', 'service')),
    by_on       date NOT NULL,
    planned_wan numeric(18,6) NOT NULL,
    PRIMARY KEY (unit_id, category, by_on)
);
COMMENT ON TABLE investment_plan IS '投资计划: Planned investment by kind of cost, cumulative to a day; the last day''s sum is the planned total';
COMMENT ON COLUMN investment_plan.unit_id IS 'lead unit that reported it';
COMMENT ON COLUMN investment_plan.category IS 'Kind of cost';
COMMENT ON COLUMN investment_plan.by_on IS 'Until the end of this day (+08:00)';
COMMENT ON COLUMN investment_plan.planned_wan IS 'Cumulative planned investment, 10,000 yuan';

CREATE TABLE investment_voucher (
    unit_id       integer NOT NULL REFERENCES lead_unit (unit_id),
    voucher_no    text NOT NULL,
    category      text NOT NULL CHECK (category IN ('equipment', 'software', 'research', 'service')),
    amount_yuan   numeric(18,2) NOT NULL,
    paid_on       date NOT NULL,
    enterprise_id integer,
    supplier      text NOT NULL,
    invoice_no    text,
    subject       text NOT NULL,
    PRIMARY KEY (unit_id, voucher_no),
    FOREIGN KEY (unit_id, enterprise_id) REFERENCES enterprise (unit_id, enterprise_id),
    CHECK (amount_yuan > 0)
);
CREATE INDEX investment_voucher_enterprise ON investment_voucher (enterprise_id);
COMMENT ON TABLE investment_voucher IS '投资凭证: Voucher of an investment of the pilot';
COMMENT ON COLUMN investment_voucher.unit_id IS 'lead unit that reported it';
COMMENT ON COLUMN investment_voucher.voucher_no IS 'Number of the voucher';
COMMENT ON COLUMN investment_voucher.category IS 'Kind of cost';
COMMENT ON COLUMN investment_voucher.amount_yuan IS 'Amount without tax that can be deducted, yuan';
COMMENT ON COLUMN investment_voucher.paid_on IS 'Day of payment (+08:00)';
COMMENT ON COLUMN investment_voucher.enterprise_id IS 'Enterprise that invested; none = the lead unit';
COMMENT ON COLUMN investment_voucher.supplier IS 'Who was paid';
COMMENT ON COLUMN investment_voucher.invoice_no IS 'Number of the invoice';
COMMENT ON COLUMN investment_voucher.subject IS 'What was bought';

CREATE TABLE special_account_entry (
    unit_id        integer NOT NULL REFERENCES lead_unit (unit_id),
    entry_no       text NOT NULL,
    booked_on      date NOT NULL,
    direction      text NOT NULL CHECK (direction IN ('received', 'paid')),
    amount_yuan    numeric(18,2) NOT NULL,
    category       text CHECK (category IN ('equipment', 'software', 'research', 'service', 'training', 'labour', 'other')),
    budget_line    text NOT NULL,
    voucher_no     text,
    bank_reference text,
    bank_matched   boolean NOT NULL,
    counterparty   text NOT NULL,
    subject        text NOT NULL,
    PRIMARY KEY (unit_id, entry_no),
    CHECK (amount_yuan > 0),
    CHECK ((direction = 'paid') = (category IS NOT NULL))
);
COMMENT ON TABLE special_account_entry IS '专账明细: Entry of the special account (专账) of fiscal funds';
COMMENT ON COLUMN special_account_entry.unit_id IS 'lead unit that reported it';
COMMENT ON COLUMN special_account_entry.entry_no IS 'Number of the entry';
COMMENT ON COLUMN special_account_entry.booked_on IS 'Day it was booked (+08:00)';
COMMENT ON COLUMN special_account_entry.direction IS 'received from the budget, or paid out';
COMMENT ON COLUMN special_account_entry.amount_yuan IS 'Amount, yuan';
COMMENT ON COLUMN special_account_entry.category IS 'Kind of cost; of what is paid';
COMMENT ON COLUMN special_account_entry.budget_line IS 'Budget line of the approved budget';
COMMENT ON COLUMN special_account_entry.voucher_no IS 'Voucher; none = there is none';
COMMENT ON COLUMN special_account_entry.bank_reference IS 'Reference in the bank statement; none = not there';
COMMENT ON COLUMN special_account_entry.bank_matched IS 'Whether amount and day agree with the bank statement';
COMMENT ON COLUMN special_account_entry.counterparty IS 'Who paid or was paid';
COMMENT ON COLUMN special_account_entry.subject IS 'What it is for';

CREATE TABLE training_session (
    unit_id     integer NOT NULL REFERENCES lead_unit (unit_id),
    code        text NOT NULL,
    subject     text NOT NULL,
    held_on     date NOT NULL,
    ended_on    date NOT NULL,
    hours       double precision NOT NULL,
    attendees   bigint NOT NULL,
    qualified   bigint NOT NULL,
    certified   bigint NOT NULL,
    enterprises bigint NOT NULL,
    PRIMARY KEY (unit_id, code),
    CHECK (ended_on >= held_on),
    CHECK (qualified <= attendees),
    CHECK (certified <= qualified)
);
COMMENT ON TABLE training_session IS '人才培训: Training session and how many people took part';
COMMENT ON COLUMN training_session.unit_id IS 'lead unit that reported it';
COMMENT ON COLUMN training_session.code IS 'Your own code of the session';
COMMENT ON COLUMN training_session.subject IS 'Subject';
COMMENT ON COLUMN training_session.held_on IS 'First day (+08:00)';
COMMENT ON COLUMN training_session.ended_on IS 'Last day (+08:00)';
COMMENT ON COLUMN training_session.hours IS 'Hours of training';
COMMENT ON COLUMN training_session.attendees IS 'People who took part';
COMMENT ON COLUMN training_session.qualified IS 'Of them with the required hours';
COMMENT ON COLUMN training_session.certified IS 'Of them certified for the first time';
COMMENT ON COLUMN training_session.enterprises IS 'Enterprises they came from';

CREATE TABLE partner (
    unit_id         integer NOT NULL REFERENCES lead_unit (unit_id),
    uscc            text NOT NULL CHECK (uscc_is_valid(uscc)),
    name            text NOT NULL,
    kind            text NOT NULL CHECK (kind IN ('base', 'specialist', 'chain', 'finance', 'institute')),
    signed_on       date NOT NULL,
    valid_to        date NOT NULL,
    last_service_on date,
    agreement_no    text,
    PRIMARY KEY (unit_id, uscc, signed_on),
    CHECK (valid_to > signed_on)
);
COMMENT ON TABLE partner IS '生态合作伙伴: Ecosystem partner with a signed agreement';
COMMENT ON COLUMN partner.unit_id IS 'lead unit that reported it';
COMMENT ON COLUMN partner.uscc IS 'Partner';
COMMENT ON COLUMN partner.name IS 'Name as registered';
COMMENT ON COLUMN partner.kind IS 'Kind of partner';
COMMENT ON COLUMN partner.signed_on IS 'Day of signature (+08:00)';
COMMENT ON COLUMN partner.valid_to IS 'Day from which it holds no more (+08:00)';
COMMENT ON COLUMN partner.last_service_on IS 'Day of the last service it delivered (+08:00)';
COMMENT ON COLUMN partner.agreement_no IS 'Number of the agreement';

CREATE TABLE benchmark_case (
    unit_id       integer NOT NULL REFERENCES lead_unit (unit_id),
    code          text NOT NULL,
    title         text NOT NULL,
    enterprise_id integer,
    submitted_on  date NOT NULL,
    accepted_on   date,
    accepted_by   text,
    document      text,
    PRIMARY KEY (unit_id, code),
    FOREIGN KEY (unit_id, enterprise_id) REFERENCES enterprise (unit_id, enterprise_id),
    CHECK ((accepted_on IS NULL) = (accepted_by IS NULL))
);
CREATE INDEX benchmark_case_enterprise ON benchmark_case (enterprise_id);
COMMENT ON TABLE benchmark_case IS '转型标杆案例: Benchmark case of a transformation; it counts once the think tank accepted it';
COMMENT ON COLUMN benchmark_case.unit_id IS 'lead unit that reported it';
COMMENT ON COLUMN benchmark_case.code IS 'Your own code of the case';
COMMENT ON COLUMN benchmark_case.title IS 'Title';
COMMENT ON COLUMN benchmark_case.enterprise_id IS 'Enterprise it is about, if one';
COMMENT ON COLUMN benchmark_case.submitted_on IS 'Day it was submitted (+08:00)';
COMMENT ON COLUMN benchmark_case.accepted_on IS 'Day the think tank accepted it (+08:00); none = not yet';
COMMENT ON COLUMN benchmark_case.accepted_by IS 'Think tank that accepted it';
COMMENT ON COLUMN benchmark_case.document IS 'Name or address of the document';

