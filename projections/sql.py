"""The statements about builds of read models, by name; those that ask a read model are in its folder."""

from typing import LiteralString

from ledger.store.sql import statement


def query(name: str) -> LiteralString:
    """A text of projections/queries."""
    return statement("projections", f"queries/{name}.sql")
