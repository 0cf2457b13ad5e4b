"""Reads Bicep files and evaluates the part of the language that infra/ computes names and settings with."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import tree_sitter
import tree_sitter_bicep

INFRA = Path(__file__).resolve().parent.parent / "infra"
Node = Any
_PARSER = tree_sitter.Parser(tree_sitter.Language(tree_sitter_bicep.language()))
_ESCAPES = {"\\'": "'", "\\n": "\n", "\\t": "\t", "\\\\": "\\", "\\$": "$"}


def text(node: Node) -> str:
    return str(node.text.decode())


def descend(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from descend(child)


def of_type(node: Node, *types: str) -> list[Node]:
    return [child for child in node.named_children if child.type in types]


class Unknown:
    """What is known only once something is deployed; it reads as the expression that stands for it."""

    def __init__(self, expression: str) -> None:
        self.expression = expression

    def __str__(self) -> str:
        return f"<{self.expression}>"


class Template:
    """One Bicep file. `given` are the values of its parameters, and of anything else that it names."""

    def __init__(self, path: Path, **given: Any) -> None:
        self.root = _PARSER.parse(path.read_bytes()).root_node
        self.given = given
        self.resources: dict[str, tuple[str, Node]] = {}
        self._values: dict[str, Node] = {}
        self._functions: dict[str, Node] = {}
        self.outputs: dict[str, Node] = {}
        self.parameters: dict[str, bool] = {}  # whether it has a default
        self.types: dict[str, Node] = {}
        for node in self.root.named_children:
            self._declare(node)

    def _declare(self, node: Node) -> None:
        names = of_type(node, "identifier", "compatible_identifier")
        name = text(names[0]) if names else ""
        if node.type == "variable_declaration":
            self._values[name] = node.named_children[-1]
        elif node.type == "parameter_declaration":
            self.parameters[name] = any(text(child) == "=" for child in node.children)
            if self.parameters[name]:
                self._values[name] = node.named_children[-1]
        elif node.type == "user_defined_function":
            self._functions[name] = node
        elif node.type == "output_declaration":
            self.outputs[name] = node.named_children[-1]
        elif node.type == "type_declaration":
            self.types[name] = node.named_children[-1]
        elif node.type == "resource_declaration":
            kind = text(of_type(node, "string")[0]).strip("'").partition("@")[0]
            if not any(child.type == "existing" for child in node.children):
                self.resources[name] = (kind, _body(node))
        elif node.type.startswith("import"):
            shared = Template(INFRA / "types.bicep")
            self._functions |= shared._functions

    def variable(self, name: str) -> Any:
        return self._name(name, {})

    def output(self, name: str) -> Any:
        return self.value(self.outputs[name], {})

    def call(self, name: str, *arguments: Any) -> Any:
        function = self._functions[name]
        parameters = of_type(of_type(function, "parameters")[0], "parameter")
        names = [text(of_type(each, "identifier")[0]) for each in parameters]
        return self.value(function.named_children[-1], dict(zip(names, arguments, strict=True)))

    def _name(self, name: str, scope: Mapping[str, Any]) -> Any:
        for known in (scope, self.given):
            if name in known:
                return known[name]
        if name in self._values:
            return self.value(self._values[name], {})
        return Unknown(name)

    def value(self, node: Node, scope: Mapping[str, Any]) -> Any:
        """The value of an expression. What cannot be known is an `Unknown`."""
        children = [child for child in node.named_children if child.type != "comment"]
        match node.type:
            case "string":
                return "".join(str(self._part(part, scope)) for part in children)
            case "number":
                return int(text(node))
            case "boolean":
                return text(node) == "true"
            case "null":
                return None
            case "identifier":
                return self._name(text(node), scope)
            case "array":
                return [self.value(child, scope) for child in children]
            case "object":
                return {
                    self._key(pair.named_children[0], scope): self.value(
                        pair.named_children[-1], scope
                    )
                    for pair in children
                }
            case "parenthesized_expression":
                return self.value(children[0], scope)
            case "ternary_expression":
                chosen = 1 if self.value(children[0], scope) else 2
                return self.value(children[chosen], scope)
            case "member_expression":
                return self._member(node, children, scope)
            case "unary_expression":
                return not self.value(children[0], scope)
            case "binary_expression":
                return self._binary(node, children, scope)
            case "lambda_expression":
                return self._lambda(children, scope)
            case "call_expression":
                return self._called(node, children, scope)
        raise NotImplementedError(f"{node.type}: {text(node)}")

    def _part(self, part: Node, scope: Mapping[str, Any]) -> Any:
        if part.type == "interpolation":
            return self.value(part.named_children[0], scope)
        return _ESCAPES.get(text(part), text(part))

    def _key(self, key: Node, scope: Mapping[str, Any]) -> str:
        return str(self.value(key, scope)) if key.type == "string" else text(key)

    def _member(self, node: Node, children: list[Node], scope: Mapping[str, Any]) -> Any:
        owner = self.value(children[0], scope)
        if isinstance(owner, Unknown):
            return Unknown(text(node))
        return owner.get(text(children[-1]))

    def _binary(self, node: Node, children: list[Node], scope: Mapping[str, Any]) -> Any:
        left, right = (self.value(child, scope) for child in children)
        match text(node.children[1]):
            case "??":
                return right if left is None else left
            case "==":
                return left == right
            case ">":
                return left > right
        raise NotImplementedError(text(node))

    def _lambda(self, children: list[Node], scope: Mapping[str, Any]) -> Callable[[Any], Any]:
        name, body = text(children[0]), children[-1]
        return lambda argument: self.value(body, {**scope, name: argument})

    def _called(self, node: Node, children: list[Node], scope: Mapping[str, Any]) -> Any:
        name = text(children[0])
        arguments = [self.value(child, scope) for child in children[-1].named_children]
        if name in self._functions:
            return self.call(name, *arguments)
        if name not in _FUNCTIONS:
            return Unknown(text(node))
        return _FUNCTIONS[name](*arguments)


def _body(declaration: Node) -> Node:
    """The object of a resource, past any `if` or `for`."""
    node = declaration.named_children[-1]
    while node.type != "object":
        node = node.child_by_field_name("body") or node.named_children[-1]
    return node


def _unique_string(*parts: Any) -> str:
    """Thirteen letters and digits, as Azure makes them, if not the same ones."""
    digest = hashlib.sha256("|".join(str(part) for part in parts).encode()).digest()
    return "".join("abcdefghijklmnopqrstuvwxyz234567"[byte % 32] for byte in digest[:13])


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "concat": lambda *lists: [item for each in lists for item in each],
    "contains": lambda whole, part: part in whole,
    "empty": lambda value: not value,
    "filter": lambda items, fits: [item for item in items if fits(item)],
    "join": lambda items, by: by.join(items),
    "length": len,
    "map": lambda items, change: [change(item) for item in items],
    "replace": str.replace,
    "range": lambda first, count: list(range(first, first + count)),
    "resourceGroup": lambda: {"id": "/subscriptions/s/resourceGroups/g", "name": "g"},
    "subscriptionResourceId": lambda kind, name: name,
    "substring": lambda whole, start, length: whole[start : start + length],
    "take": lambda whole, count: whole[:count],
    "toLower": str.lower,
    "union": lambda *objects: {
        key: value
        for each in objects
        for key, value in (each if isinstance(each, dict) else {}).items()
    },
    "uniqueString": _unique_string,
}


@cache
def files() -> dict[str, Template]:
    """The templates by their names, without values for their parameters."""
    return {path.stem: Template(path) for path in sorted(INFRA.rglob("*.bicep"))}
