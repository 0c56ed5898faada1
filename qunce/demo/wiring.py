"""Who talks to whom: the connectors' file and the simulators' credentials, from the province's description."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote, urlsplit

Province = dict[str, Any]


def port_offsets(province: Province) -> list[int]:
    """The offsets of the ports that the simulated factories and platforms listen on."""
    return sorted(
        {source["port_offset"] for source in province["sources"] if source["port_offset"] is not None}
    )


def connectors_toml(province: Province, base_port: int, mqtt_url: str, pull_token: str) -> str:
    """The connectors' file: every OPC UA server and every platform to be pulled, and the platform's broker."""
    broker = urlsplit(mqtt_url)
    tables: list[dict[str, object]] = [
        {
            "type": "mqtt",
            "name": "platform-broker",
            "host": broker.hostname or "127.0.0.1",
            "port": broker.port or (8883 if broker.scheme == "mqtts" else 1883),
            **({"username": unquote(broker.username)} if broker.username else {}),
            **({"password": unquote(broker.password)} if broker.password else {}),
            "tls": "verified" if broker.scheme == "mqtts" else "none",
            "source_named_by": "unit",
        }
    ]
    for source in province["sources"]:
        port = base_port + (source["port_offset"] or 0)
        if source["protocol"] == "opcua":
            tables.append(
                {
                    "type": "opcua",
                    "name": source["name"],
                    "unit": source["unit"],
                    "url": f"opc.tcp://127.0.0.1:{port}/qunce-sim",
                }
            )
        elif source["protocol"] == "http_pull":
            tables.append(
                {
                    "type": "http_pull",
                    "name": source["name"],
                    "unit": source["unit"],
                    "url": f"http://127.0.0.1:{port}",
                    "token": pull_token,
                    "interval_seconds": 1.0,
                }
            )
    # A JSON string or number is also one in TOML.
    return "\n".join(
        "[[connectors]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
        for table in tables
    )


def credentials_json(
    province: Province, keys: dict[str, str], api_url: str, mqtt_url: str, pull_token: str
) -> str:
    """What the units were given by the province: addresses and their own keys."""
    broker = urlsplit(mqtt_url)
    return json.dumps(
        {
            "api_url": api_url,
            "mqtt": {"host": broker.hostname or "127.0.0.1", "port": broker.port or 1883},
            "units": {
                pilot["unit"]["code"]: {"api_key": keys[pilot["unit"]["code"]]}
                for pilot in province["pilots"]
            },
            "pull_token": pull_token,
        },
        indent=1,
    )
