"""Where a section measures: an embedded server of its own, or schemas of its own on a server that was given."""

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from ledger.store.database import Database, Role
from scripts.benchmark.processors import find_postmaster
from service.embedded_postgres import EmbeddedPostgres

NEVER_OFF = ("fsync", "full_page_writes", "synchronous_commit")
"""Settings of a server without which a commit may not outlive a power cut."""


class NotDurable(Exception):
    """The server may lose commits; what is measured on it would mean nothing."""


@dataclass(frozen=True)
class Place:
    """A server, and a name for schemas that nobody else uses."""

    dsn: str
    schema: str
    version: str
    postmaster: int | None
    """None for a server on another machine, whose processes cannot be seen."""

    def database(self, name: str | None = None) -> Database:
        """One ledger of this place; by a name, one of several."""
        return Database(self.dsn, self.schema if name is None else f"{self.schema}_{name}")


@contextmanager
def place(dsn: str | None) -> Iterator[Place]:
    """Raises NotDurable for a server that does not sync. Schemas and roles of the section are gone afterwards."""
    if dsn is None:
        with tempfile.TemporaryDirectory(prefix="ledger-bench-") as folder, EmbeddedPostgres(Path(folder)) as server:
            yield _found(server.dsn())
        return
    found = _found(dsn)
    try:
        yield found
    finally:
        _clear(found)


def _found(dsn: str) -> Place:
    with psycopg.connect(dsn, autocommit=True, connect_timeout=10) as connection:
        for name in NEVER_OFF:
            if _setting(connection, name) == "off":
                raise NotDurable(f"{name} is off on this server: a commit could be lost")
        version = _setting(connection, "server_version").split()[0]
    return Place(dsn, f"bench_{secrets.token_hex(4)}", version, find_postmaster(dsn))


def _setting(connection: "psycopg.Connection[tuple[object, ...]]", name: str) -> str:
    row = connection.execute(sql.SQL("SHOW {}").format(sql.Identifier(name))).fetchone()
    assert row is not None
    return str(row[0])


def _clear(place: Place) -> None:
    ours = {"ours": place.schema, "likeness": place.schema.replace("_", r"\_") + r"\_%"}
    with psycopg.connect(place.dsn, autocommit=True, connect_timeout=10) as connection:
        schemas = connection.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname = %(ours)s OR nspname LIKE %(likeness)s", ours
        ).fetchall()
        for (schema,) in schemas:
            connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(str(schema))))
            for role in Role:
                name = sql.Identifier(Database(place.dsn, str(schema)).role_name(role))
                connection.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(name))
