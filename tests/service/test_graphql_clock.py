"""What the passing of time does, to the microsecond: seen by every read at that very instant, job or no job.

These tests move the clock, forward only: each begins where the one before it ended.
"""

from datetime import datetime, timedelta
from typing import Any

import pytest

from ledger.store.clock import set_test_clock
from ledger.store.database import Database, Role
from tests.service.serving import Service

CREATE = "mutation ($input: CreditGrantInput!) { createCreditGrant(input: $input) { id status } }"
CONSUME = """
mutation ($input: ConsumeCreditInput!) { consumeCredits(input: $input) { transactionId timestamp position replayed } }
"""
REFUND = "mutation ($input: RefundCreditsInput!) { refundCredits(input: $input) { transactionId timestamp } }"
VOID = "mutation ($input: VoidCreditGrantInput!) { voidCreditGrant(input: $input) { status } }"
GRANT_ONE = """
query ($id: String!) { creditGrant(id: $id) { status remainingAmount consumedAmountExact expireAt } }
"""
GRANTS = """
query ($input: GetCreditGrantsInput!) { creditGrants(input: $input) { totalCount edges { node { id status } } } }
"""
SUMMARY = """
query ($customer: String!) {
  creditBalanceSummary(input: {customerId: $customer}) {
    balances { totalGrantedExact totalConsumedExact currentBalanceExact validUntil }
  }
}
"""
LEDGER = """
query ($customer: String!, $types: [CreditLedgerEventType!]) {
  creditsLedger(input: {customerId: $customer, eventType: $types}) {
    totalCount
    edges { node { eventType timestamp recordedAt signedAmount balanceAfter eventId position actor } }
  }
}
"""
STATUSES = ("PENDING", "ACTIVE", "CONSUMED", "EXPIRED", "VOIDED")
MICROSECOND = timedelta(microseconds=1)
SECOND = timedelta(seconds=1)


def now(service: Service) -> datetime:
    return datetime.fromisoformat(service.http.get("/test/clock").json()["now"])


def move(service: Service, instant: datetime) -> None:
    assert service.set_clock(instant.isoformat()).status_code == 200


def wire(instant: datetime) -> str:
    """The instant as the door answers it."""
    unit = "milliseconds" if instant.microsecond % 1000 == 0 else "microseconds"
    return instant.replace(tzinfo=None).isoformat(timespec=unit) + "Z"


def grant_of(
    service: Service, customer: str, amount: int, begins: datetime | None = None, ends: datetime | None = None
) -> str:
    given = {
        "customerId": customer, "currencyId": "credits", "displayName": "grant", "grantType": "PAID", "amount": amount,
        "effectiveAt": begins and begins.isoformat(), "expireAt": ends and ends.isoformat(),
    }  # fmt: skip
    created: str = service.data(CREATE, input=given)["createCreditGrant"]["id"]
    return created


def use(customer: str, amount: int, key: str = "use") -> dict[str, Any]:
    return {"customerId": customer, "currencyId": "credits", "amount": amount, "idempotencyKey": key}


def read(service: Service, query: str, **variables: Any) -> Any:
    """The data of a read at the head of the log."""
    head = service.http.get("/readyz").json()["head"]
    return service.data(query, {"X-Ledger-At-Least": head}, **variables)


def status_of(service: Service, customer: str, grant: str) -> str:
    """The grant's status, about which all reads agree."""
    status: str = read(service, GRANT_ONE, id=grant)["creditGrant"]["status"]
    for each in STATUSES:
        found = read(service, GRANTS, input={"customerId": customer, "status": each})["creditGrants"]
        assert found["totalCount"] == len(found["edges"])
        assert ({"node": {"id": grant, "status": status}} in found["edges"]) == (each == status)
    return status


def balance_of(service: Service, customer: str) -> tuple[str, str | None]:
    """What is usable now, and until when that stays so."""
    (row,) = read(service, SUMMARY, customer=customer)["creditBalanceSummary"]["balances"]
    return row["currentBalanceExact"], row["validUntil"]


def ledger_of(service: Service, customer: str, *types: str) -> list[Any]:
    page = read(service, LEDGER, customer=customer, types=list(types) or None)["creditsLedger"]
    assert page["totalCount"] == len(page["edges"])
    return [edge["node"] for edge in page["edges"]]


