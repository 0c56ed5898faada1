"""Why something was refused: a closed list, each with its text and how to mend it, in both languages.

Texts are str.format templates over the refusal's parameters. A code, once released, keeps its meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason for refusal: what is wrong, and what the sender can do."""

    zh: str
    en: str
    hint_zh: str
    hint_en: str

    def message(self, parameters: Mapping[str, str]) -> dict[str, str]:
        """What is wrong, {zh, en}."""
        return {"zh": self.zh.format_map(_Given(parameters)), "en": self.en.format_map(_Given(parameters))}

    def hint(self, parameters: Mapping[str, str]) -> dict[str, str]:
        """How to mend it, {zh, en}."""
        given = _Given(parameters)
        return {"zh": self.hint_zh.format_map(given), "en": self.hint_en.format_map(given)}


class _Given(dict[str, str]):
    def __missing__(self, key: str) -> str:
        # Most parameters are the same in both languages.
        return self.get(key.removesuffix("_zh"), "?") if key.endswith("_zh") else "?"


REASONS: Mapping[str, Reason] = MappingProxyType(
    {
        "malformed_json": Reason(
            "不是合法的 JSON:第 {line} 行第 {column} 列,{detail_zh}",
            "not valid JSON: line {line}, column {column}: {detail}",
            "请按该位置检查引号、逗号和编码(UTF-8)后重发;JSON 没有 NaN 和 Infinity,无值的行请不要发送;一行一条的请用 application/x-ndjson",
            "Check quotes, commas and encoding (UTF-8) at that place and send again; JSON has no NaN and no Infinity: leave such rows out; "
            "one reading a line is application/x-ndjson",
        ),
        "malformed_arrow": Reason(
            "不是合法的 Arrow IPC 流:{detail_zh}",
            "not a valid Arrow IPC stream: {detail}",
            "请用 Arrow 的流格式(IPC stream)写出后重发,不要用文件格式(Feather)",
            "Write it in Arrow's streaming format (IPC stream), not as a file (Feather), and send it again",
        ),
        "compressed_arrow": Reason(
            "Arrow 流内的缓冲区被压缩",
            "the buffers within the Arrow stream are compressed",
            "请关闭 Arrow 的 LZ4/ZSTD 压缩;需要压缩时用 Content-Encoding: gzip 或 zstd",
            "Switch off Arrow's LZ4/ZSTD compression; to compress, use Content-Encoding: gzip or zstd",
        ),
        "malformed_line": Reason(
            "第 {line} 行不是合法的行协议:第 {column} 列,{detail_zh}",
            "line {line} is not valid line protocol: column {column}: {detail}",
            "请按 InfluxDB 行协议更正该行:逗号、空格、等号前加反斜杠,文本加双引号",
            "Correct the line as InfluxDB's line protocol says: a backslash before comma, blank and =, text in quotation marks",
        ),
        "missing_timestamp": Reason(
            "没有时间戳,而时间必须是数据源的时钟",
            "there is no timestamp, and the time must be the source's clock",
            "请由数据源附上时间戳,单位与 precision 一致(Telegraf 默认附带;influxdb-client(Python)用 .time(datetime.now(UTC));自己拼写行时在行尾加上,如 Date.now() 配 precision=ms)",
            "Let the source add the timestamp, in the unit of `precision` (Telegraf does by itself; influxdb-client in Python: "
            ".time(datetime.now(UTC)); at the end of a line of your own, as Date.now() with precision=ms)",
        ),
        "missing_equipment": Reason(
            "{measurement} 没有 equipment_tag 所指的标签",
            "{measurement} has not the tag that equipment_tag names",
            "请给数据点加上该标签,或去掉参数 equipment_tag",
            "Add that tag to the point, or leave the parameter equipment_tag out",
        ),
        "bad_gzip": Reason(
            "gzip 内容损坏:{detail_zh}",
            "the gzip content is broken: {detail}",
            "请检查压缩后重发",
            "Check the compression and send again",
        ),
        "bad_zstd": Reason(
            "zstd 内容损坏:{detail_zh}",
            "the zstd content is broken: {detail}",
            "请检查压缩后重发;窗口不得超过 8 MiB",
            "Check the compression and send again; windows are at most 8 MiB",
        ),
        "wrong_shape": Reason(
            "结构不符:{place} {detail_zh}",
            "wrong structure: {place} {detail}",
            "请按接口文档的形式组织数据(docs/interface)",
            "Arrange it as the interface document shows (docs/interface)",
        ),
        "missing_field": Reason(
            "缺少字段 {field}", "field {field} is missing", "请补上 {field}", "Add {field}"
        ),
        "unknown_field": Reason(
            "没有字段 {field}",
            "there is no field {field}",
            "请核对字段名:{known}",
            "Check the field's name: {known}",
        ),
        "wrong_type": Reason(
            "{field} 应为{expected_zh},收到 {got}",
            "{field} must be {expected}, got {got}",
            "请按标签登记的数据类型发送,不要把数字写成字符串",
            "Send the data type the tag is registered with; do not send numbers as strings",
        ),
        "missing_value": Reason(
            "没有值", "there is no value", "无数据时不要发送该行", "Leave the row out when there is no value"
        ),
        "unsupported_value": Reason(
            "不支持的值类型:{got}",
            "unsupported kind of value: {got}",
            "数组和结构请拆成单个标签",
            "Map arrays and structures to single tags",
        ),
        "bad_status_no_value": Reason(
            "状态码 {status} 且没有值",
            "status {status} and no value",
            "请检查设备与其 OPC UA 服务器之间的连接",
            "Check the connection between the device and its OPC UA server",
        ),
        "unknown_tag": Reason(
            "标签 {tag} 未登记",
            "tag {tag} is not registered",
            "请先通过数据集 tag 登记该标签,然后重放隔离区中的记录,或重发",
            "Register it through the dataset tag first, then replay what is in quarantine, or send it again",
        ),
        "unknown_name": Reason(
            "标签 {tag} 没有名为 {got} 的取值",
            "{got} is not a name of tag {tag}",
            "可用取值:{known}",
            "Names are: {known}",
        ),
        "timestamp_malformed": Reason(
            "时间 {got} 不是 RFC 3339 格式",
            "time {got} is not RFC 3339",
            "示例:2026-11-23T08:00:00.250+08:00",
            "Example: 2026-11-23T08:00:00.250+08:00",
        ),
        "timestamp_without_zone": Reason(
            "时间 {got} 没有时区",
            "time {got} has no zone",
            "请加上 Z 或 +08:00",
            "Add Z or +08:00",
        ),
        "timestamp_too_old": Reason(
            "时间 {ts} 早于 {limit}",
            "time {ts} is before {limit}",
            "请检查设备时钟和时间单位(列式 JSON 为微秒,行协议由 precision 说明);更早的数据请联系平台",
            "Check the device's clock, and the unit of times: microseconds in columns, `precision` in line protocol; for older data ask the platform",
        ),
        "clock_ahead": Reason(
            "时间 {ts} 比平台时钟超前 {ahead_s} 秒(允许 {limit_s} 秒)",
            "time {ts} is {ahead_s} s ahead of the platform's clock ({limit_s} s are allowed)",
            "请给设备或网关对时(NTP);若恰好超前约 8 小时,是北京时间标成了 Z,请用 +08:00;若超前很多年,是时间单位不符(列式为微秒,行协议与 Telegraf JSON 由 precision 说明)",
            "Synchronise the clock of the device or gateway (NTP); about 8 hours ahead is +08:00 that was written as Z; many years ahead is "
            "another unit of time (microseconds in columns, `precision` in line protocol and Telegraf's JSON)",
        ),
        "period_closed": Reason(
            "时间 {ts} 早于 {closed_until},该时段已结账",
            "time {ts} is before {closed_until}: that period is closed",
            "请联系平台重新开放该时段,然后重放隔离区中的数据",
            "Ask the platform to open the period again; then replay what is in the quarantine",
        ),
        "out_of_range": Reason(
            "值 {got} 超出物理范围 [{low}, {high}] {unit}",
            "value {got} is outside the physical range [{low}, {high}] {unit}",
            "请检查量程和单位换算,或更正标签的登记范围",
            "Check scale and unit, or correct the tag's registered range",
        ),
        "text_too_long": Reason(
            "文本超过 {limit} 个字符",
            "the text is longer than {limit} characters",
            "请只发送状态、报警或编号,不要发送文档",
            "Send states, alarms or numbers, not documents",
        ),
        "nul_character": Reason(
            "文本含有 NUL 字符(U+0000),数据库无法保存",
            "the text holds a NUL character (U+0000), which cannot be stored",
            "请去掉该字符后重发",
            "Send it again without that character",
        ),
        "not_finite": Reason(
            "值不是有限的数",
            "the value is not a finite number",
            "请检查采集程序",
            "Check the acquisition program",
        ),
        "bad_quality": Reason(
            "质量标记 {got} 无法识别",
            "quality {got} is not known",
            "用 OPC UA 状态码、good/uncertain/bad 或 HJ 212 标记",
            "Use an OPC UA StatusCode, good/uncertain/bad, or an HJ 212 flag",
        ),
        "unstorable": Reason(
            "数据库不接受这批数据:{detail}",
            "the database does not take this: {detail}",
            "请联系平台运维,修复后重发",
            "Ask the platform's operator, and send it again once that is mended",
        ),
        "unknown_unit": Reason(
            "牵头单位 {unit} 未登记",
            "lead unit {unit} is not registered",
            "请核对连接器配置中的单位代码",
            "Check the unit code in the connector's configuration",
        ),
        "unknown_topic": Reason(
            "主题 {topic} 不在接口约定之内",
            "topic {topic} is none of the interface's",
            "请发布到 qunce/v1/<单位代码>/measurements 或 …/measurements/<设备编号>",
            "Publish to qunce/v1/<unit code>/measurements or …/measurements/<equipment code>",
        ),
        "unknown_dataset": Reason(
            "没有数据集 {dataset}",
            "there is no dataset {dataset}",
            "可用数据集:{known}",
            "Datasets are: {known}",
        ),
        "invalid_field": Reason(
            "{field}:{detail_zh}",
            "{field}: {detail}",
            "请按该规则更正此字段后重发;各字段的定义见数据集文档(docs/datasets)",
            "Correct the field by that rule and send it again; the datasets' documentation (docs/datasets) describes every field",
        ),
        "unknown_reference": Reason(
            "{field} 指向未登记的 {got}",
            "{field} names {got}, which is not registered",
            "请先登记被引用的对象;行政区划、指标等平台的代码见 GET /api/v1/codes",
            "Register what it refers to first; codes of the platform's own, as regions, are listed at GET /api/v1/codes",
        ),
        "not_authorised": Reason(
            "企业 {enterprise_uscc} 在 {disbursed_on} 没有授权银行 {bank_uscc}",
            "enterprise {enterprise_uscc} had not authorised bank {bank_uscc} on {disbursed_on}",
            "请先通过数据集 credit_authorisation 报送当日有效的企业征信授权,再报送融资",
            "Report the enterprise's authorisation that holds on that day (dataset credit_authorisation) first",
        ),
        "correction_needs_reason": Reason(
            "{key} 已经报送过,内容不同;更正或撤回须说明原因",
            "{key} was reported before and differs: a correction or withdrawal needs a reason",
            "请附上更正原因后重发:JSON 在请求体中加 reason(可加凭证号 voucher),文件在页面上填更正理由或用 --reason",
            "Send it again with a reason: JSON beside records (and voucher if there is one), a file on the page or with --reason",
        ),
        "correction_window_closed": Reason(
            "{key} 于 {first} 首次报送,已超过 {days} 天的更正期",
            "{key} was first reported at {first}: the {days} days for corrections are over",
            "请保留凭证并联系平台;今后请在更正期内更正",
            "Keep the voucher and ask the platform; correct within that time in future",
        ),
        "nothing_to_withdraw": Reason(
            "没有报送过 {key},无从撤回",
            "{key} was never reported: there is nothing to withdraw",
            "请核对主键各字段",
            "Check the fields of the natural key",
        ),
        "not_withdrawable": Reason(
            "{key} 不能撤回:已入库的数据以它为准",
            "{key} cannot be withdrawn: what is stored hangs on it",
            "不再使用时停止上报即可;间隔变化请以新的 valid_from 报送,其他项照抄",
            "Stop sending it when it is not used any more; report a change of interval with a new valid_from, and all else as it was",
        ),
        "still_referred_to": Reason(
            "仍被 {by} 的记录引用,不能撤回",
            "records of {by} still refer to it: it cannot be withdrawn",
            "请先撤回或更正引用它的记录",
            "Withdraw or correct the records that refer to it first",
        ),
        "type_change": Reason(
            "标签 {tag} 的数据类型不可由 {before} 改为 {got}",
            "tag {tag} cannot change its data type from {before} to {got}",
            "请用新的标签名登记",
            "Register it under a new tag name",
        ),
        "differs_from_tag": Reason(
            "标签的 {field} 登记为 {before},而 valid_from 为 {valid_from} 的记录写的是 {got}:新的 valid_from 只改变上报间隔",
            "{field} of the tag is registered as {before}, and the record of {valid_from} says {got}: "
            "another valid_from changes the reporting interval only",
            "请照抄该标签的其他项;要更改它们,请更正 valid_from 为 {latest} 的记录",
            "Repeat what is registered; to change it, correct the record whose valid_from is {latest}",
        ),
        "too_many_rows": Reason(
            "一次最多 {limit} 行,收到 {got} 行",
            "at most {limit} rows at once, got {got}",
            "请分批发送",
            "Send it in parts",
        ),
        "malformed_file": Reason(
            "文件无法读取:{detail_zh}",
            "the file cannot be read: {detail}",
            "请另存为 .xlsx,或 UTF-8、GBK 编码的 CSV 后重新上传",
            "Save it as .xlsx, or as CSV in UTF-8 or GBK, and upload it again",
        ),
        "file_too_large": Reason(
            "文件过大:{got},上限 {limit}",
            "the file is too large: {got}, the limit is {limit}",
            "请拆成几个文件上传",
            "Split it into several files",
        ),
        "no_heading": Reason(
            "前 30 行中没有找到本数据集的表头",
            "no heading of this dataset within the first 30 rows",
            "请使用模板,或在首行写上列名;必填:{known}",
            "Use the template, or name the columns in the first row; mandatory: {known}",
        ),
        "missing_column": Reason(
            "第 {row} 行的表头缺少必填列:{missing}",
            "the heading in row {row} lacks mandatory columns: {missing}",
            "请补上这些列",
            "Add these columns",
        ),
        "unknown_column": Reason(
            "单元格 {cell} 的表头「{got}」不是本数据集的列",
            "the heading “{got}” in cell {cell} is no column of this dataset",
            "是否为「{meant}」?请更正,或删除该列",
            "Is “{meant}” meant? Correct it, or delete the column",
        ),
        "repeated_column": Reason(
            "单元格 {cell} 与 {other} 的表头都是「{got}」",
            "the headings in cells {cell} and {other} are both “{got}”",
            "请只保留一列",
            "Keep one of the columns",
        ),
        "cell_type": Reason(
            "{field} 应为{expected},收到「{got}」",
            "{field} must be {expected}, got “{got}”",
            "请按模板中该列的说明填写",
            "Fill it in as the template says of this column",
        ),
        "cell_error": Reason(
            "{field} 是公式错误 {got}",
            "{field} holds the formula error {got}",
            "请修正公式,或改填数值",
            "Mend the formula, or enter the value",
        ),
        "formula_without_value": Reason(
            "{field} 的公式 {got} 没有保存计算结果",
            "{field} holds the formula {got}, and the file was saved without its value",
            "请用 Excel 或 WPS 打开并保存后重新上传,或改填数值",
            "Open the file in a spreadsheet program, save it and upload it again, or enter the value",
        ),
        "merged_cell": Reason(
            "{field} 位于合并单元格内,无法判断属于哪一行",
            "{field} lies in merged cells: it is not clear whose value it is",
            "请取消合并,并在每一行填写",
            "Unmerge the cells and fill in every row",
        ),
        "digits_lost": Reason(
            "{field} 的 {got} 超过 15 位数字,电子表格已丢失末位",
            "{field}: {got} has more than 15 digits, of which a spreadsheet has lost the last ones",
            "请把该列设为文本格式后重新填写",
            "Format the column as text and enter it again",
        ),
        "unknown_choice": Reason(
            "{field} 没有选项「{got}」",
            "{field} has no value “{got}”",
            "可选:{known}",
            "Choose one of: {known}",
        ),
        "repeated_key": Reason(
            "与第 {row} 行的主键相同({key})而内容不同",
            "the same key ({key}) as row {row} with other content",
            "请删除其中一行",
            "Delete one of the rows",
        ),
        "body_too_large": Reason(
            "请求体超过 {limit_bytes} 字节",
            "the body is larger than {limit_bytes} bytes",
            "请分批发送,或使用列式格式与 gzip",
            "Send it in parts, or use columns and gzip",
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What does not refuse a reading but marks its quality: an OPC UA status (upper 16 bits), and why."""

    quality: int
    status: str
    text: Reason


FINDINGS: Mapping[str, Finding] = MappingProxyType(
    {
        "frozen_value": Finding(
            0x4090,
            "UncertainLastUsableValue",
            Reason(
                "值超过 frozen_after_s 秒没有变化",
                "the value has not changed for longer than frozen_after_s",
                "请检查传感器和采集程序;确实会长时间不变的标签不要登记 frozen_after_s",
                "Check sensor and acquisition; do not register frozen_after_s for a tag that may well stand still",
            ),
        ),
        "rate_of_change": Finding(
            0x4093,
            "UncertainSensorNotAccurate",
            Reason(
                "值的变化快于 rate_max_per_s",
                "the value changes faster than rate_max_per_s",
                "请检查传感器和接线,或更正标签登记的 rate_max_per_s",
                "Check sensor and wiring, or correct the tag's rate_max_per_s",
            ),
        ),
    }
)
"""Findings apply to tags that register a limit for them, and only to readings of good quality."""


def reason_of(code: str) -> Reason:
    """The reason of a code, also of one that is no longer in the list: an entry is kept for longer than a release."""
    return REASONS.get(code) or Reason(code, code, "请联系平台", "Ask the platform")
