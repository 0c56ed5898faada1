"""Reads an OPC UA server by subscription.

The publish loop is the pump, and it is pulled, not pushed: each answer of the server becomes one
Batch, the batch becomes durable, and only then does the next publish request go out, with the
acknowledgement of the answer before. Nothing is buffered here. When the log is slow the values wait
in the server's queues; when those overflow the server says so in the status of the value, which is
counted. (asyncua's own Subscription object is not used: its queue drops values silently when full.)
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from datetime import UTC
from typing import Any, ClassVar
from urllib.parse import urlparse

from asyncua import ua
from asyncua.client.client import Client
from asyncua.crypto import security_policies
from asyncua.ua import uaerrors
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes

from connectors.columns import Columns
from connectors.contract import PermanentError, Report, Sink, TransientError
from connectors.journal import Journal, now_microseconds
from connectors.opcua import events
from connectors.opcua.browse import items_of
from connectors.opcua.codec import Item, decode
from connectors.opcua.config import OpcUaConfig
from connectors.reach import port_answers, require_port
from connectors.settings import secret_of

_DRAIN_SECONDS = 2.5
_CLOSE_SECONDS = 1.5
_KEEPALIVE_SECONDS = 2.0
_LIFETIME_SECONDS = (
    3600.0  # while the log is full no publish request goes out, and the subscription must live on
)

_REFUSED_LOGIN = (
    uaerrors.BadUserAccessDenied,
    uaerrors.BadIdentityTokenRejected,
    uaerrors.BadIdentityTokenInvalid,
)
_REFUSED_SECURITY = (
    uaerrors.BadSecurityChecksFailed,
    uaerrors.BadCertificateUntrusted,
    uaerrors.BadCertificateInvalid,
    uaerrors.BadSecurityPolicyRejected,
    uaerrors.BadSecurityModeRejected,
)
_REFUSED_FILTER = frozenset(
    {
        StatusCodes.BadFilterNotAllowed,
        StatusCodes.BadMonitoredItemFilterUnsupported,
        StatusCodes.BadMonitoredItemFilterInvalid,
    }
)


class OpcUaConnector:
    """One OPC UA server; see `connectors.contract.Connector`."""

    can_acknowledge: ClassVar[bool] = (
        False  # a subscription ends with its session; what changes meanwhile is not kept
    )

    def __init__(self, config: OpcUaConfig, log: Journal) -> None:
        self._config = config
        self._journal = log
        url = urlparse(config.url)
        self._host, self._port = url.hostname or "", url.port or 4840
        self._client: Client | None = None

    async def reachable(self) -> bool:
        """See `connectors.contract.Reachable`."""
        return await port_answers(self._host, self._port)

    async def check(self) -> Report:
        """Open a session with the credentials configured and read the server's clock."""
        started = time.monotonic()
        reason, detail = "", ""
        try:
            client = await self._connect()
            try:
                current = await client.get_node(ObjectIds.Server_ServerStatus_CurrentTime).read_value()
                detail = f"server time {current.isoformat()}"
            finally:
                await _close(client)
        except (TransientError, PermanentError) as error:
            reason, detail = error.reason, error.detail
        except Exception as error:  # a server may answer anything; the report says what
            reason, detail = "protocol", f"{type(error).__name__}: {error}"
        milliseconds = (time.monotonic() - started) * 1000
        return Report(not reason, self._config.url, reason, detail, milliseconds)

    async def probe(self) -> int:
        """See `connectors.contract.Probe`: the server's clock, read on the session of the subscription."""
        if (client := self._client) is None:
            raise TransientError("not_running", "there is no session to ask on")
        try:
            current = await client.get_node(ObjectIds.Server_ServerStatus_CurrentTime).read_value()
        except (uaerrors.UaError, OSError, TimeoutError) as error:
            raise TransientError("protocol", f"{type(error).__name__}: {error}") from error
        return int(current.replace(tzinfo=UTC).timestamp() * 1e6)

    async def browse(self) -> list[dict[str, Any]]:
        """See `connectors.contract.Browse`."""
        client = await self._connect()
        try:
            items, _ = await items_of(client, self._config)
        finally:
            await _close(client)
        return [{"tag": item.tag, "address": item.node.to_string()} for item in items]

    async def run(self, sink: Sink) -> None:
        """See `connectors.contract.Connector.run`."""
        client = await self._connect()
        session = _Session(self._config, self._journal, client, sink)
        try:
            try:
                await session.start()
                self._client = client
                self._journal.status("ok")
                await session.watch()
            except (uaerrors.UaError, OSError, TimeoutError) as error:
                raise TransientError("protocol", f"{type(error).__name__}: {error}") from error
        finally:
            self._client = None
            await session.drain()
            await _close(client)

    async def _connect(self) -> Client:
        """A connected client with an active session. Raises TransientError or PermanentError."""
        # asyncua logs every lost connection with a traceback; what matters of it is in the journal
        logging.getLogger("asyncua").setLevel(logging.CRITICAL)
        await require_port(self._host, self._port, self._config.request_timeout_seconds)
        client = Client(
            self._config.url,
            timeout=self._config.request_timeout_seconds,
            watchdog_intervall=max(1.0, self._config.silence_seconds / 2),
            auto_reconnect=False,
        )
        client.application_uri = self._config.application_uri
        client.name = client.description = "Qunce"
        client.session_timeout = 60_000
        client.set_locale(["en", "zh"])
        if self._config.username is not None:
            client.set_user(self._config.username)
            client.set_password(secret_of(self._config.password, self._config.password_file) or "")
        try:
            await self._secure(client)
            await client.connect()
        except _REFUSED_LOGIN as error:
            raise PermanentError("login_refused", str(error)) from error
        except _REFUSED_SECURITY as error:
            raise PermanentError("security_refused", str(error)) from error
        except (uaerrors.UaError, OSError, TimeoutError) as error:
            raise TransientError("connect_failed", f"{type(error).__name__}: {error}") from error
        return client

    async def _secure(self, client: Client) -> None:
        config = self._config
        if config.security_policy == "None":
            return
        policy = getattr(security_policies, f"SecurityPolicy{config.security_policy}")
        try:
            await client.set_security(
                policy,
                certificate=str(config.certificate),
                private_key=str(config.private_key),
                server_certificate=str(config.server_certificate),
                mode=ua.MessageSecurityMode[config.security_mode],
            )
        except (OSError, ValueError, uaerrors.UaError) as error:
            raise PermanentError("certificate_unusable", f"{type(error).__name__}: {error}") from error


