"""Every fault in what an automatic recharge makes, counts and spends is found and named."""

from collections.abc import Iterator

import pytest

from ledger.store.database import Database
from tests.service.test_doctor import Fault, lived_ledger
from tests.service.test_doctor_log import GRANT, MISSING, data, without

FIRST = "min(position) FROM movements WHERE cause = 'RECHARGED'"
"""The first recharge's grant. What defines it stands before it, what counts it behind it."""
TIED = "min(position) FROM movements WHERE cause = 'RECHARGED' AND currency = 'tied'"
SECOND = "position FROM movements WHERE cause = 'RECHARGED' AND currency = 'tied' ORDER BY position OFFSET 1"
"""The second of its month: both cost two billionths, rounded from 2.5 and from 1.5."""
DISABLED = "min(position) FROM movements WHERE definition #>> '{{settings,enabled}}' = 'false'"
MAKES = "(SELECT ' makes grant ' || stream_id FROM events WHERE position = {row}) || '"


def at(place: str, *changes: str) -> str:
    return f"UPDATE events SET {', '.join(changes)} WHERE position = {{row}}{place}; "


def throughout(path: str, value: str) -> str:
    """Change what every definition of the automatic recharge that made the grant says."""
    whose = "(SELECT stream_id FROM events WHERE position = {row} + 1)"
    return f"UPDATE events SET {data(path, value)} WHERE stream_id = {whose}"


def auto(place: str) -> str:
    where = f"position = {{row}}{place}"
    return f"(SELECT concat('at position ', position, ' automatic recharge ', stream_id) FROM events WHERE {where})"


def of_place(column: str, place: str) -> str:
    return f"{column} = (SELECT {column} FROM events WHERE position = {{row}}{place})"


@pytest.fixture(scope="module")
def lived(server_dsn: str) -> Iterator[Database]:
    with lived_ledger(server_dsn) as database:
        yield database


