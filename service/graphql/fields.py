"""Fields of wire types, each a question to the row that stands behind the object."""

from collections.abc import Callable
from typing import Any

import strawberry


def shows(read: Callable[[Any], Any], description: str | None = None) -> Any:
    """A field of the annotated type that shows what `read` finds on the object."""

    def resolve(root: strawberry.Parent[Any]):  # type: ignore[no-untyped-def]  # the annotation tells
        return read(root)

    return strawberry.field(resolver=resolve, description=description)
