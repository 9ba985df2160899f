"""Updates, payments, schedules and recharges through the writer: batches, keys, texts, what stands beside the log."""

import json
from datetime import timedelta
from typing import Any

import pytest

from ledger.application import (
    BlockingLedger,
    ConsumeCredits,
    CreateGrantSchedule,
    CreditLedger,
    InvoiceTold,
    MarkInvoicePaid,
    Receipt,
    RechargePool,
    RecordGrantPayment,
    RefundDebit,
    UpdateGrant,
)
from ledger.domain.credits import credits_of
from ledger.domain.events import AutoRechargeDefined, Expired, Granted, GrantPaymentRecorded, GrantUpdated
from ledger.domain.refusals import (
    CreditGrantNotFound,
    GrantScheduleNotFound,
    IdempotencyKeyReused,
    InsufficientCredits,
    InvalidArgument,
)
from ledger.domain.values import DocumentReference
from ledger.store.clock import Clock
from ledger.store.database import Database, Role
from tests.conftest import START, Hands

DAY = timedelta(days=1)
RECHARGE = RechargePool(holder="acme", currency="c")


def issue(books: BlockingLedger, name: str = "g", amount: int = 10, **fields: Any) -> Receipt:
    wanted = {"holder": "acme", "currency": "c", "amount": amount, "display_name": name, "grant_type": "PAID"}
    return books.issue_grant(**wanted | fields)


def use(amount: int) -> ConsumeCredits:
    return ConsumeCredits(holder="acme", currency="c", amount=amount)


def plan(books: BlockingLedger, **fields: Any) -> Receipt:
    wanted = {"holder": "acme", "currency": "c", "display_name": "plan", "amount": 12}
    return books.create_grant_schedule(**wanted | {"billing_period": "YEAR", "cadence": "MONTHLY"} | fields)


def accepted(outcome: object) -> Receipt:
    assert isinstance(outcome, Receipt), outcome
    return outcome


def rows(database: Database, statement: str) -> list[dict[str, Any]]:
    with database.connect(Role.WRITER) as connection:
        return connection.execute(statement.encode()).fetchall()


def texts(database: Database, receipt: Receipt) -> dict[str, Any]:
    """The texts that the last event of a change names."""
    event = receipt.events[-1]
    assert isinstance(event, GrantUpdated | GrantPaymentRecorded)
    assert event.grant.texts is not None
    named = event.grant.texts.document_id
    bodies = {row["id"]: json.loads(row["body"]) for row in rows(database, "SELECT id, body FROM documents")}
    return {name: value for name, value in bodies[named].items() if name != "salt"}


def test_two_updates_of_the_same_grants_texts_in_one_batch_keep_each_others_changes(
    books: BlockingLedger, database: Database, clock: Clock
) -> None:
    grant = issue(books, "first name", comment="first comment", metadata={"a": 1}).stream_id
    outcomes = books.ledger.execute_many_blocking(
        [
            UpdateGrant(grant=grant, display_name="second name"),
            UpdateGrant(grant=grant, comment="second comment"),
            UpdateGrant(grant=grant, clears=("metadata",)),
            UpdateGrant(grant=grant, priority=3),
        ]
    )
    whole = {"display_name": "second name", "comment": "second comment"}
    assert [texts(database, accepted(outcome)) for outcome in outcomes] == [
        {"display_name": "second name", "comment": "first comment", "metadata": {"a": 1}},
        {**whole, "metadata": {"a": 1}},
        whole,
        whole,
    ]
    with CreditLedger(database, clock=clock) as other:
        again = BlockingLedger(other).update_grant(grant=grant, metadata={"b": 2})
    assert texts(database, again) == {**whole, "metadata": {"b": 2}}
    assert texts(database, books.update_grant(grant=grant, clears=("comment",))) == {
        "display_name": "second name", "metadata": {"b": 2},
    }  # fmt: skip