COUNTS = [
    (FIRST, at("", data("grant,recharge,number", "'7'")), f"{GRANT} || ' is recharge 7 of '", ("claims",)),
    (FIRST, at("", without("grant,recharge,number")), f"{GRANT} || ' is a recharge of nothing, which'", ("claims",)),
    (FIRST, at("", without("grant,recharge")), f"{GRANT} || ' is a recharge of nothing, which'", ("claims",)),
    (
        FIRST, at("", data("grant,recharge,configuration_id", f"to_jsonb({MISSING}::text)")),
        f"{GRANT} || ' is recharge 1 of ' || {MISSING} || ', which its transaction does not count'", ("claims",),
    ),
    (FIRST, at("", f"transaction_id = {MISSING}"), f"{GRANT} || ' is recharge 1 of '", ("transactions",)),
    (
        FIRST, at("", "cause = 'ISSUED'", without("grant,recharge")),
        f"{auto(' + 1')} || ' has done {{{{\"spend\": '", ("claims",),
    ),
    (FIRST, at(" - 1", data("done,grants", "'3'")), f"{auto(' - 1')} || ' has done '", ()),
    (FIRST, at(" - 1", data("done,spend", "'{{}}'")), f"{auto(' - 1')} || ' has done '", ()),
    (DISABLED, at("", data("done,grants", "'3'")), f"{auto('')} || ' has done '", ()),
    (DISABLED, at("", data("done,spend,amount", "'\"0.000000003\"'")), f"{auto('')} || ' has done '", ()),
    (DISABLED, at("", data("done,spend", "'null'")), f"{auto('')} || ' has done '", ()),
    (
        FIRST, at("", data("grant,recharge,number", "'7'")) + at(" + 1", data("done,grants", "'7'")),
        "' as recharge 7, where recharge 1 should be'", ("claims",),
    ),
    (  # one more grant that the same definition counts
        SECOND, at("", data("grant,recharge,number", "'1'"), of_place("transaction_id", " - 3")),
        "' as recharge 1, where recharge 2 should be'", ("transactions", "claims"),
    ),
    (  # one more definition that counts the same grant
        DISABLED, at("", of_place("transaction_id", " - 3")), "' as recharge 2, where recharge 3 should be'",
        ("transactions",),
    ),
]  # fmt: skip
TERMS = [
    (DISABLED, at("", "currency = 'else'"), f"{auto('')} || ' has another pool than at first'", ()),
    *(
        (FIRST, at(" + 1", data(path, "'\"7\"'")), f"{auto(' + 1')} || {MAKES} under other settings'", ())
        for path in ("settings,threshold", "saved_at")
    ),
    (
        FIRST, at(" - 1", f"stream_id = {MISSING}"), f"{auto(' + 1')} || {MAKES} under other settings'",
        ("streams", "claims"),
    ),
    (FIRST, at("", "currency = 'else'"), f"{auto(' + 1')} || {MAKES} in another pool'", ("pool-law",)),
    (FIRST, at("", "cause = 'ISSUED'"), f"{auto(' + 1')} || {MAKES} as ISSUED, PAID'", ()),
    (FIRST, at("", "grant_type = 'ROLLOVER'"), f"{auto(' + 1')} || {MAKES} as RECHARGED, ROLLOVER'", ()),
    (FIRST, throughout("settings,enabled", "'false'"), f"{auto(' + 1')} || {MAKES}, though it is not enabled'", ()),
    (FIRST, throughout("settings,enabled", "'null'"), f"{auto(' + 1')} || {MAKES}, though it is not enabled'", ()),
    *(
        (FIRST, throughout("settings,target", target), f"{auto(' + 1')} || {MAKES} of 10.000000000 with the t'", ())
        for target in ("'\"9.999999999\"'", "'null'")
    ),
    (FIRST, at("", "amount = 0"), f"{auto(' + 1')} || {MAKES} of 0.000000000 with'", ("lot-law", "pool-law")),
]  # fmt: skip
COSTS = [
    *(
        (FIRST, at("", data(path, to)), f"{auto(' + 1')} || {MAKES} at a cost of {said}, which is 3.000000000 USD'", ())
        for path, to, said in [
            ("grant,cost,amount", "'\"3.000000001\"'", "3.000000001 USD"),
            ("grant,cost,currency", "'\"EUR\"'", "3.000000000 EUR"),
            ("grant,cost,amount", "'null'", " USD"),
        ]
    ),
    (TIED, at("", data("grant,cost,amount", "'\"0.000000003\"'")), "'003 USD, which is 0.000000002 USD'", ()),
    (SECOND, at("", data("grant,cost,amount", "'\"0.000000001\"'")), "'001 USD, which is 0.000000002 USD'", ()),
    (TIED, throughout("settings,unit_price,amount", "'\"0.0000000011\"'"), "', which is 0.000000003 USD'", ()),
    *(
        (
            FIRST, at(" + 1", data(f"done,spend{path}", to)),
            f"{auto(' + 1')} || ' has spent {said}, but its recharges in 2026-01 cost 3.000000000 USD'", (),
        )
        for path, to, said in [
            (",month", "'\"2026-02\"'", "3.000000000 USD in 2026-02"),
            (",amount", "'\"2.999999999\"'", "2.999999999 USD in 2026-01"),
            (",currency", "'\"EUR\"'", "3.000000000 EUR in 2026-01"),
            ("", "'null'", "nothing"),
        ]
    ),
    (
        SECOND, at(" + 1", data("done,spend,amount", "'\"0.000000002\"'")),
        f"{auto(' + 1')} || ' has spent 0.000000002 USD in 2026-01, but its recharges in 2026-01 cost 0.000000004 USD'",
        (),
    ),
    (
        FIRST, throughout("settings,max_spend", "'\"2.999999999\"'"),
        f"{auto(' + 1')} || ' has spent 3.000000000 in 2026-01, more than 2.999999999'", (),
    ),
]  # fmt: skip
FAULTS = [Fault("recharges", "events", *fault) for fault in (*COUNTS, *TERMS, *COSTS)]


@pytest.mark.parametrize("fault", FAULTS, ids=[f"{place}" for place in range(len(FAULTS))])
def test_a_fault_in_the_recharges_is_found_and_named(lived: Database, fault: Fault) -> None:
    fault.is_found_in(lived)
