"""The demo from start to end."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from qunce import broker
from qunce.demo.account import PROTOCOLS, account
from qunce.demo.beats import Beats, now
from qunce.demo.ground import Ground, Refused, choose_base, choose_ports, require_loopback, settle
from qunce.demo.pages import statuses
from qunce.demo.parts import SimulatorOptions, nats_part, postgres_part, role_parts, simulators_part
from qunce.demo.screen import Screen
from qunce.demo.wiring import connectors_toml, credentials_json, port_offsets
from qunce.embedded.nats import Nats
from qunce.embedded.postgres import Postgres
from qunce.process import ChildFailed, write_private
from qunce.roles import found_log
from qunce.settings import Settings
from qunce.supervisor import Supervisor
from store.database import connect
from store.migrate import migrate
from store.totals import latency_counts

READY_WITHIN_S = 240.0
RATE_OVER_S = 10.0  # sources send in bursts; a shorter mean would flicker


@dataclass(frozen=True)
class DemoOptions:
    """What the command line asks for. `exit_after_s` counts from ready; None = until Ctrl-C."""

    fresh: bool
    seed: int
    simulators: SimulatorOptions
    exit_after_s: float | None
    report: Path | None


class Interrupted(BaseException):
    """A person or the system asked us to stop; not an error."""


class Demo:
    """One run. `run()` returns the exit code and leaves no process behind, whatever happens."""

    def __init__(self, settings: Settings, options: DemoOptions) -> None:
        require_loopback(settings)
        self._given = settings
        self._options = options
        self._ground = Ground(settings.data_dir)
        self._screen = Screen()
        self._supervisor = Supervisor(self._ground.run, self._ground.logs)
        self._begun = time.monotonic()
        self._since = now()
        self._asked_to_stop = 0

    def run(self) -> int:
        """Start, wait until ready, keep running, stop."""
        if not self._ground.belongs_to_a_demo():
            raise Refused(
                f"{self._ground.root}: 目录中有其他文件 / holds files that are not a demo's; choose another --data-dir"
            )
        self._ground.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        with self._screen:
            try:
                with self._supervisor:
                    self._bring_up_and_stay()
                return 0
            except Interrupted:
                return 0
            except ChildFailed as error:
                self._screen.freeze()
                self._screen.console.print(f"[red]未能就绪 | not ready:[/red] {error}", markup=True)
                return 1
            finally:
                self._screen.freeze()
                self._screen.step("已停止，没有遗留进程", "stopped, no process left behind")

    def _on_signal(self, *_: object) -> None:
        self._asked_to_stop += 1
        if self._asked_to_stop > 1:
            self._supervisor.hurry = True
            return
        self._screen.freeze()
        self._screen.step("正在停止（再按一次立即结束）", "stopping (again: at once)")
        raise Interrupted

    def _bring_up_and_stay(self) -> None:
        if self._options.fresh:
            self._screen.step("清空数据目录", f"beginning anew in {self._ground.root}")
            self._ground.clear()
        self._remember_seed()
        remembered = self._ground.recall().get("ports", {})
        ports = choose_ports(remembered, self._given.api.port)
        embedded, nats = self._launch_servers(ports)
        province = self._plan()  # meanwhile the servers start
        ports["simulators"] = choose_base(remembered, port_offsets(province))
        self._ground.remember(ports=ports)
        settings = self._settle(ports, embedded, nats)
        dsn = self._secret(settings.database.dsn)
        self._screen.step("数据库结构", "database schema")
        with connect(dsn, application="demo") as conn:
            migrate(conn)
        self._provision(settings, province, ports)
        beats = Beats(dsn)
        try:
            self._roles(settings, beats, ports)
            before = {total.protocol: total.stored for total in beats.totals()}
            ready_s, paths = self._until_ready(settings, province, beats, before)
            with connect(dsn, application="demo", autocommit=True) as conn:
                before_ready = latency_counts(conn, self._since)
            self._banner(settings, ready_s)
            self._stay(beats)
            if self._options.report is not None:
                content = account(settings, dsn, ready_s, paths, (self._since, before_ready))
                self._options.report.write_text(
                    json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8"
                )
        finally:
            beats.close()

    def _remember_seed(self) -> None:
        known = self._ground.recall().get("seed")
        if known is not None and known != self._options.seed:
            raise Refused(
                f"此数据目录的种子是 {known} / this data directory was made with --seed {known},"
                f" not {self._options.seed}; add --fresh to begin anew"
            )
        self._ground.remember(seed=self._options.seed)

    def _plan(self) -> dict[str, Any]:
        if not self._ground.province.exists():
            self._screen.step("规划模拟省份", "planning the simulated province")
            draft = self._ground.root / "province.new"
            command = [
                *(sys.executable, "-m", "simulators", "plan", "--seed", str(self._options.seed)),
                *("--as-of", datetime.now(UTC).date().isoformat(), "--out", str(draft)),
            ]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
            if done.returncode != 0:
                raise ChildFailed(f"simulators plan ended with code {done.returncode}\n{done.stderr[-2000:]}")
            draft.replace(self._ground.province)
        content: dict[str, Any] = json.loads(self._ground.province.read_text("utf-8"))
        return content

    def _launch_servers(self, ports: dict[str, int]) -> tuple[dict[str, str], Nats | None]:
        """Launch the servers that the settings do not name; returns dotted key → URL of those."""
        given, embedded = self._given, dict[str, str]()
        nats: Nats | None = None
        if given.database.dsn is None:
            self._screen.step("启动 PostgreSQL", "starting PostgreSQL")
            postgres = Postgres(self._ground.root / "postgres", ports["postgres"])
            postgres.prepare()
            embedded["database.dsn"] = postgres.dsn
            self._supervisor.launch(postgres_part(postgres))
        if given.log.url is None or given.mqtt.url is None:
            self._screen.step("启动 NATS（日志与 MQTT）", "starting NATS (log and MQTT)")
            nats = Nats(self._ground.root / "nats", ports["nats"], ports["mqtt"])
            nats.prepare()
            embedded["log.url"], embedded["mqtt.url"] = nats.url, nats.mqtt_url
            embedded["mqtt.callout_url"] = nats.callout_url
            self._supervisor.launch(nats_part(nats))
        return embedded, nats

    def _settle(self, ports: dict[str, int], embedded: dict[str, str], nats: Nats | None) -> Settings:
        """Wait for the servers; the settings that all parts of this demo share."""
        self._supervisor.wait([child.part.name for child in self._supervisor.children])
        room = nats.room() if nats is not None and self._given.log.url is None else None
        settings = settle(self._given, self._ground, ports, embedded, room)
        if not asyncio.run(found_log(self._secret(settings.log.url), settings.log.max_bytes, attempts=20)):
            raise ChildFailed("日志无法连接 / the ingest log cannot be reached: check log.url")
        return settings

    def _provision(self, settings: Settings, province: dict[str, Any], ports: dict[str, int]) -> None:
        from qunce.demo import people
        from qunce.provision import provision

        self._screen.step("登记试点与牵头单位", "registering pilots and lead units")
        dsn, mqtt_url = self._secret(settings.database.dsn), self._secret(settings.mqtt.url)
        keys = provision(dsn, province["pilots"], self._ground.keys, [people.SANDBOX])
        people.welcome(dsn, settings.dashboard, province, self._ground)
        pull_token = self._ground.recall().get("pull_token") or _new_token()
        self._ground.remember(pull_token=pull_token)
        write_private(settings.connectors_file, connectors_toml(province, ports["simulators"], pull_token))
        write_private(
            self._ground.credentials,
            credentials_json(province, keys, settings.api.local_url, mqtt_url, pull_token),
        )

    def _roles(self, settings: Settings, beats: Beats, ports: dict[str, int]) -> None:
        self._screen.step("启动各部分", "starting writer, interface, pages, metrics, connectors")
        parts = role_parts(settings, self._ground.settings_file, beats)
        for part in parts:
            self._supervisor.launch(part)
        self._supervisor.launch(simulators_part(self._ground, ports["simulators"], self._options.simulators))
        self._supervisor.wait([*(part.name for part in parts), "simulators"])

    def _until_ready(
        self, settings: Settings, province: dict[str, Any], beats: Beats, before: dict[str, int]
    ) -> tuple[float, list[str]]:
        """Wait for connectors, the first new rows of every protocol, and the pages. Raises ChildFailed."""
        self._screen.step("等待首批数据", "waiting for the first data of every protocol")
        expected = {broker.NAME} | {
            source["name"] for source in province["sources"] if source["protocol"] in ("opcua", "http_pull")
        }
        paths = page_paths(province)
        missing: Callable[[], list[str]] = lambda: [  # noqa: E731
            *(f"{name}: {why}" for name, why in beats.unwell(expected, self._since).items()),
            *(
                f"{name}: 尚无新数据 / no new rows yet"
                for name in PROTOCOLS
                if {total.protocol: total.stored for total in beats.totals()}.get(name, 0)
                <= before.get(name, 0)
            ),
        ]
        while True:
            self._supervisor.tick()
            late = missing()
            if not late:
                answers = statuses(settings, paths)
                late = [f"{path}: HTTP {status}" for path, status in answers.items() if status != 200]
                if not late:
                    return time.monotonic() - self._begun, paths
            if time.monotonic() - self._begun > READY_WITHIN_S:
                raise ChildFailed(
                    f"{READY_WITHIN_S:.0f} s 内未就绪 / not ready within {READY_WITHIN_S:.0f} s:\n  "
                    + "\n  ".join(late[:20])
                    + f"\n日志 logs: {self._ground.logs}"
                )
            time.sleep(0.2)

    def _banner(self, settings: Settings, ready_s: float) -> None:
        from qunce.demo import people

        url = settings.api.local_url
        sandbox_key = json.loads(self._ground.keys.read_text("utf-8"))[people.SANDBOX.code]
        password = settings.dashboard.password
        self._screen.banner(
            [
                ("页面 pages", url + "/"),
                (
                    "登录 login",
                    f"{settings.dashboard.user} / {password.get_secret_value() if password else ''}",
                ),
                ("各角色 roles", f"{self._ground.login}"),
                ("沙箱 sandbox", f"{people.SANDBOX.code}  {sandbox_key}"),
                ("开放接口 interface", f"{url}/api/v1  ({url}/api/openapi.json)"),
                ("MQTT", settings.mqtt.public_url or ""),
                ("接入文档 docs", f"{url}/docs"),
                ("数据 data", str(self._ground.root)),
                ("日志 logs", str(self._ground.logs)),
                ("用时 took", f"{ready_s:.0f} s"),
                ("停止 stop", "Ctrl-C"),
                ("", "仅供演示，只监听本机 | a demo, on this machine only"),
            ]
        )

    def _stay(self, beats: Beats) -> None:
        end = None if self._options.exit_after_s is None else time.monotonic() + self._options.exit_after_s
        last, rate = (time.monotonic(), sum(total.stored for total in beats.totals())), 0.0
        while end is None or time.monotonic() < end:
            self._supervisor.tick()
            rows, at = sum(total.stored for total in beats.totals()), time.monotonic()
            if at - last[0] >= RATE_OVER_S:
                rate, last = max(0, rows - last[1]) / (at - last[0]), (at, rows)
            self._screen.show(
                self._ground.simulators / "progress.json", self._supervisor.children, rows, rate
            )
            time.sleep(0.25)
        self._screen.freeze()

    @staticmethod
    def _secret(value: Any) -> str:
        return str(value.get_secret_value())


def page_paths(province: dict[str, Any]) -> list[str]:
    """The pages that must answer: overview, supply, and one pilot's page each."""
    return ["/", "/supply", *(f"/cluster/{pilot['code']}" for pilot in province["pilots"])]


def _new_token() -> str:
    import secrets

    return secrets.token_urlsafe(24)
