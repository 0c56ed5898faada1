"""The settings: one typed, frozen model; a TOML file, and environment variables over it."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

PREFIX = "QUNCE_"
FILE_NAME = "qunce.toml"
PARTITIONS = 8
"""As `ingest.log.PARTITIONS`, which a test holds equal: the settings are read before any room is imported."""


class SettingsError(Exception):
    """The settings cannot be used. `problems`: one line each, naming place, key, rule and remedy."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _scheme(*allowed: str) -> AfterValidator:
    def check(value: SecretStr) -> SecretStr:
        if value.get_secret_value().partition("://")[0] not in allowed:
            raise ValueError(f"must begin with {' or '.join(f'{scheme}://' for scheme in allowed)}")
        return value

    return AfterValidator(check)


def _conninfo(value: SecretStr) -> SecretStr:
    try:
        conninfo_to_dict(value.get_secret_value())
    except ProgrammingError:
        # libpq's own message repeats the text, password and all
        raise ValueError("must be postgresql://user:password@host:port/database or key=value words") from None
    return value


PostgresDsn = Annotated[SecretStr, AfterValidator(_conninfo)]
NatsUrl = Annotated[SecretStr, _scheme("nats", "tls")]
MqttUrl = Annotated[SecretStr, _scheme("mqtt", "mqtts")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _role_dsn(zh: str, en: str) -> Any:
    return Field(
        None,
        description=f"{zh}登录数据库的地址 | URL by which {en} logs in as its own role;"
        " derived from `database.dsn` when it is not set",
    )


class Database(_Section):
    """The store."""

    dsn: PostgresDsn | None = Field(
        None,
        description="PostgreSQL 数据库所有者的地址 | URL of the database, as its owner:"
        " `postgresql://user:password@host:port/database`; the demo brings its own PostgreSQL when it is not set",
    )

    api_dsn: PostgresDsn | None = _role_dsn("开放接口", "the open interface")
    dashboard_dsn: PostgresDsn | None = _role_dsn("页面", "the pages")
    writer_dsn: PostgresDsn | None = _role_dsn("入库", "the writer")
    metrics_dsn: PostgresDsn | None = _role_dsn("指标计算", "the metrics engine")
    monitor_dsn: PostgresDsn | None = _role_dsn("运行监测", "the platform's own figures")
    auth_dsn: PostgresDsn | None = _role_dsn("身份校验", "checking credentials")


class Log(_Section):
    """The ingest log."""

    url: NatsUrl | None = Field(
        None,
        description="NATS (JetStream) 地址 | URL of the ingest log: `nats://user:password@host:port`;"
        " the demo brings its own NATS server when it is not set",
    )
    max_bytes: int = Field(
        8 * 2**30,
        ge=64 * 2**20,
        description="接入日志上限（字节）| bytes the ingest log may hold; when it is full, sources are told to slow down",
    )


def _partitions(text: str) -> str:
    partitions(text)
    return text


def partitions(text: str) -> tuple[int, ...]:
    """The numbers that `0-3` or `0,2,5-7` names, ascending. Raises ValueError on anything else."""
    named: set[int] = set()
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        if not low.isdecimal() or (dash and not high.isdecimal()):
            raise ValueError(f"must be numbers and ranges like 0-3 or 0,2,5-7, not {text!r}")
        span = range(int(low), int(high or low) + 1)
        if not span or span[-1] >= PARTITIONS:
            raise ValueError(f"partitions are 0 to {PARTITIONS - 1}, ranges ascending, not {part.strip()!r}")
        named.update(span)
    return tuple(sorted(named))


class Writer(_Section):
    """From the log into the store."""

    partitions: Annotated[str, AfterValidator(_partitions)] = Field(
        f"0-{PARTITIONS - 1}",
        description="本进程负责的日志分区 | partitions of the log that this writer process owns, like `0-3` or `0,2,5-7`;"
        " several writers must own all of them together and none of them twice",
    )


def _long_secret(value: SecretStr) -> SecretStr:
    if len(unquote(urlsplit(value.get_secret_value()).password or "")) < 32:
        raise ValueError("must hold a user name and a password of at least 32 random characters")
    return value


class Mqtt(_Section):
    """The broker to which units publish."""

    public_url: Annotated[str, Field(pattern=r"^mqtts?://[^\s/@]+$")] | None = Field(
        None,
        description="对外公布的 MQTT 地址 | address of the broker as units are told it: `mqtts://host:port`;"
        " they are told none when it is not set",
    )

    url: MqttUrl | None = Field(
        None,
        description="MQTT 代理地址 | URL of the platform's broker, with a user who may subscribe to `qunce/#`;"
        " the demo's own NATS server is the broker when it is not set",
    )
    callout_url: Annotated[NatsUrl, AfterValidator(_long_secret)] | None = Field(
        None,
        description="MQTT 登录校验连接 | URL by which the role `api` answers a NATS broker's question for each login"
        " (its signature is derived from the password: `openssl rand -hex 32`); leave out with other brokers",
    )


class Api(_Section):
    """The open interface and the pages, one HTTP server."""

    public_url: Annotated[str, Field(pattern=r"^https?://[^\s@]+$")] | None = Field(
        None,
        description="对外公布的 HTTP 地址 | address of the interface as units are told it: `https://host`;"
        " the one they asked at when it is not set",
    )

    host: str = Field(
        "127.0.0.1", description="监听地址 | address to listen on; the demo accepts loopback only"
    )
    port: int = Field(
        8760, ge=1, le=65535, description="监听端口 | TCP port; the demo takes another when it is in use"
    )
    unit_rows_per_s: float = Field(
        500_000,
        gt=0,
        description="每单位每秒可持续发送的读数 | readings a second that one unit may send for ever; a minute of it at once."
        " Beyond: 429 with Retry-After",
    )
    unit_requests_per_s: float = Field(
        500,
        gt=0,
        description="每单位每秒可持续发送的请求 | requests with data a second that one unit may send for ever; a minute of it"
        " at once. Beyond: 429 with Retry-After",
    )
    caller_reads_per_s: float = Field(
        200,
        gt=0,
        description="每单位或账号每秒可持续读取的次数 | requests a second that one unit or person may read with for ever; ten"
        " seconds of it at once. Beyond: 429 with Retry-After",
    )
    metrics_token: SecretStr | None = Field(
        None,
        min_length=16,
        description="读取 /metrics 的令牌 | bearer token for `GET /metrics` from elsewhere, at least 16 characters;"
        " from this machine itself none is needed",
    )

    @property
    def local_url(self) -> str:
        """Where the interface and the pages answer on this machine."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104
        return f"http://{host}:{self.port}"


class Connectors(_Section):
    """Fetching from equipment and from lead units' platforms."""

    file: Path = Field(
        Path("connectors.toml"),
        description="连接器配置文件 | the file that lists the sources; relative to `data_dir`",
    )


def _zone_exists(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"no such time zone: {name}") from error
    return name


class Dashboard(_Section):
    """The pages."""

    user: str = Field(
        "admin",
        min_length=1,
        description="首个运维账号的用户名 | name of the operator by whom the platform is begun",
    )
    password: SecretStr | None = Field(
        None,
        min_length=10,
        description="首个运维账号的密码 | password of that operator: the account is made, or given this password, at every"
        " start; the demo makes a random one. Without it accounts are made with `qunce people add`",
    )
    session_hours: float = Field(
        12, gt=0, le=24 * 30, description="会话时长（小时）| a login ends after this many hours"
    )
    zone: Annotated[str, AfterValidator(_zone_exists)] = Field(
        "Asia/Shanghai", description="显示时区 | time zone in which the pages show times"
    )
    secure_cookie: bool = Field(
        False,
        description="仅 HTTPS 发送会话 | send the session cookie over HTTPS only, and tell browsers to use nothing else",
    )


def _issuer(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost"):
        raise ValueError("must begin with https://")
    return value


class Oidc(_Section):
    """Logins by an identity provider (OpenID Connect), beside passwords."""

    issuer: Annotated[str, AfterValidator(_issuer)] | None = Field(
        None,
        description="统一身份认证的签发者地址 | issuer URL of the identity provider; register `<api.public_url>/login/oidc/back`"
        " there as redirection. People must have an account that names their subject (`qunce people add --oidc-subject`)",
    )
    client_id: str = Field(
        "qunce", min_length=1, description="客户端标识 | what the provider knows the platform by"
    )
    client_secret: SecretStr | None = Field(
        None, description="客户端密钥 | the platform's secret at the provider"
    )
    label: str = Field(
        "统一身份认证 SSO", min_length=1, description="登录页按钮文字 | what the login page's link says"
    )


class Logging(_Section):
    """What the processes say of themselves."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="日志级别 | the least severe messages that are written"
    )
    form: Literal["auto", "json", "text"] = Field(
        "auto", description="日志格式 | `json` lines or `text` for people; `auto`: text on a terminal"
    )


def default_data_dir() -> Path:
    """`$XDG_DATA_HOME/qunce`, else `~/.local/share/qunce`."""
    home = os.environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "qunce"


class Settings(BaseSettings):
    """Everything that can be set. Passed down from the command line; never imported as a global."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, case_sensitive=False
    )

    data_dir: Path = Field(
        default_factory=default_data_dir,
        description="数据目录 | where everything lies that is kept; default `$XDG_DATA_HOME/qunce`,"
        " else `~/.local/share/qunce`",
    )
    correction_days: int = Field(
        10,
        ge=0,
        le=3650,
        description="报表更正期（天）| days after its first report in which a record can be corrected, with a reason;"
        " registers can always be corrected. The same for all processes",
    )
    database: Database = Database()
    log: Log = Log()
    writer: Writer = Writer()
    mqtt: Mqtt = Mqtt()
    api: Api = Api()
    connectors: Connectors = Connectors()
    dashboard: Dashboard = Dashboard()
    oidc: Oidc = Oidc()
    logging: Logging = Logging()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over file (the file's content is given to the constructor); nothing else."""
        return env_settings, init_settings

    @property
    def connectors_file(self) -> Path:
        """The connectors' file, absolute."""
        return self.data_dir / self.connectors.file


def load(config: Path | None = None, data_dir: Path | None = None, *, generated: bool = True) -> Settings:
    """Read the settings.

    File: `config`, else `./qunce.toml`, else (if `generated`) the one a demo wrote into the data
    directory; none is fine. `data_dir` given here wins over everything. Raises SettingsError.
    """
    file = _find(config, data_dir, generated=generated)
    content = _read(file) if file else {}
    problems = _unknown_variables(os.environ)
    if data_dir is not None:
        content["data_dir"] = data_dir
    try:
        settings = Settings(**content)
    except ValidationError as error:
        raise SettingsError(problems + [_explain(item, file) for item in error.errors()]) from None
    if problems:
        raise SettingsError(problems)
    if data_dir is not None and settings.data_dir != data_dir:  # QUNCE_DATA_DIR is set as well
        settings = settings.model_copy(update={"data_dir": data_dir})
    return settings.model_copy(update={"data_dir": settings.data_dir.expanduser().absolute()})


def _find(config: Path | None, data_dir: Path | None, *, generated: bool) -> Path | None:
    if config is not None:
        return config
    kept = Path(os.environ.get("QUNCE_DATA_DIR") or data_dir or default_data_dir())
    places = [Path(FILE_NAME)] if data_dir is None else []
    places += [(data_dir or kept).expanduser() / FILE_NAME] if generated else []
    return next((place for place in places if place.is_file()), None)


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise SettingsError([f"{file}: 无法读取 / cannot be read: {error.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError([f"{file}: 不是有效的 TOML / not valid TOML: {error}"]) from None


def _unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Variables that look like settings but name no section: a misspelt one must not pass in silence."""
    sections = {name.upper() for name in Settings.model_fields}
    return [
        f"{name}: 没有这个设置 / no such setting; sections are {', '.join(sorted(sections)).lower()}"
        for name in sorted(environment)
        if name.startswith(PREFIX) and "__" in name
        if name.removeprefix(PREFIX).partition("__")[0].upper() not in sections
    ]


def variable(key: str) -> str:
    """The environment variable of a dotted key."""
    return PREFIX + key.upper().replace(".", "__")


def _explain(problem: Any, file: Path | None) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    name = variable(key)
    place = name if name in os.environ else str(file or "(defaults)")
    rule = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        return f"{place}: {key}: 没有这个设置 / no such setting; `make docs` 与 docs/settings.md 列出全部 (lists all)"
    known = describe(key)
    remedy = f"请修改 [{key.rpartition('.')[0] or 'qunce'}] 或环境变量 / mend it in the file or set {name}"
    return f"{place}: {key}: {rule}. {known + '. ' if known else ''}{remedy}"


def describe(key: str) -> str:
    """The description of a dotted key; empty when there is no such key."""
    model: Any = Settings
    text = ""
    for part in key.split("."):
        field = getattr(model, "model_fields", {}).get(part)
        if field is None:
            return ""
        text, model = field.description or "", field.annotation
    return text


def to_toml(settings: Settings) -> str:
    """The settings as a file, secrets in the clear: for an owner-only file that child processes read."""
    lines: list[str] = []
    sections: list[str] = []
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            sections.append(f"\n[{name}]")
            sections += [
                f"{key} = {_toml(plain)}"
                for key in type(value).model_fields
                if (plain := getattr(value, key)) is not None
            ]
        else:
            lines.append(f"{name} = {_toml(value)}")
    return "\n".join([*lines, *sections]) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
