"""What operators do with webhook endpoints. Whoever delivers is told, and begins anew with what is so by then."""

import asyncio
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from psycopg import Connection, sql
from psycopg.rows import DictRow

from ledger.domain.refusals import InvalidArgument
from ledger.domain.values import TEXT_CHARACTERS_MAX, text_of
from ledger.store.database import Database, Role
from service.feed.messages import Filter
from service.feed.wire import MESSAGES
from service.webhooks.bell import changes_channel
from service.webhooks.book import query
from service.webhooks.refusals import TooManyWebhookEndpoints, WebhookEndpointNotFound
from service.webhooks.signatures import SIGNING_MAX, Secret, new_secret
from service.webhooks.targets import Resolver, checked_addresses, checked_url, resolve

ENDPOINTS_MAX = 100
FILTERED_MAX = 1000
OVERLAP_HOURS_MAX = 24 * 30
BY_AN_OPERATOR = "an operator has disabled it"


class Standing(NamedTuple):
    """An endpoint, and how it is getting on.

    `lag` events are not looked through yet; messages are waiting and parked, `failing` holders' are not taken at
    present, and `error` says why those are not, or else why the last one was parked.
    """

    id: str
    url: str
    description: str
    types: Sequence[str]
    holders: Sequence[str]
    currencies: Sequence[str]
    position: int
    created_at: datetime
    disabled_at: datetime | None
    disabled_why: str | None
    lag: int
    waiting: int
    parked: int
    failing: int
    error: str | None

    @property
    def state(self) -> str:
        if self.disabled_at is not None:
            return "disabled"
        return "failing" if self.failing else "enabled"


class ParkedMessage(NamedTuple):
    position: int
    holder: str
    attempts: int
    parked_at: datetime
    error: str | None


class LoggedAttempt(NamedTuple):
    """`attempt` counts those of one message; an attempt without an error delivered it."""

    attempted_at: datetime
    position: int
    attempt: int
    status: int | None
    milliseconds: int
    error: str | None


class Backlog(NamedTuple):
    """Of all endpoints: messages that wait, messages that are parked, and holders whose are not taken at present."""

    waiting: int
    parked: int
    failing: int


def create_endpoint(
    database: Database,
    *,
    url: str,
    wanted: Filter,
    description: str = "",
    first: int | None = None,
    private_targets: bool = False,
    resolver: Resolver = resolve,
) -> tuple[Standing, str]:
    """An endpoint that is called from position `first` on, or with what comes from now on; and its secret, shown once.

    Refuses: InvalidArgument, WebhookTargetForbidden, TooManyWebhookEndpoints.
    """
    _check_target(url, private_targets, resolver)
    _check_filter(wanted)
    if description:
        text_of(description, field="description", characters_max=TEXT_CHARACTERS_MAX)
    endpoint_id, secret, now = f"webhook-{secrets.token_hex(6)}", new_secret(), datetime.now(UTC)
    with _changing(database) as connection:
        row = connection.execute(query("count_endpoints")).fetchone()
        if row is not None and row["endpoints"] >= ENDPOINTS_MAX:
            raise TooManyWebhookEndpoints(ENDPOINTS_MAX)
        head = _head(connection)
        columns = {name: sorted(each) for name, each in wanted._asdict().items()}
        position = head if first is None else _position(first, head + 1) - 1
        values = {"id": endpoint_id, "url": url, "description": description, "position": position, "now": now}
        connection.execute(query("add_endpoint"), values | columns)
        connection.execute(query("add_secret"), {"id": endpoint_id, "secret": secret, "now": now})
        return _standing(connection, endpoint_id), secret


def endpoints(database: Database) -> list[Standing]:
    """Every endpoint, oldest first."""
    with database.connect(Role.WRITER) as connection:
        return [Standing(**row) for row in connection.execute(query("standings"), {"id": None})]


def somebody_delivers(database: Database) -> bool:
    """Whether some process delivers at present."""
    with database.connect(Role.WRITER) as connection:
        return connection.execute(query("somebody_delivers")).fetchone() is not None


def backlog(connection: Connection[DictRow]) -> Backlog:
    row = connection.execute(query("backlog")).fetchone()
    assert row is not None
    return Backlog(**row)


def endpoint(database: Database, endpoint_id: str) -> tuple[Standing, Sequence[Secret]]:
    """One endpoint, and what its messages are signed with. Refuses: WebhookEndpointNotFound."""
    with database.connect(Role.WRITER) as connection:
        standing = _standing(connection, endpoint_id)
        found = connection.execute(query("secrets"), {"id": endpoint_id, "limit": SIGNING_MAX})
        now = datetime.now(UTC)
        return standing, [secret for secret in (Secret(**row) for row in found) if secret.good(now)]


def rotate_secret(database: Database, endpoint_id: str, *, overlap: timedelta) -> tuple[Standing, str]:
    """A new secret, shown once; the ones before sign too until the overlap ends. Refuses: WebhookEndpointNotFound."""
    secret, now = new_secret(), datetime.now(UTC)
    named = {"id": endpoint_id, "now": now}
    with _changing(database, endpoint_id) as connection:
        connection.execute(query("retire_secrets"), {**named, "until": now + overlap})
        connection.execute(query("forget_secrets"), named)
        connection.execute(query("add_secret"), {**named, "secret": secret})
        return _standing(connection, endpoint_id), secret


