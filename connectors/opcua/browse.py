"""Finding what to read: node ids with namespace URIs, OPC 40001-1 machines, names of enumerations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from asyncua import ua
from asyncua.client.client import Client
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds

from connectors.contract import PermanentError
from connectors.opcua.codec import Item, is_numeric
from connectors.opcua.config import ItemConfig, OpcUaConfig

_PER_REQUEST = 200
_DEPTH = 6
_INTERESTING = frozenset(
    {"MachineryBuildingBlocks", "MachineryItemState", "MachineryOperationMode", "Monitoring"}
)
_STATES = {
    ("MachineryItemState", "CurrentState"): "state",
    ("MachineryOperationMode", "CurrentState"): "mode",
}
_NUMERIC_TYPES = frozenset(range(1, 12)) | {
    26,
    27,
    28,
    290,
}  # Boolean … Double, Number, Integer, UInteger, Duration


@dataclass(frozen=True, slots=True)
class _Found:
    machine: str
    path: tuple[str, ...]
    node: ua.NodeId
    is_variable: bool


async def items_of(client: Client, config: OpcUaConfig) -> tuple[list[Item], int]:
    """Everything to read and the number of machines found; namespace indices are those of this session.

    Raises PermanentError `unknown_namespace`.
    """
    namespaces: list[str] = await client.get_namespace_array()
    tags: dict[str, ua.NodeId] = {item.tag: node_of(item, namespaces) for item in config.items}
    machines = 0
    if config.machines == "found":
        found = await _machines(client)
        machines = len(found)
        for entry, signal in await _signals(client, await _descend(client, found)):
            code = config.equipment_codes.get(entry.machine, entry.machine)
            tags.setdefault(f"{code}.{config.signal_names.get(signal, signal)}", entry.node)
    names = await _enumerations(client, list(tags.values()))
    items = [
        Item(tag, node, enumeration) for (tag, node), enumeration in zip(tags.items(), names, strict=True)
    ]
    return items, machines


def node_of(item: ItemConfig, namespaces: Sequence[str]) -> ua.NodeId:
    """The node id with this session's namespace index. Raises PermanentError `unknown_namespace`."""
    if not item.node.startswith("nsu="):
        return ua.NodeId.from_string(item.node)
    uri, _, rest = item.node.removeprefix("nsu=").partition(";")
    if uri not in namespaces:
        raise PermanentError("unknown_namespace", f"{item.tag}: the server has no namespace {uri}")
    return ua.NodeId.from_string(f"ns={namespaces.index(uri)};{rest}")


async def _machines(client: Client) -> dict[str, ua.NodeId]:
    """Browse name → node of everything below Objects/Machines."""
    roots = await _children(client, [ua.NodeId(ua.Int32(ObjectIds.ObjectsFolder))])
    folders = [child.NodeId for child in roots[0] if child.BrowseName.Name == "Machines"]
    return {
        child.BrowseName.Name: child.NodeId
        for children in await _children(client, folders)
        for child in children
        if child.NodeClass is ua.NodeClass.Object
    }


async def _descend(client: Client, machines: dict[str, ua.NodeId]) -> list[_Found]:
    """Everything below the machines that OPC 40001-1 names, breadth first, each node once."""
    level = [_Found(name, (), node, False) for name, node in machines.items()]
    seen = set(machines.values())
    variables: list[_Found] = []
    for _ in range(_DEPTH):
        below: list[_Found] = []
        for parent, children in zip(level, await _children(client, [f.node for f in level]), strict=True):
            for child in children:
                name = child.BrowseName.Name
                if child.NodeId in seen or (not parent.path and name not in _INTERESTING):
                    continue
                seen.add(child.NodeId)
                # the building blocks folder is optional in the standard, so it is no part of the path
                path = parent.path if name == "MachineryBuildingBlocks" else (*parent.path, name)
                found = _Found(parent.machine, path, child.NodeId, child.NodeClass is ua.NodeClass.Variable)
                (variables if found.is_variable else below).append(found)
        level = below
        if not level:
            break
    return variables


async def _signals(client: Client, variables: list[_Found]) -> list[tuple[_Found, str]]:
    """The variables that are signals, with the signal's name."""
    signals = [(entry, _STATES[entry.path]) for entry in variables if entry.path in _STATES]
    monitored = [entry for entry in variables if entry.path[0] == "Monitoring" and len(entry.path) > 1]
    types = await _read(client, [entry.node for entry in monitored], AttributeIds.DataType)
    values = await _read(client, [entry.node for entry in monitored], AttributeIds.Value)
    for entry, kind, value in zip(monitored, types, values, strict=True):
        if is_numeric(value.Value) or (_null(value) and _is_numeric_type(kind)):
            signals.append((entry, "_".join(entry.path[1:]).lower()))
    return signals