def test_a_grant_is_usable_from_its_first_instant_and_not_at_its_last(service: Service, customer: str) -> None:
    begins, ends = now(service) + SECOND, now(service) + 2 * SECOND
    grant = grant_of(service, customer, 10, begins, ends)
    for instant, status, balance, until in [
        (begins - MICROSECOND, "PENDING", "0",  begins),
        (begins,               "ACTIVE",  "10", ends),
        (begins + MICROSECOND, "ACTIVE",  "10", ends),
        (ends - MICROSECOND,   "ACTIVE",  "10", ends),
        (ends,                 "EXPIRED", "0",  None),
        (ends + MICROSECOND,   "EXPIRED", "0",  None),
    ]:  # fmt: skip
        move(service, instant)
        assert status_of(service, customer, grant) == status
        assert balance_of(service, customer) == (balance, until and wire(until))
        (row,) = read(service, SUMMARY, customer=customer)["creditBalanceSummary"]["balances"]
        assert row["totalGrantedExact"] == balance  # a grant that is over is in no sum
        remaining = read(service, GRANT_ONE, id=grant)["creditGrant"]["remainingAmount"]
        assert remaining == ("0" if status == "EXPIRED" else "10")


def test_a_use_succeeds_until_the_last_microsecond(service: Service, customer: str) -> None:
    begins, ends = now(service) + SECOND, now(service) + 2 * SECOND
    grant_of(service, customer, 10, begins, ends)
    for instant, usable in [(begins - MICROSECOND, 0), (begins, 10), (ends - MICROSECOND, 9), (ends, 0)]:
        move(service, instant)
        wanted = use(customer, 1, key=str(instant))
        if usable:
            assert service.data(CONSUME, input=wanted)["consumeCredits"]["timestamp"] == wire(instant)
        else:
            assert service.refusal(CONSUME, input=wanted)["code"] == "InsufficientCredits"
    lapse, *_ = ledger_of(service, customer)
    assert (lapse["eventType"], lapse["signedAmount"], lapse["timestamp"]) == ("CREDITS_EXPIRED", "-8", wire(ends))


def test_what_was_consumed_or_void_stays_so_when_its_time_is_over(service: Service, customer: str) -> None:
    ends = now(service) + SECOND
    consumed = grant_of(service, customer, 10, ends=ends)
    debit = service.data(CONSUME, input=use(customer, 10))["consumeCredits"]
    voided = grant_of(service, customer, 5, ends=ends)
    service.data(VOID, input={"id": voided})
    for instant in (ends - MICROSECOND, ends):
        move(service, instant)
        assert status_of(service, customer, consumed) == "CONSUMED"
        assert status_of(service, customer, voided) == "VOIDED"
    assert ledger_of(service, customer, "CREDITS_EXPIRED") == []
    service.data(REFUND, input={"transactionId": debit["transactionId"], "amount": 1, "idempotencyKey": "refund"})
    assert status_of(service, customer, consumed) == "EXPIRED"


def test_a_refund_in_time_brings_a_consumed_grant_back(service: Service, customer: str) -> None:
    grant = grant_of(service, customer, 10, ends=now(service) + SECOND)
    debit = service.data(CONSUME, input=use(customer, 10))["consumeCredits"]
    assert status_of(service, customer, grant) == "CONSUMED"
    assert balance_of(service, customer) == ("0", None)
    service.data(REFUND, input={"transactionId": debit["transactionId"], "amount": 4, "idempotencyKey": "refund"})
    assert status_of(service, customer, grant) == "ACTIVE"
    assert balance_of(service, customer) == ("4", wire(now(service) + SECOND))


def test_the_ledger_shows_a_lapse_at_the_instant_of_the_read(service: Service, schema: Database, customer: str) -> None:
    """The clock is moved beside the service, which has no occasion to write the lapse before it is asked."""
    ends = now(service) + SECOND + MICROSECOND
    grant_of(service, customer, 10, ends=ends)
    service.data(CONSUME, input=use(customer, 4))
    with schema.connect(Role.WRITER) as connection:
        set_test_clock(connection, ends)
    while "X-Ledger-Stale" in service.graphql(LEDGER, customer=customer).headers:
        pass  # an answer that says that it is behind
    (lapse,) = ledger_of(service, customer, "CREDITS_EXPIRED")
    assert (lapse["timestamp"], lapse["recordedAt"]) == (wire(ends), wire(ends))
    assert (lapse["signedAmount"], lapse["balanceAfter"]) == ("-6", "0")
    assert lapse["actor"].startswith("SYSTEM:")
    assert ledger_of(service, customer, "CREDITS_EXPIRED") == [lapse]