class _Session:
    """One subscription of one session, from its creation to its end."""

    def __init__(self, config: OpcUaConfig, journal: Journal, client: Client, sink: Sink) -> None:
        self._config = config
        self._journal = journal
        self._client = client
        self._sink = sink
        self._items: dict[int, Item] = {}
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._idle = asyncio.Event()  # set while no answer is being made durable
        self._idle.set()
        self._closing = False
        self._heard = time.monotonic()
        self._silence_seconds = config.silence_seconds
        self._sequence: int | None = None

    async def start(self) -> None:
        """Find what to read and subscribe to it."""
        self._client.connection_lost_callback = self._connection_lost
        items, machines = await items_of(self._client, self._config)
        if not items:
            raise TransientError("nothing_to_read", "the server shows no machine and no variable to read")
        self._items = dict(enumerate(items, 1))
        interval = self._config.publish_interval_milliseconds
        asked = ua.CreateSubscriptionParameters()
        asked.RequestedPublishingInterval = interval
        asked.RequestedMaxKeepAliveCount = max(1, round(_KEEPALIVE_SECONDS * 1000 / interval))
        asked.RequestedLifetimeCount = round(_LIFETIME_SECONDS * 1000 / interval)
        asked.MaxNotificationsPerPublish = self._config.notifications_per_publish
        asked.PublishingEnabled = True
        given = await self._client.uaclient.create_subscription(asked, self._answer)
        keepalive = given.RevisedPublishingInterval * given.RevisedMaxKeepAliveCount / 1000
        self._silence_seconds = max(self._config.silence_seconds, 3 * keepalive)
        refused = await self._watch_items(given.SubscriptionId, list(self._items), with_filter=True)
        events.items_refused(self._journal, refused)
        if len(refused) == len(items):
            raise TransientError("nothing_to_read", f"all {len(items)} variables refused: {refused[0][1]}")
        events.subscribed(self._journal, len(items) - len(refused), machines)

    async def _watch_items(
        self, subscription: int, handles: list[int], *, with_filter: bool
    ) -> list[tuple[str, str]]:
        """Create the monitored items; returns (tag, status name) of those the server refuses."""
        refused: list[tuple[str, str]] = []
        unfiltered: list[int] = []
        step = self._config.items_per_request
        for some in (handles[i : i + step] for i in range(0, len(handles), step)):
            asked = ua.CreateMonitoredItemsParameters()
            asked.SubscriptionId = subscription
            asked.TimestampsToReturn = ua.TimestampsToReturn.Both
            asked.ItemsToCreate = [self._item_request(handle, with_filter) for handle in some]
            results = await self._client.uaclient.create_monitored_items(asked)
            for handle, result in zip(some, results, strict=True):
                if with_filter and result.StatusCode.value in _REFUSED_FILTER:
                    unfiltered.append(handle)
                elif not result.StatusCode.is_good():
                    refused.append((self._items[handle].tag, result.StatusCode.name))
        if unfiltered:
            events.filter_refused(self._journal, len(unfiltered))
            refused += await self._watch_items(subscription, unfiltered, with_filter=False)
        return refused

    def _item_request(self, handle: int, with_filter: bool) -> ua.MonitoredItemCreateRequest:
        request = ua.MonitoredItemCreateRequest()
        request.ItemToMonitor.NodeId = self._items[handle].node
        request.ItemToMonitor.AttributeId = AttributeIds.Value
        request.MonitoringMode = ua.MonitoringMode.Reporting
        wanted = request.RequestedParameters
        wanted.ClientHandle = handle
        wanted.SamplingInterval = self._config.sampling_interval_milliseconds
        wanted.QueueSize = self._config.queue_size
        wanted.DiscardOldest = True  # the newest state is worth most; the server marks the gap
        if with_filter:
            wanted.Filter = ua.DataChangeFilter(
                Trigger=ua.DataChangeTrigger.StatusValueTimestamp, DeadbandType=ua.DeadbandType.None_
            )
        return request

    async def _answer(self, result: ua.PublishResult) -> None:
        """One answer of the server; the next is asked for only when this returns."""
        if self._closing or self._lost.done():
            await asyncio.Event().wait()  # never acknowledge what was not taken; ends with the session
        self._idle.clear()
        try:
            await self._take(result.NotificationMessage)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._fail(error)
            self._idle.set()
            await asyncio.Event().wait()
        finally:
            self._heard = time.monotonic()
            self._idle.set()

    async def _take(self, message: ua.NotificationMessage) -> None:
        received_at = now_microseconds()
        notifications = message.NotificationData or []
        if not notifications:
            return  # keep-alive
        sequence = int(message.SequenceNumber)
        if self._sequence is not None and sequence != self._sequence % 0xFFFF_FFFF + 1:
            events.sequence_gap(self._journal, self._sequence + 1, sequence)
        self._sequence = sequence
        for notification in notifications:
            if isinstance(notification, ua.StatusChangeNotification):
                raise TransientError("subscription_ended", notification.Status.name)
            if isinstance(notification, ua.DataChangeNotification):
                columns = Columns()
                tally = decode(notification.MonitoredItems, self._items, self._config.value_names, columns)
                events.noticed(self._journal, tally)
                began = time.monotonic()
                await self._sink.put(columns.batch(self._config.unit, self._config.source, received_at))
                events.held_back(self._journal, time.monotonic() - began, self._config)

    async def watch(self) -> None:
        """Wait until the connection is lost, silent, or the server's machines have changed; raises then."""
        browse_at = time.monotonic() + self._config.browse_interval_minutes * 60
        while True:
            await asyncio.wait([self._lost], timeout=0.5)
            if self._lost.done():
                self._lost.result()
            if self._idle.is_set() and time.monotonic() - self._heard > self._silence_seconds:
                raise TransientError("silent", f"no sign of life for {self._silence_seconds:.0f} s")
            if self._config.machines == "found" and time.monotonic() > browse_at:
                items, _ = await items_of(self._client, self._config)
                if items and {i.tag for i in items} != {i.tag for i in self._items.values()}:
                    raise TransientError("machines_changed", "machines came or went; subscribing anew")
                browse_at = time.monotonic() + self._config.browse_interval_minutes * 60

    async def drain(self) -> None:
        """Let the answer being made durable become so; then the session can be closed."""
        self._closing = True
        if self._lost.done():
            self._lost.exception()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                await self._idle.wait()

    async def _connection_lost(self, error: Exception) -> None:
        self._fail(TransientError("connection_lost", f"{type(error).__name__}: {error}"))

    def _fail(self, error: Exception) -> None:
        if not self._lost.done():
            self._lost.set_exception(error)


async def _close(client: Client) -> None:
    """Close session and socket, however far they are gone."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(_CLOSE_SECONDS):
            await client.disconnect()
    with contextlib.suppress(Exception):
        client.disconnect_socket()
