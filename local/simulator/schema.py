"""A small value that satisfies a JSON schema, with recognisable strings in it."""

from typing import Any

from local.simulator.refusals import invalid

_DEEP = 4
_DEEPEST = 24
_FORMATS = {
    "date-time": "2025-01-01T00:00:00Z",
    "date": "2025-01-01",
    "time": "00:00:00Z",
    "duration": "PT1S",
    "email": "simulated@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uri": "https://example.com/simulated",
}


def instance(schema: Any) -> Any:
    """A small value that fits; what is no schema at all is refused."""
    try:
        return _instance(schema, schema, 0)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        raise invalid("Invalid schema.", code="invalid_schema") from None


def _instance(schema: Any, root: Any, depth: int) -> Any:
    """Optional members, items and recursive branches are left out below a few levels."""
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return "simulated"
    if "$ref" in schema:
        return _instance(_resolve(schema["$ref"], root), root, depth + 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for union in ("anyOf", "oneOf"):
        if schema.get(union):
            return _instance(_branch(schema[union], depth), root, depth + 1)
    if schema.get("allOf"):
        return _instance(_merged(schema, root), root, depth + 1)
    return _of_type(_type(schema), schema, root, depth)


def _type(schema: dict[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((name for name in kind if name != "null"), "null")
    if isinstance(kind, str):
        return kind
    return "object" if "properties" in schema else "array" if "items" in schema else "string"


def _of_type(kind: str, schema: dict[str, Any], root: Any, depth: int) -> Any:
    if kind == "object":
        return _object(schema, root, depth)
    if kind == "array":
        return _array(schema, root, depth)
    if kind == "string":
        return _string(schema)
    if kind in ("integer", "number"):
        return _number(schema)
    return True if kind == "boolean" else None


def _object(schema: dict[str, Any], root: Any, depth: int) -> dict[str, Any]:
    required = schema.get("required", ())
    return {
        name: _instance(member, root, depth + 1)
        for name, member in schema.get("properties", {}).items()
        if name in required or depth < _DEEP
    }


def _array(schema: dict[str, Any], root: Any, depth: int) -> list[Any]:
    first = schema.get("prefixItems", [])
    length = max(schema.get("minItems", 0), 1 if depth < _DEEP else 0, len(first))
    length = min(length, schema.get("maxItems", length))
    shapes = [*first, *[schema.get("items", {})] * length][:length]
    return [_instance(shape, root, depth + 1) for shape in shapes]


def _string(schema: dict[str, Any]) -> str:
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    text = "simulated".ljust(schema.get("minLength", 0), ".")
    return text[: schema.get("maxLength", len(text))]


def _number(schema: dict[str, Any]) -> Any:
    """The smallest allowed number, else 1 or the largest allowed one."""
    step = schema.get("multipleOf", 1)
    if "minimum" in schema:
        return -(-schema["minimum"] // step) * step
    if "exclusiveMinimum" in schema:
        return (schema["exclusiveMinimum"] // step + 1) * step
    if "maximum" in schema:
        return min(step, schema["maximum"] // step * step)
    if "exclusiveMaximum" in schema:
        return min(step, (-(-schema["exclusiveMaximum"] // step) - 1) * step)
    return step


def _resolve(reference: str, root: Any) -> Any:
    found = root
    for name in reference.removeprefix("#").strip("/").split("/"):
        if name and isinstance(found, dict):
            found = found.get(name.replace("~1", "/").replace("~0", "~"))
    return found


def _branch(branches: list[Any], depth: int) -> Any:
    """The first branch; far down the plainest one, so that recursive schemas come to an end."""
    if depth < _DEEP:
        return branches[0]
    return min(branches, key=lambda branch: ("$ref" in branch, branch.get("type") != "null"))


def _merged(schema: dict[str, Any], root: Any) -> dict[str, Any]:
    whole = {name: value for name, value in schema.items() if name != "allOf"}
    for part in schema["allOf"]:
        part = _resolve(part["$ref"], root) if "$ref" in part else part
        properties = {**whole.get("properties", {}), **part.get("properties", {})}
        required = [*whole.get("required", ()), *part.get("required", ())]
        whole = {**whole, **part, "required": required}
        if properties:
            whole["properties"] = properties
    return whole