def test_a_lapse_is_dated_when_the_grant_ended_however_late_it_is_written(service: Service, customer: str) -> None:
    ends = now(service) + SECOND
    grant_of(service, customer, 10, ends=ends)
    move(service, ends + timedelta(days=400))
    (lapse,) = ledger_of(service, customer, "CREDITS_EXPIRED")
    assert (lapse["timestamp"], lapse["recordedAt"]) == (wire(ends), wire(ends + timedelta(days=400)))


def test_a_refund_to_an_expired_grant_is_restored_and_ended_in_one_transaction(service: Service, customer: str) -> None:
    ends = now(service) + SECOND
    grant = grant_of(service, customer, 10, ends=ends)
    debit = service.data(CONSUME, input=use(customer, 7))["consumeCredits"]
    refunded_at = ends + timedelta(hours=1)
    move(service, refunded_at)
    wanted = {"transactionId": debit["transactionId"], "amountExact": "2.5", "idempotencyKey": "refund"}
    refund = service.data(REFUND, input=wanted)["refundCredits"]
    ended, restored, lapsed, *_ = ledger_of(service, customer)
    assert [(row["eventType"], row["signedAmount"], row["balanceAfter"]) for row in (ended, restored, lapsed)] == [
        ("CREDITS_EXPIRED",  "-2.5", "0"),
        ("CREDITS_REFUNDED", "2.5",  "2.5"),
        ("CREDITS_EXPIRED",  "-3",   "0"),
    ]  # fmt: skip
    assert ended["eventId"] == restored["eventId"] == refund["transactionId"] != lapsed["eventId"]
    assert int(ended["position"]) == int(restored["position"]) + 1
    assert (ended["timestamp"], restored["timestamp"], lapsed["timestamp"]) == (
        wire(refunded_at), wire(refunded_at), wire(ends),
    )  # fmt: skip
    assert read(service, GRANT_ONE, id=grant)["creditGrant"] == {
        "status": "EXPIRED", "remainingAmount": "0", "consumedAmountExact": "4.5", "expireAt": wire(ends),
    }  # fmt: skip
    assert balance_of(service, customer) == ("0", None)


def test_what_is_over_cannot_be_voided(service: Service, customer: str) -> None:
    ends = now(service) + SECOND
    grant = grant_of(service, customer, 10, ends=ends)
    move(service, ends)
    assert service.refusal(VOID, input={"id": grant}) == {"code": "CreditGrantCannotBeVoided", "grant": grant}


def test_a_request_sent_again_a_year_later_is_answered_as_the_first(service: Service, customer: str) -> None:
    grant_of(service, customer, 10, ends=now(service) + SECOND)
    first = service.data(CONSUME, input=use(customer, 10))["consumeCredits"]
    move(service, now(service) + timedelta(days=365))
    assert service.data(CONSUME, input=use(customer, 10))["consumeCredits"] == first | {"replayed": True}
    assert service.refusal(CONSUME, input=use(customer, 1, "new"))["code"] == "InsufficientCredits"


def test_a_use_ahead_of_the_clock_is_placed_at_now(service: Service, customer: str) -> None:
    grant_of(service, customer, 10)
    present = now(service)
    for key, ahead, taken in [("a", 5 * SECOND, True), ("b", 5 * SECOND + MICROSECOND, False)]:
        wanted = use(customer, 1, key) | {"createdAt": (present + ahead).isoformat()}
        if taken:
            assert service.data(CONSUME, input=wanted)["consumeCredits"]["timestamp"] == wire(present)
        else:
            refusal = service.refusal(CONSUME, input=wanted)
            assert (refusal["code"], refusal["field"]) == ("InvalidArgumentError", "createdAt")


@pytest.mark.parametrize(("by", "status"), [(timedelta(0), 200), (MICROSECOND, 200), (-MICROSECOND, 409)])
def test_the_clock_never_goes_back(service: Service, by: timedelta, status: int) -> None:
    assert service.set_clock((now(service) + by).isoformat()).status_code == status
