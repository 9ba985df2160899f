"""Accepted keys on their way into the log's database: as statements and by COPY, whatever texts they have."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from ledger.domain.values import Kind
from ledger.store.database import Database, Role
from ledger.store.side_tables import COPY_KEYS, AcceptedKey, copy_keys, send_keys
from ledger.store.wire import Wire
from tests.store.test_golden import STRANGE

BODY = '{"amount":"1.25","currency":"credits"}'
READ = """
SELECT holder, key, operation, kind, body, normaliser_version AS version, transaction_id AS transaction, position
FROM idempotency ORDER BY position"""


def by_statement(wire: Wire, keys: Sequence[AcceptedKey]) -> None:
    send_keys(wire, keys)
    wire.answers()


def by_copy(wire: Wire, keys: Sequence[AcceptedKey]) -> None:
    wire.copy_begin(COPY_KEYS)
    copy_keys(wire, keys)
    wire.copy_end()
    wire.copy_done()


def key(position: int, holder: str = "acme", name: str = "k", body: str = BODY) -> AcceptedKey:
    transaction_id = f"01900000-0000-7000-8000-{position:012}"
    return AcceptedKey((holder, f"{name}{position}", "consume", Kind.CREDIT_GRANT), body, 1, transaction_id, position)


@pytest.mark.parametrize("write", [by_statement, by_copy], ids=lambda write: write.__name__)
@pytest.mark.parametrize("text", STRANGE)
def test_a_key_is_kept_as_it_was_given(
    schema: Database, text: str, write: Callable[[Wire, Sequence[AcceptedKey]], None]
) -> None:
    keys = [key(1), key(2, holder=text), key(3, name=text), key(4, body=text), key(5, text, text, text)]
    for some in (keys, *([each] for each in keys)):
        assert kept(schema, some, write) == [
            (*each.scope, each.body, each.normaliser_version, each.transaction_id, each.position) for each in some
        ]


def kept(schema: Database, keys: Sequence[AcceptedKey], write: Callable[[Wire, Sequence[AcceptedKey]], None]) -> Any:
    """The rows that these keys become; afterwards there are none, as before."""
    with schema.connect(Role.WRITER) as connection:
        wire = Wire(connection)
        wire.send("BEGIN")
        wire.answers()
        write(wire, keys)
        wire.send(READ)
        [rows] = wire.answers()
        wire.give_up()
        wire.close()
    return [tuple(row.values()) for row in rows]
