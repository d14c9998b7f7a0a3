"""All topics and what is in them, as an AsyncAPI document.

FastStream's own document knows the brokers and no more than the seats in the groups; channels,
messages, headers and schemas come from the files under `topics/`, which are the contract.
"""

from collections.abc import Mapping
from typing import Any, Literal

from faststream.kafka import KafkaBroker
from faststream.specification import AsyncAPI

from hunch import __version__
from hunch.kafka.topic_specs import HeaderSpec, TopicSpec, load_specs
from hunch.settings import Settings

Action = Literal["send", "receive"]
JsonObject = dict[str, Any]

ACTIONS: Mapping[str, tuple[Action, ...]] = {
    "messages": ("receive",),
    "deferrals": ("send", "receive"),
    "slow-results": ("send", "receive"),
    "late-results": ("send",),
    "decisions": ("send",),
    "dead-letters": ("send",),
    "control": ("receive",),
}
"""What Hunch does with each topic; on one that it also receives, others may write."""
DESCRIPTION = (
    "Hunch answers every record of `messages` with exactly one on `decisions`. P is the number of "
    "partitions of `messages`; what is derived from partition p goes to partition p, if nothing "
    "else is said."
)


def document(settings: Settings, broker: KafkaBroker) -> JsonObject:
    """The document for the topics of these settings, in AsyncAPI 3."""
    own = AsyncAPI(broker, title="Hunch", version=__version__, description=DESCRIPTION)
    shown: JsonObject = own.to_specification().to_jsonable()
    schemas: JsonObject = {}
    messages, channels, operations = {}, {}, {}
    for logical, spec in load_specs().items():
        messages[logical] = _message(spec, schemas)
        channels[logical] = {
            "address": settings.topic(logical),
            "description": f"{spec.description} {_shape(spec)}",
            "servers": [_ref("servers", name) for name in shown["servers"]],
            "messages": {logical: _ref("components", "messages", logical)},
            "bindings": {"kafka": {"topic": settings.topic(logical), "bindingVersion": "0.5.0"}},
        }
        for action in ACTIONS[logical]:
            operations[f"{action}-{logical}"] = {
                "action": action,
                "channel": _ref("channels", logical),
                "messages": [_ref("channels", logical, "messages", logical)],
            }
    components = shown["components"] | {"messages": messages, "schemas": schemas}
    return shown | {"channels": channels, "operations": operations, "components": components}


def _message(spec: TopicSpec, schemas: JsonObject) -> JsonObject:
    required = [name for name, header in spec.headers.items() if header.required]
    headers: JsonObject = {
        "type": "object",
        "properties": {
            name: _header(f"{spec.name}.{name}", header, schemas)
            for name, header in spec.headers.items()
        },
    }
    schemas[spec.name] = _hoisted(spec.name, spec.value, schemas)
    return {
        "name": spec.name,
        "title": spec.name,
        "summary": spec.description,
        "headers": headers | ({"required": required} if required else {}),
        "payload": _ref("components", "schemas", spec.name),
        "bindings": {
            "kafka": {
                "key": {"type": "string", "description": spec.key},
                "bindingVersion": "0.5.0",
            }
        },
    }


def _header(name: str, header: HeaderSpec, schemas: JsonObject) -> JsonObject:
    if header.schema_of_json is None:
        return {"type": "string", "description": header.description}
    shown = _hoisted(name, header.schema_of_json, schemas)
    return shown | {"description": f"{header.description} As JSON."}


def _hoisted(name: str, schema: Mapping[str, Any], schemas: JsonObject) -> JsonObject:
    """A schema whose parts of its own stand with the others: references begin at the document."""
    parts = schema.get("$defs", {})
    for part, of_part in parts.items():
        schemas[f"{name}.{part}"] = _moved(name, of_part)
    kept = {key: value for key, value in schema.items() if key not in {"$schema", "$defs"}}
    moved: JsonObject = _moved(name, kept)
    return moved


def _moved(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            key: f"#/components/schemas/{name}.{at.rpartition('/')[2]}"
            if key == "$ref" and isinstance(at, str)
            else _moved(name, at)
            for key, at in value.items()
        }
    return [_moved(name, part) for part in value] if isinstance(value, list) else value


def _shape(spec: TopicSpec) -> str:
    kept = "compacted" if spec.retention_days is None else f"kept {spec.retention_days} days"
    return f"Partitions: {spec.partitions}; {kept}, unless set up otherwise."


def _ref(*path: str) -> dict[str, str]:
    return {"$ref": f"#/{'/'.join(path)}"}
