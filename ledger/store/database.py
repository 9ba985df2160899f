"""Where the ledger lives: a server, a schema, and the roles that may do things in it.

One ledger is one schema. Connections speak its types: UUIDs are canonical text, `numeric(38,9)` is Credits (whole
billionths), instants are aware and in UTC.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import psycopg
from psycopg import sql
from psycopg.adapt import Loader
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow, dict_row

from ledger.domain.credits import Credits, credits_from_column

OLDEST_SERVER_VERSION = 150000
POOL_SECONDS_MAX = 3.0
"""How long a pool lets somebody wait for a connection: that a database is away is told soon."""
RECONNECT_SECONDS_MAX = 2.0
"""How long a pool tries for one connection before it begins anew; left to itself, it pauses longer and longer."""
NETWORK = {"tcp_user_timeout": 10_000, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
"""A network that silently swallows packets is noticed in some 25 seconds; what the DSN says wins."""


SESSION = {"TimeZone": "UTC", "DateStyle": "ISO", "IntervalStyle": "postgres"}
"""How values are written as texts, whatever the server's or the account's settings are."""


class Role(StrEnum):
    """What a connection is allowed to do; each is a database role named after the schema."""

    OWNER = "owner"
    WRITER = "writer"
    PROJECTOR = "projector"
    READER = "reader"


class UnusableDatabase(Exception):
    """The database cannot hold a ledger, or not this one; the message says why and what to do."""


@dataclass(frozen=True)
class Database:
    """A ledger's address. `dsn` is a libpq connection string of an account that may take the roles."""

    dsn: str
    schema: str = "ledger"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z_][a-z0-9_]{0,39}", self.schema) or self.schema.startswith("pg_"):
            raise UnusableDatabase(f"schema {self.schema!r} must be a lower-case SQL name of at most 40 characters")

    def role_name(self, role: Role) -> str:
        return f"{self.schema}_{role}"

    def conninfo(self, role: Role | None, **settings: str) -> str:
        """Connection string that starts in the schema and in a role; without one, as the account itself."""
        options = {"search_path": self.schema} | SESSION | settings
        if role is not None:
            options["role"] = self.role_name(role)
        given = conninfo_to_dict(self.dsn).get("options") or ""
        network = {name: value for name, value in NETWORK.items() if name not in conninfo_to_dict(self.dsn)}
        ours = " ".join(f"-c {name}={_escape(value)}" for name, value in options.items())
        return make_conninfo(self.dsn, options=f"{given} {ours}".strip(), client_encoding="UTF8", **network)

    def connect(self, role: Role | None, **settings: str) -> "psycopg.Connection[DictRow]":
        """Open a connection; `settings` are session settings of the server by name."""
        connection = psycopg.connect(
            self.conninfo(role, **settings), autocommit=True, row_factory=dict_row, connect_timeout=10
        )
        adapt(connection)
        return connection


def adapt(connection: "psycopg.Connection[Any]") -> None:
    """Teach a connection the ledger's types."""
    if connection.info.server_version < OLDEST_SERVER_VERSION:
        connection.close()
        raise UnusableDatabase("the ledger needs PostgreSQL 15 or later")
    told = {name: connection.info.parameter_status(name) or "" for name in SESSION}
    for name, value in SESSION.items():
        if told[name].split(",")[0] != value:  # PGTZ and PGDATESTYLE of the environment win over a connection's options
            connection.execute(sql.SQL("SET {} = {}").format(sql.Identifier(name), sql.Literal(value)))
    connection.adapters.register_loader("uuid", _TextLoader)
    connection.adapters.register_loader("numeric", CreditsLoader)
    connection.adapters.register_loader("timestamptz", InstantLoader)


def idle(connection: "psycopg.Connection[Any]") -> bool:
    """Whether the connection is alive and in no transaction."""
    return not connection.closed and connection.info.transaction_status == TransactionStatus.IDLE


class _TextLoader(Loader):
    def load(self, data: "bytes | bytearray | memoryview") -> str:
        return bytes(data).decode()


class CreditsLoader(Loader):
    """numeric(38,9) as Credits. A numeric of another scale raises: it is not an amount of the ledger."""

    def load(self, data: "bytes | bytearray | memoryview") -> Credits:
        return credits_from_column(bytes(data).decode())


class InstantLoader(Loader):
    """timestamptz as an aware instant in UTC, straight from its text."""

    def load(self, data: "bytes | bytearray | memoryview") -> datetime:
        return datetime.fromisoformat(bytes(data).decode()).astimezone(UTC)


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace(" ", "\\ ")
