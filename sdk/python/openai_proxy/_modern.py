"""Makes exceptions that are also those of openai 1.x or newer, where it is installed."""

from collections.abc import Callable
from types import ModuleType
from typing import TypeVar

openai: ModuleType | None
try:
    import openai
except ImportError:
    openai = None

E = TypeVar("E", bound=Exception)


def also(name: str) -> Callable[[type[E]], type[E]]:
    """Makes a class a subclass of openai's class of this name too, and a name of `openai_proxy.error`.

    Those classes' own constructors are not called: they differ from version to version.
    """
    modern = getattr(openai, name, None)

    def extend(own: type[E]) -> type[E]:
        bases = (own, modern) if modern else (own,)
        members = {"__doc__": own.__doc__, "__module__": "openai_proxy.error"}
        return type(own.__name__, bases, members)

    return extend
