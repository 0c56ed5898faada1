"""Who talks to whom: the connectors' file and the simulators' credentials, from the province's description."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from qunce.broker import to_toml

Province = dict[str, Any]


def port_offsets(province: Province) -> list[int]:
    """The offsets of the ports that the simulated factories and platforms listen on."""
    return sorted(
        {source["port_offset"] for source in province["sources"] if source["port_offset"] is not None}
    )


def connectors_toml(province: Province, base_port: int, pull_token: str) -> str:
    """The connectors' file: every OPC UA server and every platform to be pulled."""
    tables: list[dict[str, object]] = []
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
    return to_toml(tables)


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
