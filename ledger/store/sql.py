"""SQL from files: each statement lives in its own `.sql` file beside the code that runs it."""

from functools import cache
from importlib.resources import files
from typing import Any, LiteralString


@cache
def statement(package: str, name: str) -> LiteralString:
    """The text of `name` in `package`; SQL from our own files is as trusted as our own code."""
    text: Any = files(package).joinpath(name).read_text(encoding="utf-8")
    return text  # type: ignore[no-any-return]  # a file of ours, not a literal


def query(name: str) -> LiteralString:
    """A statement of the store by its file's name without the ending."""
    return statement("ledger.store", f"queries/{name}.sql")