def test_a_payment_keeps_the_texts_of_the_grant_and_has_its_own(books: BlockingLedger, database: Database) -> None:
    grant = issue(books, "name", cost=5, payment_method="INVOICE").stream_id
    books.update_grant(grant=grant, comment="comment")
    paid = books.record_grant_payment(
        grant=grant, collection="ACTION_REQUIRED",
        invoice=InvoiceTold(billing_id="in_1", status="OPEN", payment_url="https://pay.example/1"),  # type: ignore[arg-type]
    )  # fmt: skip
    assert texts(database, paid) == {"display_name": "name", "comment": "comment"}
    event = paid.events[0]
    assert isinstance(event, GrantPaymentRecorded)
    invoice = event.grant.payment.invoice
    assert invoice is not None
    assert invoice.texts == event.transaction.document
    kept = [row["body"] for row in rows(database, "SELECT body FROM documents")]
    assert sum("https://pay.example/1" in body for body in kept) == 1
    assert "pay.example" not in str(rows(database, "SELECT data FROM events"))


def test_an_invoice_that_is_told_again_keeps_its_beginning(books: BlockingLedger, hands: Hands) -> None:
    grant = issue(books, cost=5, payment_method="INVOICE").stream_id

    def told(billing_id: str) -> Any:
        invoice = InvoiceTold(billing_id=billing_id, status="OPEN")  # type: ignore[arg-type]
        event = books.record_grant_payment(grant=grant, collection="PROCESSING", invoice=invoice).events[0]
        assert isinstance(event, GrantPaymentRecorded)
        return event.grant.payment.invoice

    told("in_1")
    hands.set(START + DAY)
    assert (told("in_1").created_at, told("in_1").updated_at) == (START, START + DAY)
    assert told("in_2").created_at == START + DAY


def test_what_is_paid_pays_in_the_same_batch(books: BlockingLedger) -> None:
    issued = issue(books, cost=5, payment_method="INVOICE")
    readable = vars(issued.events[0])["grant"].readable_id
    outcomes = books.ledger.execute_many_blocking([use(1), MarkInvoicePaid(grant=readable), use(1)])
    assert [type(outcome).__name__ for outcome in outcomes] == ["InsufficientCredits", "Receipt", "Receipt"]


def due(database: Database) -> list[tuple[str, Any]]:
    return [(row["act"], row["due_at"]) for row in rows(database, "SELECT act, due_at FROM due ORDER BY due_at")]


def test_what_falls_due_follows_every_change_of_an_end(books: BlockingLedger, database: Database, hands: Hands) -> None:
    grant = issue(books, expires_at=START + DAY).stream_id
    assert due(database) == [("EXPIRY", START + DAY)]
    books.update_grant(grant=grant, expires_at=START + 2 * DAY)
    assert due(database) == [("EXPIRY", START + 2 * DAY)]
    books.update_grant(grant=grant, clears=("expireAt",))
    assert due(database) == []
    books.update_grant(grant=grant, expires_at=START + 3 * DAY)
    assert due(database) == [("EXPIRY", START + 3 * DAY)]
    hands.set(START + 3 * DAY)
    assert books.settle_due() == 1
    assert due(database) == []
    assert books.settle_due() == 0


def test_a_grant_emptied_made_endless_and_refilled_in_one_batch_is_not_due(
    books: BlockingLedger, database: Database
) -> None:
    grant = issue(books, expires_at=START + DAY).stream_id
    first = books.execute(use(4))
    outcomes = books.ledger.execute_many_blocking(
        [
            use(6),
            UpdateGrant(grant=grant, clears=("expireAt",)),
            RefundDebit(transaction_id=first.transaction_id),
        ]
    )
    assert all(isinstance(outcome, Receipt) for outcome in outcomes)
    assert due(database) == []
    assert len(rows(database, "SELECT * FROM open_lots")) == 1


def test_a_grant_emptied_then_given_another_end_and_refilled_is_due_then(
    books: BlockingLedger, database: Database
) -> None:
    grant = issue(books, expires_at=START + DAY).stream_id
    debit = books.execute(use(10))
    assert due(database) == []
    books.update_grant(grant=grant, expires_at=START + 5 * DAY)
    assert due(database) == []
    books.refund(transaction_id=debit.transaction_id)
    assert due(database) == [("EXPIRY", START + 5 * DAY)]


