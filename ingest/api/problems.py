"""Errors as RFC 9457 problem details, with a code, both languages, and how to mend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import Formatter
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from ingest.batch import Refusal
from ingest.breaches import field_of, told
from store.reasons import REASONS, Reason

ERRORS_SHOWN = 100
INFLUX = "/api/v2/"
"""Below it are clients of InfluxDB 2, who read a problem in their own way."""
INFLUX_1, INFLUX_1_QUERY = "/write", "/query"
"""Where clients of InfluxDB 1 write, and ask. They have another way."""

_HTTP: Mapping[str, tuple[int, str, Reason]] = {
    "no_key": (401, "No API key", Reason(
        "请求没有携带 API 密钥", "the request carries no API key",
        "请在请求头加 Authorization: Bearer <密钥>", "Add the header Authorization: Bearer <key>")),
    "wrong_key": (401, "Wrong API key", Reason(
        "API 密钥无效或已吊销", "the API key is not valid, or was revoked",
        "请核对密钥,或向平台重新申请", "Check the key, or ask the platform for a new one")),
    "no_session": (401, "Session ended", Reason(
        "会话无效或已结束", "there is no such session, or it has ended", "请重新登录", "Log in again")),
    "wrong_login": (401, "Wrong login", Reason(
        "用户名或密码不正确", "user name or password is wrong",
        "请核对后再试;忘记密码请联系平台运维", "Check them and try again; an operator can set a new password")),
    "bad_signature": (401, "Bad signature", Reason(
        "请求签名不成立:{detail}", "the request's signature does not hold: {detail}",
        "请按 docs/interface.md 的「签名」重新计算", "Compute it as docs/interface.md says under Signed requests")),
    "signature_expired": (401, "Signature expired", Reason(
        "签名时间与平台相差 {seconds} 秒,允许 {window} 秒", "the signed time is {seconds} s off the platform's, {window} s are allowed",
        "请校准时钟后重新签名", "Set your clock right and sign again")),
    "nonce_used": (401, "Nonce used", Reason(
        "该随机串已经用过", "this nonce was used before", "每个请求请用新的随机串重新签名", "Sign each request with a new nonce")),
    "forbidden": (403, "Not permitted", Reason(
        "凭证没有 {permission} 权限", "these credentials do not carry {permission}",
        "请使用具备该权限的密钥或账号", "Use a key or an account that has it")),
    "no_unit": (403, "For lead units only", Reason(
        "该操作只供牵头单位使用", "only a lead unit can do this",
        "请使用牵头单位的密钥或账号", "Use a lead unit's key or account")),
    "cross_site": (403, "From another site", Reason(
        "请求不是由本平台的页面发出的", "the request was not made by a page of this platform",
        "请在平台页面上操作,或改用 API 密钥", "Do it on the platform's pages, or use an API key")),
    "not_found": (404, "Not found", Reason(
        "{path} 没有内容,或不在您的权限之内", "there is nothing at {path}, or it is not yours to see",
        "请核对地址与编号(接口清单见 /api/openapi.json);提交的结论保留一天,带 Idempotency-Key 的七天,列式与大批量数据须带",
        "Check the address and the number (the interface is listed at /api/openapi.json); verdicts are kept for a day, with an Idempotency-Key for seven, those of columns and bulk only with one")),
    "no_queries": (404, "No queries", Reason(
        "这里没有 InfluxQL 查询,也无需建库", "there is no InfluxQL here, and no database to be created",
        "写入请用 POST /api/v2/write 或 /write;读取见 docs/interface.md", "Write to POST /api/v2/write or /write; how to read is in docs/interface.md")),
    "method_not_allowed": (405, "Method not allowed", Reason(
        "{path} 不支持 {method}", "{path} does not take {method}",
        "接口清单见 /api/openapi.json", "The interface is listed at /api/openapi.json")),
    "idempotency_key_reused": (422, "Idempotency-Key reused", Reason(
        "该幂等键已用于另一请求体", "this idempotency key came with another body before",
        "重试请原样重发;新的内容请用新的键", "Repeat a request as it was; use a new key for something new")),
    "key_told": (409, "Key told before", Reason(
        "该请求已签发过密钥 {key},密钥只显示一次", "this request has issued key {key} already, and a key is told once",
        "没有收到应答时:吊销密钥 {key}(DELETE /api/v1/keys/{key}),再用新的幂等键重新申请",
        "If its answer was lost: revoke key {key} (DELETE /api/v1/keys/{key}) and ask again with a new Idempotency-Key")),
    "partly_refused": (422, "Partly refused", Reason(
        "{received} 条读数中 {refused} 条被拒收并存入隔离区,其余 {accepted} 条已接收",
        "{refused} of {received} readings were refused and are kept in quarantine, the other {accepted} were taken",
        "请按 errors 改正;不要整批重发", "Mend what errors shows; do not send the whole again")),
    "rate_limited": (429, "Too much in too little time", Reason(
        "贵单位发送过快,本次没有接收", "your unit sends too much in too little time; nothing of this was taken",
        "请在 {retry_after} 秒后原样重发,并合并小请求", "Send the same again after {retry_after} s, and put small requests together")),
    "name_taken": (409, "Name taken", Reason(
        "已有名为 {name} 的账号", "there is an account named {name} already", "请换一个用户名", "Choose another name")),
    "own_account": (409, "Own account", Reason(
        "不能停用自己的账号", "one's own account cannot be disabled", "请由另一位运维人员操作", "Let another operator do it")),
    "body_incomplete": (408, "Body did not arrive", Reason(
        "请求体没有在限定时间内传完,本次没有接收", "the body did not arrive in time; nothing of this was taken",
        "请检查网络后原样重发,或分批发送", "Check the network and send the same again, or send it in parts")),
    "body_too_large": (413, "Body too large", REASONS["body_too_large"]),
    "unsupported_media_type": (415, "Unsupported media type", Reason(
        "不支持 {got}", "{got} is not understood",
        "请用 Content-Type: application/json、application/x-ndjson 或 application/vnd.apache.arrow.stream,可选 Content-Encoding: gzip 或 zstd;行协议请写到 /api/v2/write",
        "Use Content-Type: application/json, application/x-ndjson or application/vnd.apache.arrow.stream, and optionally Content-Encoding: gzip or zstd; line protocol is written to /api/v2/write")),
    "locked": (429, "Too many wrong passwords", Reason(
        "密码错误次数过多,暂时不能登录", "too many wrong passwords; no login for now",
        "请在 {retry_after} 秒后再试,或请平台运维重置密码", "Try again after {retry_after} s, or ask an operator for a new password")),
    "busy": (429, "Too many requests at once", Reason(
        "同时处理的数据过多,本次没有接收", "too much is being taken at once; nothing of this was taken",
        "请在 {retry_after} 秒后原样重发", "Send the same again after {retry_after} s")),
    "too_many_reads": (429, "Too many reads in too little time", Reason(
        "读取过于频繁", "too many reads in too little time",
        "请在 {retry_after} 秒后重试;一次可取更多(limit、多个标签),大量数据请用 /api/v1/export",
        "Try again after {retry_after} s; ask for more at once (limit, several tags), or export large amounts: /api/v1/export")),
    "too_many_exports": (429, "Too many exports at once", Reason(
        "同时进行的导出过多(每个单位或账号最多 {limit} 个)", "too many exports at once ({limit} of each unit or person)",
        "请等前一个导出完成,或在 {retry_after} 秒后重试", "Wait for an earlier one to end, or try again after {retry_after} s")),
    "too_much_refused": (429, "Too much was refused", Reason(
        "近期被拒收的数据过多,本次没有接收", "too much of what was sent lately was refused; nothing of this was taken",
        "请先按 GET /api/v1/quarantine 中的原因改正,并在 {retry_after} 秒后重发",
        "Mend what GET /api/v1/quarantine shows first, and send again after {retry_after} s")),
    "unit_log_full": (429, "Too much of yours is waiting", Reason(
        "贵单位待入库的数据已达上限,本次可能没有全部接收",
        "too much of your data waits to be stored; not all of this may have been taken",
        "请在 {retry_after} 秒后原样重发", "Send the same again after {retry_after} s")),
    "log_full": (503, "Ingest log is full", Reason(
        "接入日志已满,本次可能没有全部接收", "the ingest log is full; not all of this may have been taken",
        "请在 {retry_after} 秒后原样重发", "Send the same again after {retry_after} s")),
    "unavailable": (503, "Temporarily unavailable", Reason(
        "平台暂时无法可靠保存,本次可能没有全部接收",
        "the platform cannot store durably just now; not all of this may have been taken",
        "请在 {retry_after} 秒后原样重发", "Send the same again after {retry_after} s")),
    "bad_gzip": (400, "Broken gzip", REASONS["bad_gzip"]),
    "bad_zstd": (400, "Broken zstd", REASONS["bad_zstd"]),
    "weak_password": (422, "Weak password", Reason(
        "密码不合要求:{detail}", "this password will not do: {detail}", "请换一个密码", "Choose another one")),
    "wrong_scope": (422, "Role and scope do not fit", Reason(
        "角色 {role} 的范围:{detail}", "scope of the role {role}: {detail}",
        "city、county 填 region;lead_unit 填 unit;enterprise、bank 填 uscc;think_tank 可填 pilots",
        "city, county need region; lead_unit needs unit; enterprise, bank need uscc; think_tank may have pilots")),
    "bad_parameter": (422, "Bad parameter", Reason(
        "参数 {field}:{detail_zh}", "parameter {field}: {detail}", "请更正该参数", "Correct the parameter")),
    "not_in_sight": (404, "Not in sight", Reason(
        "没有 {field} {name},或不在您的权限之内", "there is no {field} {name}, or it is not yours to see",
        "请核对名称;登记过的见 GET /api/v1/latest 与各数据集的 records", "Check the name; GET /api/v1/latest and the records of the datasets list what there is")),
    "scope_exceeds": (403, "Beyond your own permissions", Reason(
        "密钥的权限不能超过签发者自己的:{scopes}", "a key may not carry what its issuer does not: {scopes}",
        "请去掉这些权限,或用具备它们的凭证操作", "Leave these scopes out, or use credentials that carry them")),
    "key_not_valid": (404, "No such valid key", Reason(
        "没有有效的密钥 {key}", "there is no valid key {key}",
        "有效密钥见 GET /api/v1/keys", "The valid keys are listed at GET /api/v1/keys")),
    "last_key": (409, "Last key", Reason(
        "密钥 {key} 是贵单位最后一个可管理密钥的密钥", "key {key} is the last of your unit's that can manage keys",
        "请先签发或轮换出新密钥;确要吊销请加 ?force=true", "Issue or rotate first; to revoke it all the same add ?force=true")),
    "too_many_keys": (409, "Too many keys", Reason(
        "有效密钥已达 {most} 个", "there are {most} valid keys already",
        "请先吊销不再使用的密钥", "Revoke keys that are no longer used first")),
    "too_many_sources": (409, "Too many sources", Reason(
        "发送心跳的来源已达 {most} 个", "{most} sources send heartbeats already",
        "请复用来源名称;30 天没有心跳的来源会自动移除", "Use the same names again; sources silent for 30 days are removed")),
    "stoppage_too_old": (422, "Too far back", Reason(
        "停产时段的变动始于 {start},早于 {days} 天的更正期", "the stoppage would change from {start}, more than {days} days back",
        "更正期之外的停产请凭证明材料联系主管部门", "For older stoppages turn to the authority with the voucher")),
    "stoppage_too_far": (422, "Too far ahead", Reason(
        "停产始于 {start},超过 {days} 天以后", "the stoppage begins at {start}, more than {days} days ahead",
        "请在临近时再申报", "Declare it when it is nearer")),
    "stoppage_ends_before": (422, "Ends before it begins", Reason(
        "停产结束 {end} 不晚于开始 {start}", "the stoppage ends at {end}, not after it begins at {start}",
        "请更正起止时间", "Correct the times")),
    "stoppage_closed": (422, "Closed period", Reason(
        "停产时段的变动始于 {start},而 {until} 之前已结账", "the stoppage would change from {start}, and times before {until} are closed",
        "请联系主管部门重新开放该时段", "Ask the authority to reopen the period")),
    "stoppage_of_unknown": (422, "Not registered", Reason(
        "{field} 未登记:{got}", "{field} not registered: {got}",
        "请先通过数据集 equipment 或 enterprise 登记", "Register it through the dataset equipment or enterprise first")),
    "stoppage_of_nothing": (422, "No equipment", Reason(
        "该范围内没有已登记的设备", "there is no registered equipment in this scope",
        "请先通过数据集 equipment 登记设备", "Register equipment through the dataset equipment first")),
    "failed": (500, "Internal error", Reason(
        "平台内部错误", "the platform failed", "请稍后原样重发;若重复出现请联系平台",
        "Send the same again later; if it happens again, tell the platform")),
}  # fmt: skip

_STATUS = {
    "malformed_json": 400,
    "malformed_arrow": 400,
    "compressed_arrow": 415,
    "wrong_shape": 400,
    "wrong_type": 400,
    "unknown_field": 400,
    "missing_field": 400,
    "timestamp_malformed": 400,
    "timestamp_without_zone": 400,
    "too_many_rows": 413,
    "unknown_dataset": 404,
    "all_refused": 422,
}


class Problem(Exception):
    """An answer that is an error; raised anywhere below a route."""

    def __init__(
        self,
        code: str,
        parameters: Mapping[str, str] | None = None,
        *,
        errors: Sequence[dict[str, Any]] = (),
        extra: Mapping[str, Any] | None = None,
        retry_after_s: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code)
        self.code = code
        self.parameters = dict(parameters or {})
        if retry_after_s is not None:
            self.parameters["retry_after"] = str(retry_after_s)
        self.errors = list(errors)
        self.extra = dict(extra or {})
        self.retry_after_s = retry_after_s
        self.headers = dict(headers or {})


def error_of(refusal: Refusal) -> dict[str, Any]:
    """One refusal as an entry of `errors`."""
    return error(refusal.place, refusal.reason, refusal.parameters)


def in_order(errors: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Entries of `errors` as the records were sent; what is of none of them comes last."""
    return sorted(errors, key=lambda one: (one["index"] is None, one["index"] or 0))


