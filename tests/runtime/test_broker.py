"""`mqtt.url` alone makes the platform's broker a connector."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.config import AnyConfig, load_config
from connectors.contract import ConfigError
from qunce.broker import NAME, configured, write_connectors
from qunce.settings import Settings

OWN = """
[[connectors]]
type = "mqtt"
name = "plant-7"
host = "10.1.2.4"

[[connectors.topics]]
topic = "factory/{equipment}/telemetry"
unit = "GD-ELE-01"
payload = { form = "values", time_field = "t", values_field = "d\\"ata" }
"""


def settings(folder: Path, url: str | None = "mqtts://me:p%40ss@broker.example") -> Settings:
    return Settings.model_validate({"data_dir": folder, "mqtt": {"url": url}})


def connectors(file: Path) -> dict[str, AnyConfig]:
    return {one.name: one for one in load_config(file).connectors}


def test_the_broker_stands_beside_the_operators_connectors(tmp_path: Path) -> None:
    (tmp_path / "connectors.toml").write_text(OWN)
    file = write_connectors(settings(tmp_path), tmp_path / "state" / "in-force.toml")
    assert file.stat().st_mode & 0o077 == 0
    found = connectors(file)
    assert set(found) == {NAME, "plant-7"}
    assert found["plant-7"] == connectors(tmp_path / "connectors.toml")["plant-7"]
    broker = found[NAME]
    assert broker.type == "mqtt"
    assert (broker.host, broker.port, broker.tls, broker.source_named_by) == (
        "broker.example", 8883, "verified", "unit",
    )  # fmt: skip
    assert broker.username == "me"
    assert broker.password is not None
    assert broker.password.get_secret_value() == "p@ss"


@pytest.mark.parametrize("content", ["connectors = []\n", None])
def test_the_broker_alone_is_enough(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "connectors.toml").write_text(content)
    assert set(connectors(write_connectors(settings(tmp_path), tmp_path / "x.toml"))) == {NAME}


def test_an_entry_of_that_name_wins_and_without_a_broker_nothing_is_written(tmp_path: Path) -> None:
    file = tmp_path / "connectors.toml"
    file.write_text(OWN.replace("plant-7", NAME))
    assert write_connectors(settings(tmp_path), tmp_path / "x.toml") == file
    assert write_connectors(settings(tmp_path, None), tmp_path / "x.toml") == file
    assert not (tmp_path / "x.toml").exists()
    assert configured(settings(tmp_path, None))
    file.unlink()
    assert not configured(settings(tmp_path, None))


def test_a_mistake_is_told_with_the_operators_file(tmp_path: Path) -> None:
    (tmp_path / "connectors.toml").write_text(OWN.replace("10.1.2.4", ""))
    with pytest.raises(ConfigError, match=r"/connectors\.toml: connectors\[0\] \(plant-7\)"):
        write_connectors(settings(tmp_path), tmp_path / "x.toml")