def _null(value: ua.DataValue) -> bool:
    return value.Value is None or value.Value.Value is None


def _is_numeric_type(kind: ua.DataValue) -> bool:
    node = None if kind.Value is None else kind.Value.Value
    return isinstance(node, ua.NodeId) and node.NamespaceIndex == 0 and node.Identifier in _NUMERIC_TYPES


async def _enumerations(client: Client, nodes: list[ua.NodeId]) -> list[dict[int, str] | None]:
    """For each variable the names of its enumeration, from its data type; None when it has none."""
    types = [
        None if data.Value is None else data.Value.Value
        for data in await _read(client, nodes, AttributeIds.DataType)
    ]
    kinds = list({t for t in types if isinstance(t, ua.NodeId) and not _builtin(t)})
    names: dict[ua.NodeId, dict[int, str]] = {}
    properties = await _children(client, kinds, ObjectIds.HasProperty)
    for kind, children in zip(kinds, properties, strict=True):
        for child in children:
            if child.BrowseName.Name in ("EnumStrings", "EnumValues"):
                (data,) = await _read(client, [child.NodeId], AttributeIds.Value)
                names[kind] = _names(data)
    return [names.get(t) or None if isinstance(t, ua.NodeId) else None for t in types]


def _builtin(kind: ua.NodeId) -> bool:
    return kind.NamespaceIndex == 0 and isinstance(kind.Identifier, int) and kind.Identifier <= 29


def _names(data: ua.DataValue) -> dict[int, str]:
    entries = [] if _null(data) or data.Value is None else data.Value.Value
    if not isinstance(entries, list):
        return {}
    names: dict[int, str] = {}
    for position, entry in enumerate(entries):
        if isinstance(entry, ua.LocalizedText) and entry.Text:
            names[position] = str(entry.Text)
        elif isinstance(entry, ua.EnumValueType) and entry.DisplayName.Text:
            names[int(entry.Value)] = str(entry.DisplayName.Text)
    return names


async def _read(client: Client, nodes: Sequence[ua.NodeId], attribute: AttributeIds) -> list[ua.DataValue]:
    values: list[ua.DataValue] = []
    for some in _chunks(nodes):
        values += await client.uaclient.read_attributes(list(some), attribute)
    return values


async def _children(
    client: Client,
    nodes: Sequence[ua.NodeId],
    reference: int = ObjectIds.HierarchicalReferences,
) -> list[list[ua.ReferenceDescription]]:
    """Objects and variables one step below each node; properties only when they are asked for."""
    result: list[list[ua.ReferenceDescription]] = []
    for some in _chunks(nodes):
        asked = ua.BrowseParameters()
        asked.View = ua.ViewDescription()
        asked.View.Timestamp = ua.get_win_epoch()
        for node in some:
            step = ua.BrowseDescription()
            step.NodeId = node
            step.BrowseDirection = ua.BrowseDirection.Forward
            step.ReferenceTypeId = ua.NodeId(ua.Int32(reference))
            step.IncludeSubtypes = True
            step.NodeClassMask = ua.UInt32(ua.NodeClass.Object | ua.NodeClass.Variable)
            step.ResultMask = ua.UInt32(ua.BrowseResultMask.All)
            asked.NodesToBrowse.append(step)
        for answer in await client.uaclient.browse(asked):
            references = list(answer.References or [])
            point = answer.ContinuationPoint
            while point:
                more = ua.BrowseNextParameters()
                more.ContinuationPoints = [point]
                (rest,) = await client.uaclient.browse_next(more)
                references += rest.References or []
                point = rest.ContinuationPoint
            result.append([ref for ref in references if _wanted(ref, reference)])
    return result


def _wanted(reference: ua.ReferenceDescription, asked: int) -> bool:
    return asked == ObjectIds.HasProperty or reference.ReferenceTypeId.Identifier != ObjectIds.HasProperty


def _chunks(nodes: Sequence[ua.NodeId]) -> Iterable[Sequence[ua.NodeId]]:
    return (nodes[i : i + _PER_REQUEST] for i in range(0, len(nodes), _PER_REQUEST))
