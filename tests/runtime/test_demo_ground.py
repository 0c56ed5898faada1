"""The demo's data directory, ports, wiring: what is remembered, what is refused."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from connectors.config import load_config
from qunce.demo.ground import Ground, choose_base, choose_ports, require_loopback, settle
from qunce.demo.wiring import connectors_toml, credentials_json, port_offsets
from qunce.settings import Settings, SettingsError, load

PROVINCE: dict[str, Any] = {
    "pilots": [{"code": "P-1", "unit": {"code": "GD-ELE-01"}}],
    "sources": [
        {"name": "F1", "protocol": "opcua", "unit": "GD-ELE-01", "port_offset": 3},
        {"name": "GD-ELE-01", "protocol": "mqtt", "unit": "GD-ELE-01", "port_offset": None},
        {"name": "PLATFORM", "protocol": "http_pull", "unit": "GD-ELE-01", "port_offset": 51},
    ],
}
EMBEDDED = {
    "database.dsn": "postgresql://u:p@127.0.0.1/d",
    "log.url": "nats://u:p@127.0.0.1:1",
    "mqtt.url": "mqtt://u:p@127.0.0.1:2",
    "mqtt.callout_url": f"nats://c:{'s' * 32}@127.0.0.1:1",
}


def test_a_port_in_use_is_avoided_and_the_remembered_ones_are_kept() -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        api = busy.getsockname()[1]
        ports = choose_ports({}, api)
        assert ports["api"] != api
    assert len(set(ports.values())) == len(ports)
    assert choose_ports(ports, ports["api"]) == ports


def test_the_simulators_get_a_block_of_free_ports() -> None:
    base = choose_base({}, [0, 1, 50])
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", base + 50))
        busy.listen()
        other = choose_base({"simulators": base}, [0, 1, 50])
    assert other != base
    assert choose_base({"simulators": other}, [0, 1, 50]) == other


def test_secrets_are_made_once_and_given_settings_win(tmp_path: Path) -> None:
    ground = Ground(tmp_path)
    ports = {"api": 8760}
    first = settle(Settings.model_validate({}), ground, ports, EMBEDDED)
    second = settle(Settings.model_validate({}), ground, ports, EMBEDDED)
    assert first.dashboard == second.dashboard
    assert first.dashboard.password is not None
    given = Settings.model_validate({"database": {"dsn": "postgresql://own@db/x"}})
    third = settle(given, ground, {"api": 9000}, EMBEDDED)
    assert third.database == given.database
    assert third.mqtt.callout_url is not None  # the demo's own broker asks
    assert (
        third.mqtt.public_url == "mqtt://127.0.0.1:2"
    )  # as units are told it, without the platform's password
    elsewhere = Settings.model_validate({"mqtt": {"url": "mqtt://u:p@mosquitto"}})
    assert settle(elsewhere, ground, ports, EMBEDDED).mqtt.callout_url is None
    third = settle(given, ground, {"api": 9000}, EMBEDDED)
    assert load(ground.settings_file) == third
    for path in (ground.settings_file, tmp_path / "demo.json"):
        assert path.stat().st_mode & 0o077 == 0


def test_a_directory_with_other_files_is_never_taken_for_a_demo(tmp_path: Path) -> None:
    assert Ground(tmp_path / "absent").belongs_to_a_demo()
    assert Ground(tmp_path).belongs_to_a_demo()
    (tmp_path / "thesis.odt").touch()
    assert not Ground(tmp_path).belongs_to_a_demo()
    Ground(tmp_path).remember(seed=7)
    assert Ground(tmp_path).belongs_to_a_demo()


def test_beginning_anew_keeps_only_the_lock(tmp_path: Path) -> None:
    ground = Ground(tmp_path)
    ground.remember(seed=7)
    (ground.run).mkdir()
    (ground.run / "lock").touch()
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "x").touch()
    ground.clear()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["lock", "run"]


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "example.org", "::"])
def test_a_demo_listens_on_loopback_only(host: str) -> None:
    with pytest.raises(SettingsError, match=r"api\.host"):
        require_loopback(Settings.model_validate({"api": {"host": host}}))


def test_the_connectors_file_is_one_that_the_connectors_read(tmp_path: Path) -> None:
    assert port_offsets(PROVINCE) == [3, 51]
    file = tmp_path / "connectors.toml"
    file.write_text(connectors_toml(PROVINCE, 24000, "token"))
    found = {one.name: one for one in load_config(file).connectors}
    assert set(found) == {"F1", "PLATFORM"}
    factory = found["F1"]
    assert factory.type == "opcua"
    assert factory.url.startswith("opc.tcp://127.0.0.1:24003")


def test_credentials_hold_each_units_own_key() -> None:
    text = credentials_json(
        PROVINCE, {"GD-ELE-01": "qk_x", "OTHER": "qk_y"}, "http://h", "mqtt://u:p@127.0.0.1:2", "t"
    )
    content = json.loads(text)
    assert content["units"] == {"GD-ELE-01": {"api_key": "qk_x"}}
    assert content["mqtt"] == {"host": "127.0.0.1", "port": 2}