def disable_endpoint(database: Database, endpoint_id: str) -> Standing:
    """Call it no more; what it would have been told waits in the log. Refuses: WebhookEndpointNotFound."""
    with _changing(database, endpoint_id) as connection:
        values = {"id": endpoint_id, "revision": None, "now": datetime.now(UTC), "why": BY_AN_OPERATOR}
        connection.execute(query("disable"), values)
        return _standing(connection, endpoint_id)


def enable_endpoint(database: Database, endpoint_id: str) -> Standing:
    """Call it again, from where it was disabled. Refuses: WebhookEndpointNotFound."""
    with _changing(database, endpoint_id) as connection:
        connection.execute(query("enable"), {"id": endpoint_id})
        return _standing(connection, endpoint_id)


def delete_endpoint(database: Database, endpoint_id: str) -> Standing:
    """Forget it, with what waits and what was parked; how it stood. Refuses: WebhookEndpointNotFound."""
    with _changing(database, endpoint_id) as connection:
        standing = _standing(connection, endpoint_id)
        connection.execute(query("delete"), {"id": endpoint_id})
        return standing


def replay_from(database: Database, endpoint_id: str, first: int) -> Standing:
    """Send everything that it wants from a position on, again and in order, whatever became of it.

    Refuses: WebhookEndpointNotFound, InvalidArgument.
    """
    with _changing(database, endpoint_id) as connection:
        named = {"id": endpoint_id, "first": _position(first, _head(connection))}
        for step in ("go_back", "forget_messages", "forget_troubles"):
            connection.execute(query(step), named)
        return _standing(connection, endpoint_id)


def replay_parked(database: Database, endpoint_id: str) -> tuple[Standing, int]:
    """Send what was parked, and how many that are, before what waits for the same holder.

    Refuses: WebhookEndpointNotFound.
    """
    with _changing(database, endpoint_id) as connection:
        count = connection.execute(query("unpark"), {"id": endpoint_id}).rowcount
        connection.execute(query("forget_troubles"), {"id": endpoint_id})
        return _standing(connection, endpoint_id), count


def parked_messages(database: Database, endpoint_id: str, limit: int) -> list[ParkedMessage]:
    """The first of what was given up, in order. Refuses: WebhookEndpointNotFound."""
    with database.connect(Role.WRITER) as connection:
        _standing(connection, endpoint_id)
        rows = connection.execute(query("parked"), {"id": endpoint_id, "limit": limit})
        return [ParkedMessage(**row) for row in rows]


def logged_attempts(database: Database, endpoint_id: str, limit: int, *, failed: bool = False) -> list[LoggedAttempt]:
    """The last attempts, or the last that failed, newest first. Refuses: WebhookEndpointNotFound."""
    with database.connect(Role.WRITER) as connection:
        _standing(connection, endpoint_id)
        rows = connection.execute(query("attempts"), {"id": endpoint_id, "limit": limit, "failed": failed})
        return [LoggedAttempt(**row) for row in rows]


@contextmanager
def _changing(database: Database, endpoint_id: str | None = None) -> Iterator[Connection[DictRow]]:
    """A transaction that changes an endpoint, which must be there; then whoever delivers is told."""
    with database.connect(Role.WRITER) as connection:
        with connection.transaction():
            if endpoint_id is not None and not connection.execute(query("change"), {"id": endpoint_id}).rowcount:
                raise WebhookEndpointNotFound(endpoint_id)
            yield connection
        connection.execute(sql.SQL("NOTIFY {}").format(sql.Identifier(changes_channel(database))))


def _standing(connection: Connection[DictRow], endpoint_id: str) -> Standing:
    row = connection.execute(query("standings"), {"id": endpoint_id}).fetchone()
    if row is None:
        raise WebhookEndpointNotFound(endpoint_id)
    return Standing(**row)


def _head(connection: Connection[DictRow]) -> int:
    row: Any = connection.execute(query("head")).fetchone()
    return int(row["head"])


def _position(first: int, most: int) -> int:
    if not 1 <= first <= most:
        raise InvalidArgument("first", f"must be a position from 1 to {most}")
    return first


def _check_target(text: str, private_targets: bool, resolver: Resolver) -> None:
    url = checked_url(text, private_targets=private_targets)
    try:
        asyncio.run(checked_addresses(url, private_targets=private_targets, resolver=resolver))
    except (OSError, UnicodeError) as error:
        raise InvalidArgument("url", f"names a host that is not found: {error}") from None


def _check_filter(wanted: Filter) -> None:
    for name, texts in wanted._asdict().items():
        if len(texts) > FILTERED_MAX:
            raise InvalidArgument(name, f"must be given at most {FILTERED_MAX} times")
        for text in texts:
            text_of(text, field=name)
    for topic in wanted.types:
        if topic not in MESSAGES:
            raise InvalidArgument("types", f"must be of {', '.join(sorted(MESSAGES))}")
