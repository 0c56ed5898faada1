"""What the emulated Telegraf sends, against lines and requests that Telegraf's own documentation shows."""

from __future__ import annotations

import gzip
import json

import pytest

from tests.guide.telegraf import Metric, line_of, outputs_of

CONFIG = """
[agent]
  omit_hostname = true
[[inputs.mock]]
  metric_name = "machine"
  [inputs.mock.tags]
    equipment = "CNC-0001"
  [[inputs.mock.constant]]
    name = "produced"
    value = 7
[[outputs.influxdb_v2]]
  urls = ["http://127.0.0.1:1/"]
  token = "${TOKEN}"
  organization = "our org"
  bucket = "qunce"
[[outputs.http]]
  url = "http://127.0.0.1:1/x"
  data_format = "json"
  [outputs.http.headers]
    Content-Type = "application/json"
"""


@pytest.mark.parametrize(
    ("metric", "line"),
    [
        (Metric("cpu", {"host": "a b", "cpu": "0"}, {"usage": 0.5, "n": 3}, 7), r"cpu,cpu=0,host=a\ b usage=0.5,n=3i 7"),
        (Metric("m,x", {}, {"s": 'say "hi"', "ok": True}, 1), r'm\,x s="say \"hi\"",ok=true 1'),
        (Metric("m", {"k": ""}, {"f": 12.0}, 1), "m f=12 1"),
    ],
)  # fmt: skip
def test_lines(metric: Metric, line: str) -> None:
    assert line_of(metric) == line + "\n"


def test_requests() -> None:
    influx, http = outputs_of(CONFIG, {"TOKEN": "qk_x"})
    assert influx.url == "http://127.0.0.1:1/api/v2/write?bucket=qunce&org=our+org"
    assert influx.headers == {
        "Authorization": "Token qk_x", "Content-Type": "text/plain; charset=utf-8", "Content-Encoding": "gzip"
    }  # fmt: skip
    assert gzip.decompress(influx.body).startswith(b"machine,equipment=CNC-0001 produced=7i ")
    [metric] = json.loads(http.body)["metrics"]
    assert (metric["name"], metric["tags"], metric["fields"]) == (
        "machine", {"equipment": "CNC-0001"}, {"produced": 7}
    )  # fmt: skip
    assert http.headers == {"Content-Type": "application/json"}


def test_a_variable_that_is_not_set_is_an_error() -> None:
    with pytest.raises(KeyError, match="TOKEN"):
        list(outputs_of(CONFIG, {}))
