"""The documents say what the code does: settings tables, samples, quality ledgers, error messages."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from connectors import reference
from connectors.config import ConnectorsConfig, load_config
from connectors.contract import ConfigError

FOLDERS = sorted(reference.TABLES)
RULES = {
    "config-documented", "config-forbids-extra", "check-implemented", "run-cancellable", "ack-after-durable",
    "reconnect-backoff-jitter", "bounded-queues", "drops-counted", "log-on-edge", "status-reported",
    "timestamps-source-and-server", "quality-code-kept", "fixtures-recorded", "contract-suite",
    "readme-example-output",
}  # fmt: skip
HEADINGS = ["What it is", "Configuration", "Troubleshooting", "Example"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_readme_is_up_to_date(folder: str):
    text = (reference.ROOM / folder / "README.md").read_text("utf-8")
    assert text == reference.readme(folder), "run: python -m connectors.reference"
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == HEADINGS


@pytest.mark.parametrize("folder", FOLDERS)
def test_readme_example_is_valid(folder: str):
    text = (reference.ROOM / folder / "README.md").read_text("utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert len(ConnectorsConfig.model_validate(tomllib.loads(example)).connectors) == 1


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_reason_is_explained(folder: str):
    text = (reference.ROOM / folder / "README.md").read_text("utf-8")
    code = "".join(path.read_text("utf-8") for path in (reference.ROOM / folder).glob("*.py"))
    reasons = set(re.findall(r'(?:Transient|Permanent)Error\(\s*"(\w+)"', code))
    inner = {"protocol", "no_state_directory", "cursor_not_stored", "subscription_ended"}
    assert {
        reason for reason in reasons - inner if f"`{reason}`" not in text and f" {reason}`" not in text
    } == set()


@pytest.mark.parametrize("folder", FOLDERS)
def test_quality_ledger(folder: str):
    ledger = yaml.safe_load((reference.ROOM / folder / "quality.yaml").read_text("utf-8"))
    assert set(ledger) == RULES
    for rule, entry in ledger.items():
        assert entry["status"] in ("done", "todo", "exempt"), rule
        assert entry["status"] == "done" or entry.get("why"), rule


@pytest.mark.parametrize("model", [model for tables in reference.TABLES.values() for _, model in tables])
def test_every_setting_is_described(model: type[BaseModel]):
    assert [name for name, field in model.model_fields.items() if not field.description] == []
    assert model.model_config["extra"] == "forbid"
    assert model.model_config["frozen"]


def test_sample_is_valid():
    config = load_config(reference.ROOM / "connectors.sample.toml")
    assert {connector.type for connector in config.connectors} == {"opcua", "mqtt", "http_pull"}


@pytest.mark.parametrize(
    ("text", "key", "rule"),
    [
        ("connectors = 3", "connectors", "tuple"),
        ("[[connectors]", "", "no TOML"),
        ('[[connectors]]\ntype = "ftp"\nname = "a"', "connectors[0] (a)", "'opcua'"),
        (
            '[[connectors]]\ntype = "mqtt"\nname = "a"\nhost = "h"\nprot = 1',
            "connectors[0] (a).prot",
            "Extra",
        ),
        (
            '[[connectors]]\ntype = "mqtt"\nname = "a"\nhost = "h"\nport = 0',
            "connectors[0] (a).port",
            "greater",
        ),
        ('[[connectors]]\ntype = "http_pull"\nname = "a"\nunit = "U"', "connectors[0] (a).url", "required"),
        (
            '[[connectors]]\ntype = "mqtt"\nname = "a"\nhost = "h"\n[[connectors.topics]]\ntopic = "x/#/y"\nunit = "U"',
            "connectors[0] (a).topics[0].topic",
            "only at the end",
        ),
        (
            '[[connectors]]\ntype = "opcua"\nname = "a"\nunit = "U"\nurl = "opc.tcp://h:1"\nsecurity_policy = "Basic256Sha256"',
            "connectors[0] (a)",
            "needs certificate",
        ),
        ('[[connectors]]\ntype = "mqtt"\nname = "a"\nhost = "h"\n' * 2, "", "more than once"),
    ],
)
def test_errors_name_file_key_and_rule(tmp_path: Path, text: str, key: str, rule: str):
    file = tmp_path / "connectors.toml"
    file.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert caught.value.file == str(file)
    assert caught.value.key == key
    assert rule in caught.value.rule


def test_secrets_are_not_shown(tmp_path: Path):
    file = tmp_path / "connectors.toml"
    file.write_text(
        '[[connectors]]\ntype = "http_pull"\nname = "a"\nunit = "U"\nurl = "h"\ntoken = "hunter2"', "utf-8"
    )
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert "hunter2" not in str(caught.value)
    file.write_text(file.read_text("utf-8").replace('"h"', '"http://h"'), "utf-8")
    assert "hunter2" not in repr(load_config(file))


def test_missing_file(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "none.toml")
