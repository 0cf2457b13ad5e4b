"""What the API answers: a dict whose members are attributes too."""

import json
from typing import Any


class OpenAIObject(dict[str, Any]):
    """A JSON object; those inside it are of this class as well.

    A member that is named like a method of dict is reached as an item only.
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __str__(self) -> str:
        return json.dumps(self, indent=2)

    def __repr__(self) -> str:
        words = [type(self).__name__, self.get("object"), self.get("id") and f"id={self['id']}"]
        return f"<{' '.join(filter(None, words))}> JSON: {self}"

    def to_dict(self) -> dict[str, Any]:
        """A plain dict; the objects inside stay what they are."""
        return dict(self)

    def to_dict_recursive(self) -> dict[str, Any]:
        """A plain dict of plain dicts and lists."""
        return {name: _plain(value) for name, value in self.items()}


def parse(text: bytes | str) -> Any:
    """The JSON value, its objects as OpenAIObject. Raises ValueError."""
    return json.loads(text, object_hook=OpenAIObject)


def _plain(value: Any) -> Any:
    if isinstance(value, OpenAIObject):
        return value.to_dict_recursive()
    return [_plain(item) for item in value] if isinstance(value, list) else value