def error(place: str, code: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    """An entry of `errors`: where, which rule, what is wrong, how to mend."""
    reason = REASONS[code]
    head, _, tail = place.partition("records[")
    index = tail.partition("]")[0] if head is not place and tail else ""
    word, _, line = head.strip().partition(" ")
    return {
        "index": int(index) if index.isdigit() else None,
        **({"line": int(line)} if word == "line" and line.isdigit() else {}),
        "place": place,
        "reason": code,
        "message": reason.message(parameters),
        "hint": reason.hint(parameters),
    }


def document(problem: Problem, path: str) -> tuple[int, dict[str, Any]]:
    """Status and body of the answer to a request for `path`."""
    if problem.code == "all_refused":
        status, title = 422, "Nothing could be accepted"
        first = problem.errors[0]
        message, hint = first["message"], first["hint"]
    elif problem.code in _HTTP:
        status, title, reason = _HTTP[problem.code]
        message, hint = reason.message(problem.parameters), reason.hint(problem.parameters)
    else:
        status, title = _STATUS[problem.code], problem.code.replace("_", " ").capitalize()
        reason = REASONS[problem.code]
        message, hint = reason.message(problem.parameters), reason.hint(problem.parameters)
    body = {
        "type": f"urn:qunce:problem:{problem.code}",
        "title": title,
        "status": status,
        "detail": message["en"],
        "instance": path,
        "code": problem.code,
        "message": message,
        "hint": hint,
        "parameters": problem.parameters,
        "errors": problem.errors,
        **problem.extra,
    }
    if path in (INFLUX_1, INFLUX_1_QUERY):
        return _as_influx_1(body, problem, status)
    return _as_influx(body, problem, status) if path.startswith(INFLUX) else (status, body)


def message_of(code: str, parameters: Mapping[str, str]) -> dict[str, str]:
    """What an answer with this code says, {zh, en}."""
    return _HTTP[code][2].message(parameters)


def codes_of() -> dict[int, list[str]]:
    """HTTP status → the codes an answer of this status can have."""
    found: dict[int, list[str]] = {}
    for code, status in {**{code: status for code, (status, _, _) in _HTTP.items()}, **_STATUS}.items():
        found.setdefault(status, []).append(code)
    return {status: sorted(codes) for status, codes in found.items()}


def example(code: str, path: str = "/api/v1/…") -> dict[str, Any]:
    """An answer with this code, with the names of its parameters in their places."""
    errors = (
        [error("records[2].tag", "unknown_tag", {"tag": "CNC-0012.stat"})] if code == "all_refused" else []
    )
    reason = _HTTP[code][2] if code in _HTTP else REASONS.get(code)
    texts = () if reason is None else (reason.zh, reason.en, reason.hint_zh, reason.hint_en)
    names = {name for text in texts for _, name, _, _ in Formatter().parse(text) if name}
    problem = Problem(code, {name: f"<{name}>" for name in sorted(names)}, errors=errors)
    return document(problem, path)[1]


def _answer(request: Request, problem: Problem) -> JSONResponse:
    status, body = document(problem, request.url.path)
    headers = dict(problem.headers)
    if problem.retry_after_s is not None:
        headers["Retry-After"] = str(problem.retry_after_s)
    if status == 405:
        headers["Allow"] = problem.parameters.get("allow", "")
    if status == 408:
        headers["Connection"] = "close"  # the rest of the body is not waited for
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(body, status, headers, media_type="application/problem+json")


_INFLUX_CODES: Mapping[int, str] = {
    400: "invalid", 401: "unauthorized", 403: "forbidden", 404: "not found", 405: "method not allowed",
    413: "request too large", 415: "unsupported media type", 422: "unprocessable entity",
    429: "too many requests", 503: "unavailable",
}  # fmt: skip


def _as_influx(body: dict[str, Any], problem: Problem, status: int) -> tuple[int, dict[str, Any]]:
    """A problem with the members that clients of InfluxDB 2 read, and the status they do the right thing at.

    `code` is one of theirs and `message` one text; ours are `reason` and `text`.
    """
    if status == 408:  # such clients throw away what they sent after every 4xx they do not know
        status = body["status"] = 503
        problem.retry_after_s = problem.retry_after_s or 1
    message = body["message"]
    first = f"; {problem.errors[0]['place']}: {problem.errors[0]['message']['en']}" if problem.errors else ""
    return status, {
        **body,
        "reason": problem.code,
        "text": message,
        "code": _INFLUX_CODES.get(status, "internal error"),
        "message": f"{message['en']}{first} | {message['zh']}",
    }


def _as_influx_1(body: dict[str, Any], problem: Problem, status: int) -> tuple[int, dict[str, Any]]:
    """As of InfluxDB 2, and the text once more as `error`, which these clients read.

    They throw away what they sent after every 4xx, so that what can be sent again is a 503. Where part of it
    was taken the text has the words by which the older ones know not to send it for ever.
    """
    if status == 429:
        status = body["status"] = 503
    status, body = _as_influx(body, problem, status)
    partial = problem.code in ("partly_refused", "all_refused")
    return status, {**body, "error": ("partial write: " if partial else "") + body["message"]}


def bad_parameter(field: str, zh: str, en: str) -> Problem:
    """A parameter, or a field of a form, that is not as it must be: how it must be."""
    return Problem("bad_parameter", {"field": field, "detail": en, "detail_zh": zh})


def install(app: FastAPI) -> None:
    """Make every error below /api a problem document."""

    @app.exception_handler(Problem)
    async def _(request: Request, problem: Problem) -> JSONResponse:
        answer = _answer(request, problem)
        if answer.status_code < 500 and (gate := getattr(app.state, "gate", None)) is not None:
            await gate.refusing(request)
        return answer

    @app.exception_handler(HTTPException)
    async def _(request: Request, failure: HTTPException) -> JSONResponse:
        path, allow = request.url.path, (failure.headers or {}).get("Allow", "")
        if 400 <= failure.status_code < 500 and failure.status_code not in (404, 405):
            detail = str(failure.detail)
            return _answer(request, bad_parameter("body", detail, detail))
        code = {404: "not_found", 405: "method_not_allowed"}.get(failure.status_code, "failed")
        return _answer(request, Problem(code, {"path": path, "method": request.method, "allow": allow}))

    @app.exception_handler(RequestValidationError)
    async def _(request: Request, failure: RequestValidationError) -> JSONResponse:
        first: Any = dict(failure.errors()[0])
        first["loc"] = first["loc"][1:]  # body or query
        return _answer(request, Problem("bad_parameter", {"field": field_of(first)} | told(first)))

    @app.exception_handler(Exception)
    async def _(request: Request, failure: Exception) -> JSONResponse:
        return _answer(request, Problem("failed"))
