"""What Telegraf would send by a configuration: the requests of `outputs.influxdb_v2` and `outputs.http`, byte by byte.

Telegraf itself is no Python package and in no Debian; this follows its sources (plugins/outputs/influxdb_v2,
plugins/outputs/http, plugins/serializers). Of inputs it knows `inputs.mock` with constants.
"""

from __future__ import annotations

import gzip
import http.client
import json
import re
import socket
import time
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

_AGENT = "Telegraf/1.36.1 Go/1.25.1"
_ACCEPTED = {200, 201, 202, 204, 206, 207, 208}


class Metric(NamedTuple):
    """A metric as Telegraf has it; `ts` in nanoseconds."""

    name: str
    tags: dict[str, str]
    fields: dict[str, Any]
    ts: int


class Output(NamedTuple):
    """A request of an output plugin."""

    url: str
    headers: dict[str, str]
    body: bytes


def outputs_of(config: str, environment: Mapping[str, str]) -> Iterator[Output]:
    """The requests of one collection. Raises KeyError: an option that is missing, a variable that is not set."""
    text = re.sub(r"\$\{(\w+)\}", lambda found: environment[found[1]], config)
    parsed = tomllib.loads(text)
    metrics = list(_metrics(parsed))
    for settings in parsed["outputs"].get("influxdb_v2", []):
        [url] = settings["urls"]
        yield _influxdb_v2(url, settings, metrics)
    for settings in parsed["outputs"].get("http", []):
        yield _http(settings, metrics)


def push(output: Output) -> str:
    """Send it as Go's client does, in chunks; what the server answered. Raises AssertionError where Telegraf reports an error."""
    address = urlsplit(output.url)
    connection = http.client.HTTPConnection(address.netloc, timeout=20)
    headers = {"Accept-Encoding": "gzip", "User-Agent": _AGENT, **output.headers}
    target = f"{address.path}?{address.query}" if address.query else address.path
    connection.request("POST", target, iter([output.body]), headers, encode_chunked=True)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    assert answer.status in _ACCEPTED, f"{answer.status} {body}"
    return body


def _metrics(parsed: Mapping[str, Any]) -> Iterator[Metric]:
    agent = parsed.get("agent", {})
    host = {} if agent.get("omit_hostname") else {"host": socket.gethostname()}
    for mock in parsed["inputs"]["mock"]:
        fields = {constant["name"]: constant["value"] for constant in mock["constant"]}
        tags = {**host, **parsed.get("global_tags", {}), **mock.get("tags", {})}
        yield Metric(mock["metric_name"], tags, fields, time.time_ns())


def _influxdb_v2(url: str, settings: Mapping[str, Any], metrics: list[Metric]) -> Output:
    query = urlencode({"bucket": settings["bucket"], "org": settings["organization"]})
    headers = {
        "Authorization": f"Token {settings['token']}",
        "Content-Type": "text/plain; charset=utf-8",
    }
    body = "".join(map(line_of, metrics)).encode()
    if settings.get("content_encoding", "gzip") == "gzip":
        body, headers["Content-Encoding"] = gzip.compress(body), "gzip"
    return Output(f"{url.rstrip('/')}/api/v2/write?{query}", headers, body)


def _http(settings: Mapping[str, Any], metrics: list[Metric]) -> Output:
    assert settings.get("method", "POST") == "POST"
    body = _serialized(settings, metrics).encode()
    headers = {"Content-Type": "text/plain; charset=utf-8"}
    if settings.get("content_encoding", "identity") == "gzip":
        body, headers["Content-Encoding"] = gzip.compress(body), "gzip"
    return Output(settings["url"], headers | settings.get("headers", {}), body)


def _serialized(settings: Mapping[str, Any], metrics: list[Metric]) -> str:
    if settings["data_format"] == "influx":
        return "".join(map(line_of, metrics))
    assert settings["data_format"] == "json"
    units = {"1s": 10**9, "1ms": 10**6, "1us": 10**3, "1ns": 1}[settings.get("json_timestamp_units", "1s")]
    described = [
        {"fields": m.fields, "name": m.name, "tags": m.tags, "timestamp": m.ts // units} for m in metrics
    ]
    return json.dumps({"metrics": described}, separators=(",", ":"), ensure_ascii=False)


def line_of(metric: Metric) -> str:
    """Line protocol as Telegraf's serializer writes it: tags sorted, integers with `i`, nanoseconds."""
    tags = "".join(f",{_name(key)}={_name(value)}" for key, value in sorted(metric.tags.items()) if value)
    fields = ",".join(f"{_name(key)}={_value(value)}" for key, value in metric.fields.items())
    return f"{_escaped(metric.name, ', ')}{tags} {fields} {metric.ts}\n"


def _name(text: str) -> str:
    return _escaped(text, ",= ")


def _escaped(text: str, characters: str) -> str:
    return "".join(f"\\{c}" if c in characters else c for c in text)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value}i"
    if isinstance(value, float):
        return f"{value:f}".rstrip("0").rstrip(".")
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