def test_a_schedule_is_due_at_its_next_part_until_it_ends(
    books: BlockingLedger, database: Database, hands: Hands
) -> None:
    schedule = plan(books, amount=24).stream_id
    february = START.replace(month=2, day=28)
    assert due(database) == [("EXPIRY", february), ("SCHEDULE", february)]
    hands.set(february)
    books.execute(use(1))
    march = START.replace(month=3, day=31)
    assert due(database) == [("EXPIRY", march), ("SCHEDULE", march)]
    books.end_grant_schedule(schedule=schedule)
    assert due(database) == [("EXPIRY", march)]
    with pytest.raises(GrantScheduleNotFound):
        books.end_grant_schedule(schedule=schedule)


@pytest.mark.parametrize("fresh", [False, True], ids=["the same process", "another process"])
def test_months_of_a_schedule_are_caught_up_with_their_rollovers(
    books: BlockingLedger, database: Database, hands: Hands, clock: Clock, fresh: bool
) -> None:
    plan(books, amount="12.000000005", cost=24, rollover_max="0.25", rollover_periods=1)
    hands.set(START.replace(year=2027))
    if fresh:
        with CreditLedger(database, clock=clock) as other:
            assert BlockingLedger(other).settle_due() == 1
    else:
        assert books.settle_due() == 1
    found = rows(
        database,
        "SELECT grant_type, effective_at, amount, cost_amount, rolled_over_to FROM movements WHERE amount IS NOT NULL "
        "ORDER BY position",
    )
    parts = [row for row in found if row["grant_type"] == "SUBSCRIPTION" and row["amount"] > 0]
    assert [row["amount"] for row in parts] == [credits_of(1)] * 11 + [credits_of("1.000000005"), credits_of(1)]
    assert sum(row["cost_amount"] for row in parts[:12]) == credits_of(24)
    over = [row for row in found if row["grant_type"] == "ROLLOVER" and row["amount"] > 0]
    assert [row["amount"] for row in over] == [credits_of("0.25")] * 12
    assert [row["cost_amount"] for row in over[:11]] == [credits_of("0.5")] * 11
    assert len([row for row in found if row["rolled_over_to"]]) == 12
    instants = [row["effective_at"] for row in found]
    assert instants == sorted(instants)
    assert books.settle_due() == 0


def test_parts_and_rollovers_are_called_as_the_schedule(
    books: BlockingLedger, hands: Hands, database: Database
) -> None:
    plan(books, rollover_periods=1)
    hands.set(START.replace(month=2, day=28))
    books.settle_due()
    named = rows(
        database,
        "SELECT count(DISTINCT grant_document_id) AS n, count(*) AS of FROM movements WHERE lot_granted = amount",
    )
    assert named == [{"n": 1, "of": 3}]


REPLAYED: list[tuple[str, dict[str, Any], dict[str, Any], tuple[str, ...]]] = [
    # command, its fields, what another body says, what differs then
    ("update_grant", {"display_name": "n", "priority": 5, "metadata": {"a": 1, "b": 2}},
        {"priority": 6, "metadata": None, "comment": "c"}, ("comment", "metadata", "priority")),
    ("record_grant_payment", {"collection": "FAILED"}, {"collection": "PROCESSING"}, ("collection",)),
    ("record_grant_payment", {"collection": "FAILED", "invoice": InvoiceTold(billing_id="i", status="OPEN")},  # type: ignore[arg-type]
        {"invoice": InvoiceTold(billing_id="i", status="OPEN", total=1)}, ("invoice",)),  # type: ignore[arg-type]
    ("mark_invoice_paid", {}, {}, ()),
    ("create_grant_schedule",
        {"holder": "acme", "currency": "c", "display_name": "p", "amount": 12, "billing_period": "YEAR",
         "cadence": "MONTHLY", "rollover_periods": 2},
        {"amount": 13, "cadence": "BEGINNING_OF_BILLING_PERIOD", "rollover_periods": 3},
        ("amountPerPeriod", "cadence", "rollover.expiresAfterPeriods")),
    ("end_grant_schedule", {}, {}, ()),
    ("save_auto_recharge", {"holder": "acme", "currency": "c", "enabled": True, "threshold": 1, "target": 2},
        {"enabled": False, "target": 3}, ("isEnabled", "targetBalance")),
]  # fmt: skip


