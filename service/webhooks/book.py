"""What the tables keep of an endpoint, as whoever delivers reads and writes it: by the one session that may deliver."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, LiteralString, NamedTuple

from psycopg import Connection
from psycopg.rows import DictRow

from ledger.store.sql import statement
from service.feed.messages import Filter, Message
from service.webhooks.lanes import Waiting
from service.webhooks.post import Outcome
from service.webhooks.schedule import Trouble
from service.webhooks.signatures import SIGNING_MAX, Secret


class Outdated(Exception):
    """An operator has changed the endpoint, or it is gone: what is known of it holds no more."""


class Endpoint(NamedTuple):
    """An endpoint as it is at one revision, and what waits for it."""

    id: str
    url: str
    wanted: Filter
    position: int
    revision: int
    parked: int
    secrets: Sequence[Secret]
    waiting: Sequence[tuple[str, Waiting]]
    """With their holders, in order."""
    troubles: Mapping[str, Trouble]


def query(name: str) -> LiteralString:
    return statement("service", f"queries/webhooks/{name}.sql")


def may_deliver(connection: Connection[DictRow]) -> bool:
    """Whether this session is the one that delivers, from now on as long as it lives."""
    row = connection.execute(query("deliver")).fetchone()
    return row is not None and bool(row["ours"])


def revisions(connection: Connection[DictRow]) -> dict[str, int]:
    """The endpoints that are to be delivered to, each with its revision."""
    return {row["id"]: row["revision"] for row in connection.execute(query("revisions"))}


def load(connection: Connection[DictRow], endpoint_id: str) -> Endpoint | None:
    """An endpoint and what waits for it, of one snapshot; None if there is nothing to be delivered to it any more."""
    named = {"id": endpoint_id}
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        row = connection.execute(query("endpoint"), named).fetchone()
        if row is None:
            return None
        secrets = [Secret(**each) for each in connection.execute(query("secrets"), {**named, "limit": SIGNING_MAX})]
        waiting = [
            (each["holder"], Waiting(each["position"], each["attempts"]))
            for each in connection.execute(query("waiting"), named)
        ]
        troubles = {
            each["holder"]: Trouble(each["attempts"], each["failing_seconds"], each["error"])
            for each in connection.execute(query("troubles"), named)
        }
    wanted = Filter(*(frozenset(row[name]) for name in Filter._fields))
    return Endpoint(
        row["id"], row["url"], wanted, row["position"], row["revision"], row["parked"], secrets, waiting, troubles
    )


def take(connection: Connection[DictRow], endpoint: Endpoint, until: int, messages: Sequence[Message]) -> None:
    """The log was looked through up to `until`, and these messages are to be delivered. Raises Outdated."""
    named = {"id": endpoint.id, "revision": endpoint.revision, "until": until}
    with connection.transaction():
        if connection.execute(query("advance"), named).rowcount != 1:
            raise Outdated
        if messages:
            columns = {"positions": [each.position for each in messages], "holders": [each.holder for each in messages]}
            connection.execute(query("add_messages"), {"id": endpoint.id, **columns})


def disable(connection: Connection[DictRow], endpoint: Endpoint, why: str) -> None:
    """Deliver no more, unless an operator has changed something meanwhile."""
    values = {"id": endpoint.id, "revision": endpoint.revision, "now": datetime.now(UTC), "why": why}
    connection.execute(query("disable"), values)


def prune_attempts(
    connection: Connection[DictRow], endpoint_id: str, before: datetime, limit: int, kept_max: int
) -> int:
    """Forget at most `limit` attempts that are too old or too many; how many that were."""
    named = {"id": endpoint_id, "before": before, "limit": limit, "kept_max": kept_max}
    return connection.execute(query("prune_attempts"), named).rowcount


class Attempt(NamedTuple):
    position: int
    attempt: int
    outcome: Outcome


class Failure(NamedTuple):
    """A message that was not taken; with an instant, it is parked."""

    position: int
    attempts: int
    error: str
    parked_at: datetime | None


class Notes:
    """What came of attempts and is not written yet."""

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self.delivered: list[int] = []
        self.failures: dict[int, Failure] = {}
        """The last one of each position."""
        self.troubles: dict[str, Trouble | None] = {}
        """By holder; None for those that are over."""

    def write(self, connection: Connection[DictRow], endpoint: Endpoint) -> None:
        """All of it in one transaction; of an endpoint that was changed meanwhile, only what was tried and taken.

        Raises Outdated if it is gone.
        """
        named = {"id": endpoint.id}
        with connection.transaction():
            row = connection.execute(query("there"), named).fetchone()
            if row is None:
                raise Outdated
            if row["revision"] != endpoint.revision:
                self.failures.clear()
                self.troubles = {holder: None for holder, each in self.troubles.items() if each is None}
            if self.attempts:
                connection.execute(query("add_attempts"), named | _attempts(self.attempts))
            if self.failures:
                names = ("positions", "attempts", "errors", "parked")
                connection.execute(query("failed"), named | _columns(names, list(self.failures.values())))
            if self.delivered:
                connection.execute(query("delivered"), {**named, "positions": self.delivered})
            lasting = [(holder, *each) for holder, each in self.troubles.items() if each is not None]
            if lasting:
                names = ("holders", "attempts", "seconds", "errors")
                connection.execute(query("keep_troubles"), named | _columns(names, lasting))
            over = [holder for holder, each in self.troubles.items() if each is None]
            if over:
                connection.execute(query("end_troubles"), {**named, "holders": over})


def _attempts(attempts: Iterable[Attempt]) -> dict[str, Any]:
    names = ("positions", "attempts", "instants", "milliseconds", "statuses", "errors")
    rows = [
        (each.position, each.attempt, told.attempted_at, told.milliseconds, told.status, told.error)
        for each in attempts
        for told in [each.outcome]
    ]
    return _columns(names, rows)


def _columns(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    """Rows as one list for each column."""
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
