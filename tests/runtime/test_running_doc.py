"""docs/running.md can be followed literally: its examples are read by the code that reads such files."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from connectors.config import load_config
from qunce.provision import PilotsError, read_pilots
from qunce.roles import needed
from qunce.settings import Settings

TEXT = (Path(__file__).parents[2] / "docs" / "running.md").read_text("utf-8")


def example(language: str, holding: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    return next(block for block in found if holding in block)


def test_the_settings_are_whole() -> None:
    text = example("toml", "# qunce.toml").replace("…", "s" * 40)
    settings = Settings.model_validate(tomllib.loads(text))
    for key in (
        "database.dsn",
        "log.url",
        "mqtt.url",
        "mqtt.callout_url",
        "dashboard.password",
    ):
        assert needed(settings, key)


def test_the_pilots_and_the_connectors_are_read(tmp_path: Path) -> None:
    pilots, connectors = tmp_path / "pilots.json", tmp_path / "connectors.toml"
    pilots.write_text(example("json", '"pilots"'))
    assert [pilot["unit"]["code"] for pilot in read_pilots(pilots)] == ["GD-ELE-01"]
    connectors.write_text(example("toml", "[[connectors]]"))
    assert [one.type for one in load_config(connectors).connectors] == ["opcua", "http_pull"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[]", "must be"),
        ('{"pilots": 1}', "must be"),
        ('{"pilots": [1]}', r"pilots\[0\].*object"),
        ('{"pilots": [{"code": "P"}]}', "missing name_zh"),
        ("\\xff", "JSON"),
    ],
)
def test_a_wrong_list_of_pilots_is_told_with_its_place(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "pilots.json").write_text(content)
    with pytest.raises(PilotsError, match=told):
        read_pilots(tmp_path / "pilots.json")


def test_a_date_that_is_none_is_told(tmp_path: Path) -> None:
    text = example("json", '"pilots"').replace("2026-02-17", "17.2.2026")
    (tmp_path / "pilots.json").write_text(text)
    with pytest.raises(PilotsError, match=r"started_on.*17\.2\.2026"):
        read_pilots(tmp_path / "pilots.json")