@pytest.mark.parametrize(("act", "fields", "other", "differing"), REPLAYED, ids=[case[0] for case in REPLAYED])
def test_the_first_answer_is_given_again_for_ever(
    books: BlockingLedger, database: Database, hands: Hands, clock: Clock,
    act: str, fields: dict[str, Any], other: dict[str, Any], differing: tuple[str, ...],
) -> None:  # fmt: skip
    grant = issue(books, cost=5, payment_method="INVOICE").stream_id
    schedule = plan(books).stream_id
    named: dict[str, Any] = (
        {"grant": grant} if act in {"update_grant", "record_grant_payment", "mark_invoice_paid"} else {}
    )
    named = {"schedule": schedule} if act == "end_grant_schedule" else named
    first = getattr(books, act)(**named, **fields, idempotency_key="k")
    books.void_grant(grant=grant)  # what could not happen any more is answered all the same
    hands.set(START + 400 * DAY)
    again = getattr(books, act)(**named, **fields, idempotency_key="k")
    assert again == first._replace(replayed=True)
    with CreditLedger(database, clock=clock) as restarted:
        assert getattr(BlockingLedger(restarted), act)(**named, **fields, idempotency_key="k") == again
        if differing:
            with pytest.raises(IdempotencyKeyReused) as refused:
                getattr(BlockingLedger(restarted), act)(**named, **fields | other, idempotency_key="k")
            assert refused.value.facts == {"key": "k", "differing": differing}


def test_a_grant_named_by_either_name_is_updated_under_one_set_of_keys(books: BlockingLedger) -> None:
    issued = issue(books)
    readable = vars(issued.events[0])["grant"].readable_id
    first = books.update_grant(grant=readable, priority="5.0", idempotency_key="k")
    again = books.update_grant(grant=issued.stream_id.upper(), priority=5, idempotency_key="k")
    assert again == first._replace(replayed=True)


def test_what_is_not_there_or_is_something_else_is_not_found(books: BlockingLedger) -> None:
    grant, schedule = issue(books).stream_id, plan(books).stream_id
    credit = books.open_execution_credit(company="acme", credit_type="DAST", credits=1, rollup_type="ADDON").stream_id
    for name in (schedule, credit, "cg-0", "018f0000-0000-7000-8000-000000000009"):
        for command in (
            UpdateGrant(grant=name, priority=1),
            RecordGrantPayment(grant=name, collection="FAILED"),  # type: ignore[arg-type]  # as a door gives it
            MarkInvoicePaid(grant=name),
        ):
            with pytest.raises(CreditGrantNotFound):
                books.execute(command)
    for name in (grant, credit, "s", "018f0000-0000-7000-8000-000000000009"):
        with pytest.raises(GrantScheduleNotFound):
            books.end_grant_schedule(schedule=name)


def test_another_holders_grants_and_schedules_are_not_there(books: BlockingLedger) -> None:
    grant, schedule = issue(books).stream_id, plan(books).stream_id
    others = frozenset({"else"})
    with pytest.raises(CreditGrantNotFound):
        books.update_grant(grant=grant, priority=1, holders=others)
    with pytest.raises(CreditGrantNotFound):
        books.mark_invoice_paid(grant=grant, holders=others)
    with pytest.raises(GrantScheduleNotFound):
        books.end_grant_schedule(schedule=schedule, holders=others)


def test_a_recharge_is_told_by_its_receipt_and_nothing_is_written_where_none_is_due(
    books: BlockingLedger, database: Database
) -> None:
    books.save_auto_recharge(
        holder="acme", currency="c", enabled=True, threshold=10, target=100, unit_price="0.333333333", max_spend=60
    )
    issue(books, amount=7)
    first, second = map(accepted, books.ledger.execute_many_blocking([RECHARGE, RECHARGE]))
    granted, defined = first.events
    assert isinstance(granted, Granted)
    assert isinstance(defined, AutoRechargeDefined)
    assert (granted.amount, granted.transaction.actor.key) == (credits_of(93), "auto-recharge")
    assert (second.events, second.position) == ((), 0)
    books.execute(use(95))
    assert books.execute(RECHARGE).events == ()  # 31 are spent, 32 more would pass the cap
    found = rows(database, "SELECT kind, value FROM claims WHERE kind IN ('AUTO_RECHARGE', 'RECHARGE') ORDER BY kind")
    assert [row["kind"] for row in found] == ["AUTO_RECHARGE", "RECHARGE"]


