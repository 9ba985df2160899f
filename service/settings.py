"""Settings from the environment: read once, each with a default or a reason to be given, unknown names refused."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from ledger.store.clock import Clock, database_clock, settable_clock
from ledger.store.database import Database, UnusableDatabase
from service.embedded_postgres import default_data_folder
from service.webhooks.schedule import THREE_DAYS_SECONDS

PREFIX = "LEDGER_"
OF_THE_TESTS = frozenset({"LEDGER_TEST_DATABASE_URL"})
"""Names of this prefix that are somebody else's to read."""
MASK = "********"
BOUNDS = {
    "port": "from 0 to 65535",
    "execution_requests_per_minute": "from 1 to 1000000",
    "rule_requests_per_second": "from 1 to 1000000",
    "rule_requests_burst": "from 1 to 1000000",
    "webhook_retry_seconds": "from 1 to 2592000",
}
"""Of the settings that are numbers."""
SECRETS_OF_A_DSN = ("password", "sslpassword", "scram_client_key", "scram_server_key", "oauth_client_secret")


class SettingsError(Exception):
    """The environment cannot be used as it is; the message names every setting at fault."""


class Settings(BaseModel):
    """What can be set. Each field is read from LEDGER_ and its name in capitals."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    database_url: str | None = Field(None, description="connection string of PostgreSQL 15 or later; none: embedded")
    schema_name: str = Field("ledger", alias="schema", description="the schema that holds this ledger")
    data_dir: Path = Field(
        default_factory=default_data_folder, description="where the embedded PostgreSQL keeps its data"
    )
    host: str = Field("127.0.0.1", min_length=1, description="the address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="the port to listen on; 0: any that is free")
    admin_key: str | None = Field(None, description="if set, this is an admin key")
    execution_requests_per_minute: int = Field(
        1200, ge=1, le=1_000_000, description="requests about execution credits that a key may send to each process"
    )
    rule_requests_per_second: int = Field(
        100, ge=1, le=1_000_000, description="requests about allocation rules that a key may go on sending each process"
    )
    rule_requests_burst: int = Field(
        1000, ge=1, le=1_000_000, description="how many of them it may send at once after a pause"
    )
    webhook_retry_seconds: int = Field(
        THREE_DAYS_SECONDS, ge=1, le=2_592_000, description="how long a webhook that fails is tried before it is parked"
    )
    webhook_private_targets: bool = Field(
        False, description="1: webhooks may go to private and loopback addresses, and by http"
    )
    test_clock: bool = Field(False, description="1: time stands still and is set through /test/clock")

    @field_validator("database_url")
    @classmethod
    def _is_a_connection_string(cls, value: str) -> str:
        """A password with an unescaped @ or / would end up as host or port, and be shown as such."""
        try:
            parts = conninfo_to_dict(value)
        except ProgrammingError:
            raise ValueError("is not a PostgreSQL connection string") from None
        if "@" in str(parts.get("host", "")) or not re.fullmatch(r"[0-9,]*", str(parts.get("port", ""))):
            raise ValueError("is not a PostgreSQL connection string: in a URI, write @ as %40 and / as %2F")
        return value

    @field_validator("schema_name")
    @classmethod
    def _can_be_a_schema(cls, value: str) -> str:
        try:
            Database("", value)
        except UnusableDatabase as error:
            raise ValueError(str(error)) from None
        return value

    @field_validator("admin_key")
    @classmethod
    def _can_be_a_header(cls, value: str) -> str:
        if not value.isascii() or not value.isprintable() or value != value.strip() or len(value) > 255:
            raise ValueError("must be at most 255 printable ASCII characters without spaces around them")
        return value

    @field_validator(*BOUNDS, mode="before")
    @classmethod
    def _is_plain_digits(cls, value: object, about: ValidationInfo) -> object:
        if isinstance(value, str) and not (value.isascii() and value.isdigit()):
            raise ValueError(f"must be a number {BOUNDS[about.field_name or '']}")
        return value

    @field_validator("webhook_private_targets", "test_clock", mode="before")
    @classmethod
    def _is_one_or_nothing(cls, value: object) -> object:
        if value not in ("0", "1", True, False):
            raise ValueError("must be 1 or 0")
        return value in ("1", True)

    def clock(self) -> Clock:
        """The ledger's one clock."""
        return settable_clock() if self.test_clock else database_clock()


class Shown(NamedTuple):
    """One setting for people: secrets are masked."""

    name: str
    value: str | None
    source: str
    meaning: str


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the environment, or raise SettingsError with everything that is wrong with it. Empty means not set."""
    given = _given(environment)
    fields = {_name(field): field for field in Settings.model_fields}
    problems = [f"{name} is not a setting; there are {', '.join(fields)}" for name in given if name not in fields]
    try:
        settings = Settings.model_validate(
            {_key(fields[name]): value for name, value in given.items() if name in fields}
        )
    except ValidationError as error:
        problems += [f"{PREFIX}{str(each['loc'][0]).upper()} {_reason(each['msg'])}" for each in error.errors()]
    if problems:
        raise SettingsError("\n".join(problems))
    return settings


def shown(settings: Settings, environment: Mapping[str, str] | None = None) -> Iterator[Shown]:
    """Every setting with its value and where the value is from."""
    given = _given(environment)
    for field, about in Settings.model_fields.items():
        name = _name(field)
        value = getattr(settings, field)
        if isinstance(value, bool):
            value = int(value)
        text = None if value is None else str(value)
        if text is not None and field == "database_url":
            text = _without_password(text)
        elif text is not None and field == "admin_key":
            text = MASK
        yield Shown(name, text, "environment" if name in given else "default", about.description or "")


def _given(environment: Mapping[str, str] | None) -> dict[str, str]:
    every = os.environ if environment is None else environment
    return {
        name: value for name, value in every.items() if name.startswith(PREFIX) and name not in OF_THE_TESTS and value
    }


def _key(field: str) -> str:
    return Settings.model_fields[field].alias or field


def _name(field: str) -> str:
    return PREFIX + _key(field).upper()


def _reason(message: str) -> str:
    return message.removeprefix("Value error, ")


def _without_password(dsn: str) -> str:
    masked = {name: MASK for name in SECRETS_OF_A_DSN if conninfo_to_dict(dsn).get(name)}
    return make_conninfo(dsn, **masked)