def test_a_recharge_is_found_by_a_process_that_never_saw_it_saved(
    books: BlockingLedger, database: Database, clock: Clock
) -> None:
    books.save_auto_recharge(holder="acme", currency="c", enabled=True, threshold=10, target=100)
    with CreditLedger(database, clock=clock) as other:
        theirs = BlockingLedger(other)
        assert theirs.execute(RECHARGE).amount == credits_of(100)
        assert books.execute(RECHARGE).events == ()
        theirs.save_auto_recharge(holder="acme", currency="c", enabled=True, threshold=200, target=300)
        assert books.execute(RECHARGE).amount == credits_of(200)
        assert theirs.execute(RECHARGE).events == ()


def test_a_use_finds_what_a_schedule_owes_and_a_refused_one_leaves_it_due(books: BlockingLedger, hands: Hands) -> None:
    plan(books, rollover_periods=1)
    hands.set(START.replace(month=2, day=28))
    with pytest.raises(InsufficientCredits) as refused:
        books.execute(use(3))
    assert refused.value.available == credits_of(2)
    assert len(books.execute(use(2)).draws) == 2
    assert books.settle_due() == 0


def test_a_refused_update_keeps_no_text(books: BlockingLedger, database: Database) -> None:
    grant = issue(books).stream_id
    before = rows(database, "SELECT id FROM documents")
    with pytest.raises(InvalidArgument):
        books.update_grant(grant=grant, display_name="other", effective_at=START + DAY)
    assert rows(database, "SELECT id FROM documents") == before


def test_a_lapse_after_a_change_is_dated_by_the_terms_in_force(books: BlockingLedger, hands: Hands) -> None:
    grant = issue(books, expires_at=START + DAY).stream_id
    books.update_grant(grant=grant, expires_at=START + 2 * DAY)
    hands.set(START + 3 * DAY)
    (lot,) = books.ledger.grant(grant).lots.values()
    assert lot.expires_at == START + 2 * DAY
    books.settle_due()
    last = rows(books.ledger.database, "SELECT type, effective_at, terms_version FROM movements ORDER BY position DESC")
    assert last[0] == {"type": Expired.TOPIC, "effective_at": START + 2 * DAY, "terms_version": 2}


def test_a_schedule_that_is_made_twice_is_two(books: BlockingLedger) -> None:
    command = CreateGrantSchedule(
        holder="acme", currency="c", display_name="p", amount=1, billing_period="MONTH", cadence="MONTHLY"  # type: ignore[arg-type]
    )  # fmt: skip
    made = [accepted(outcome) for outcome in books.ledger.execute_many_blocking([command, command])]
    assert made[0].stream_id != made[1].stream_id
    assert [receipt.pool_balance for receipt in made] == [credits_of(1), credits_of(2)]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"expires_at": START, "clears": ("expireAt",)}, "expireAt"),
        ({"comment": "why", "clears": ("comment",)}, "comment"),
        ({"metadata": {"a": 1}, "clears": ("metadata",)}, "metadata"),
    ],
)
def test_nothing_is_given_and_taken_away_at_once(given: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        UpdateGrant(grant="cg-0", **given)
    assert refused.value.field == field


def test_uses_with_the_same_dimensions_share_a_document_with_their_holder_alone(books: BlockingLedger) -> None:
    documents: list[DocumentReference] = []
    for holder in ("acme", "acme", "other"):
        books.issue_grant(holder=holder, currency="c", amount=5, display_name="g", grant_type="PAID")
        used = books.consume(holder=holder, currency="c", amount=1, dimensions={"b": "2", "a": "1"})
        document = used.events[0].transaction.document
        assert document is not None
        documents.append(document)
    assert documents[0] == documents[1]
    assert documents[2].document_id != documents[0].document_id
    assert documents[2].sha256 == documents[0].sha256
