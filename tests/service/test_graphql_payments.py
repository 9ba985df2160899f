"""Grants that are to be paid: what waits for its payment, what is told of it and its invoice, and what comes of it.

Some tests move the clock, forward only.
"""

from typing import Any

import pytest

from tests.service.serving import Service
from tests.service.test_graphql_clock import MICROSECOND, SECOND, move, now, read, wire

GRANT = """
fragment Whole on CreditGrant {
  id grantId displayName status amountExact consumedAmountExact remainingAmount cost { amount amountExact currency }
  effectiveAt createdAt updatedAt expireAt voidedAt paymentCollection invoiceId
  latestInvoice {
    billingId status createdAt updatedAt dueDate currency total totalExact amountDue amountDueExact requiresAction
    errorMessage paymentUrl pdfUrl
  }
}
"""
CREATE = GRANT + "mutation ($input: CreditGrantInput!) { answer: createCreditGrant(input: $input) { ...Whole } }"
RECORD = (
    GRANT + "mutation ($input: RecordGrantPaymentInput!) { answer: recordGrantPayment(input: $input) { ...Whole } }"
)
MARK = GRANT + "mutation ($input: MarkInvoiceAsPaidInput!) { answer: markInvoiceAsPaid(input: $input) { ...Whole } }"
VOID = GRANT + "mutation ($input: VoidCreditGrantInput!) { answer: voidCreditGrant(input: $input) { ...Whole } }"
READ = GRANT + "query ($id: String!) { answer: creditGrant(id: $id) { ...Whole } }"
CONSUME = """
mutation ($input: ConsumeCreditInput!) {
  consumeCredits(input: $input) { timestamp draws { creditGrantId amountExact } }
}
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
    edges {
      node {
        timestamp eventType amount amountExact signedAmount balanceAfter grantBalanceAfter creditGrantId position actor
        reason
      }
    }
  }
}
"""
COST = {"amount": 99.9, "currency": "EUR"}
FREE = {"amount": 0, "currency": "EUR"}
OPEN = {"billingId": "in_1", "status": "OPEN"}
FULL_INVOICE: dict[str, Any] = {
    "billingId": "in_1", "status": "OPEN", "createdAt": "2026-01-30T00:00:00Z",
    "updatedAt": "2026-01-30T01:00:00.000001Z", "dueDate": "2026-02-28T00:00:00Z", "currency": "EUR",
    "totalExact": "9999999999999999999.999999999", "amountDueExact": "0.000000001", "requiresAction": True,
    "errorMessage": "the card was declined", "paymentUrl": "https://pay.example/in_1?a=b&c=\u00e9",
    "pdfUrl": "https://pay.example/in_1.pdf",
}  # fmt: skip
NOTHING_USABLE = {"totalGrantedExact": "0", "totalConsumedExact": "0", "currentBalanceExact": "0", "validUntil": None}
COLLECTIONS = ("NOT_REQUIRED", "PROCESSING", "FAILED", "ACTION_REQUIRED")


def head(service: Service) -> str:
    found: str = service.http.get("/readyz").json()["head"]
    return found


def grant_of(service: Service, customer: str, method: str | None = "INVOICE", **given: Any) -> Any:
    fields = {
        "customerId": customer, "currencyId": "credits", "displayName": "grant", "grantType": "PAID", "amount": 50,
        "cost": COST, "paymentCollectionMethod": method,
    }  # fmt: skip
    return service.data(CREATE, input=fields | given)["answer"]


def record(service: Service, grant: Any, collection: str, invoice: dict[str, Any] | None = None, **given: Any) -> Any:
    """The answer of a recorded payment, which a read afterwards gives again."""
    wanted = {"creditGrantId": grant["id"], "paymentCollection": collection, "invoice": invoice} | given
    answer = service.data(RECORD, input=wanted)["answer"]
    assert read(service, READ, id=grant["id"])["answer"] == answer
    return answer


def use(customer: str, amount: int, key: str = "use") -> dict[str, Any]:
    return {"customerId": customer, "currencyId": "credits", "amount": amount, "idempotencyKey": key}


def available(service: Service, customer: str) -> str:
    """What can be used now, by the balance; a use of more than that is refused with the same number."""
    (row,) = read(service, SUMMARY, customer=customer)["creditBalanceSummary"]["balances"]
    refusal = service.refusal(CONSUME, input=use(customer, 1_000_000, "too much"))
    assert (refusal["code"], refusal["availableExact"]) == ("InsufficientCredits", row["currentBalanceExact"])
    balance: str = row["currentBalanceExact"]
    return balance


def rows_of(service: Service, customer: str, *types: str) -> list[Any]:
    page = read(service, LEDGER, customer=customer, types=list(types) or None)["creditsLedger"]
    assert page["totalCount"] == len(page["edges"])
    return [edge["node"] for edge in page["edges"]]


@pytest.mark.parametrize(
    ("method", "awaits", "cost", "status", "collection"),
    [
        (None,      None,  COST, "ACTIVE",  "NOT_REQUIRED"),
        ("NONE",    None,  COST, "ACTIVE",  "NOT_REQUIRED"),
        ("NONE",    True,  COST, "ACTIVE",  "NOT_REQUIRED"),
        ("NONE",    False, COST, "ACTIVE",  "NOT_REQUIRED"),
        ("NONE",    True,  FREE, "ACTIVE",  "NOT_REQUIRED"),
        ("INVOICE", None,  COST, "PENDING", "PROCESSING"),
        ("INVOICE", True,  COST, "PENDING", "PROCESSING"),
        ("INVOICE", False, COST, "PENDING", "PROCESSING"),
        ("INVOICE", None,  FREE, "ACTIVE",  "NOT_REQUIRED"),
        ("INVOICE", True,  None, "ACTIVE",  "NOT_REQUIRED"),
        ("INVOICE", False, FREE, "ACTIVE",  "NOT_REQUIRED"),
        ("CHARGE",  None,  COST, "PENDING", "PROCESSING"),
        ("CHARGE",  True,  COST, "PENDING", "PROCESSING"),
        ("CHARGE",  False, COST, "ACTIVE",  "PROCESSING"),
        ("CHARGE",  None,  FREE, "ACTIVE",  "NOT_REQUIRED"),
        ("CHARGE",  True,  None, "ACTIVE",  "NOT_REQUIRED"),
        ("CHARGE",  False, FREE, "ACTIVE",  "NOT_REQUIRED"),
    ],
)  # fmt: skip
def test_what_has_to_be_paid_first_is_pending(
    service: Service,
    customer: str,
    method: str | None,
    awaits: bool | None,
    cost: dict[str, Any] | None,
    status: str,
    collection: str,
) -> None:
    grant = grant_of(service, customer, method, awaitPaymentConfirmation=awaits, cost=cost)
    assert (grant["status"], grant["paymentCollection"]) == (status, collection)
    assert (grant["invoiceId"], grant["latestInvoice"]) == (None, None)
    assert read(service, READ, id=grant["id"])["answer"] == grant
    assert available(service, customer) == ("50" if status == "ACTIVE" else "0")


def test_a_grant_of_promotion_is_never_waited_for(service: Service, customer: str) -> None:
    for method in ("INVOICE", "CHARGE"):
        grant = grant_of(service, customer, method, grantType="PROMOTIONAL", cost=None)
        assert (grant["status"], grant["paymentCollection"]) == ("ACTIVE", "NOT_REQUIRED")


def test_what_is_not_paid_is_in_no_balance_and_pays_for_nothing(service: Service, customer: str) -> None:
    """Its end changes no balance either, so nothing is said of it."""
    unpaid = grant_of(service, customer, priority=0, expireAt="2090-01-01T00:00:00Z")
    (row,) = read(service, SUMMARY, customer=customer)["creditBalanceSummary"]["balances"]
    assert row == NOTHING_USABLE
    refusal = service.refusal(CONSUME, input=use(customer, 1))
    assert (refusal["code"], refusal["available"]) == ("InsufficientCredits", 0)

    paid = grant_of(service, customer, "NONE", priority=100)
    used = service.data(CONSUME, input=use(customer, 1))["consumeCredits"]
    assert used["draws"] == [{"creditGrantId": paid["id"], "amountExact": "1"}]
    assert available(service, customer) == "49"
    assert unpaid["remainingAmount"] == "50"


@pytest.mark.parametrize("method", ["INVOICE", "CHARGE"])
def test_a_grant_is_usable_at_the_very_instant_its_invoice_is_paid(
    service: Service, customer: str, method: str
) -> None:
    grant = grant_of(service, customer, method)
    paid = service.data(MARK, input={"creditGrantId": grant["grantId"]})["answer"]
    assert paid == grant | {"status": "ACTIVE", "paymentCollection": "NOT_REQUIRED"}
    used = service.data(CONSUME, input=use(customer, 50))["consumeCredits"]
    assert used == {
        "timestamp": paid["updatedAt"], "draws": [{"creditGrantId": grant["id"], "amountExact": "50"}]
    }  # fmt: skip
    assert used["timestamp"] == grant["createdAt"]  # no time went by


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_a_grant_is_usable_once_its_payment_is_recorded_and_not_before(
    service: Service, customer: str, collection: str
) -> None:
    grant = grant_of(service, customer, "CHARGE")
    told = record(service, grant, collection)
    status = "ACTIVE" if collection == "NOT_REQUIRED" else "PENDING"
    assert told == grant | {"paymentCollection": collection, "status": status}
    assert available(service, customer) == ("50" if status == "ACTIVE" else "0")


def test_a_payment_may_fail_wait_and_succeed(service: Service, customer: str) -> None:
    grant = grant_of(service, customer, "CHARGE")
    for collection in ("FAILED", "ACTION_REQUIRED", "PROCESSING", "FAILED"):
        assert record(service, grant, collection)["status"] == "PENDING"
        assert available(service, customer) == "0"
    assert record(service, grant, "NOT_REQUIRED")["status"] == "ACTIVE"
    assert available(service, customer) == "50"


@pytest.mark.parametrize("collection", ["PROCESSING", "FAILED", "ACTION_REQUIRED"])
def test_what_nobody_waited_for_stays_usable_while_its_payment_fails(
    service: Service, customer: str, collection: str
) -> None:
    for method, awaits in (("CHARGE", False), ("NONE", None)):
        grant = grant_of(service, customer, method, awaitPaymentConfirmation=awaits)
        told = record(service, grant, collection)
        assert (told["status"], told["paymentCollection"]) == ("ACTIVE", collection)
    assert available(service, customer) == "100"


def test_an_invoice_is_kept_in_every_field(service: Service, customer: str) -> None:
    grant = grant_of(service, customer)
    told = record(service, grant, "ACTION_REQUIRED", FULL_INVOICE)
    invoice = FULL_INVOICE | {
        "createdAt": "2026-01-30T00:00:00.000Z", "dueDate": "2026-02-28T00:00:00.000Z",
        "total": 1e19, "amountDue": 1e-9,
    }  # fmt: skip
    assert told == grant | {"paymentCollection": "ACTION_REQUIRED", "invoiceId": "in_1", "latestInvoice": invoice}


def test_what_is_not_told_of_an_invoice_is_null_and_its_instants_are_now(service: Service, customer: str) -> None:
    grant = grant_of(service, customer)
    at = wire(now(service))
    bare = dict.fromkeys(FULL_INVOICE | {"total": None, "amountDue": None}) | OPEN
    bare |= {"requiresAction": False, "createdAt": at, "updatedAt": at}
    assert record(service, grant, "PROCESSING", OPEN)["latestInvoice"] == bare


@pytest.mark.parametrize(
    ("given", "exact"),
    [
        ({"total": 99.9},                  "99.9"),
        ({"totalExact": "99.9"},           "99.9"),
        ({"totalExact": "99.900000000"},   "99.9"),
        ({"total": 0},                     "0"),
        ({"total": 1e-9},                  "0.000000001"),
        ({"totalExact": "0.1"},            "0.1"),
        ({"totalExact": "100"},            "100"),
    ],
    ids=str,
)  # fmt: skip
def test_the_money_of_an_invoice_has_exact_twins(
    service: Service, customer: str, given: dict[str, Any], exact: str
) -> None:
    grant = grant_of(service, customer)
    due = {name.replace("total", "amountDue"): value for name, value in given.items()}
    invoice = record(service, grant, "PROCESSING", OPEN | given | due)["latestInvoice"]
    assert (invoice["totalExact"], invoice["amountDueExact"]) == (exact, exact)
    assert (invoice["total"], invoice["amountDue"]) == (float(exact), float(exact))


@pytest.mark.parametrize("status", ["OPEN", "PAID", "CANCELED"])
def test_an_invoice_has_the_status_that_was_told(service: Service, customer: str, status: str) -> None:
    grant = grant_of(service, customer)
    told = record(service, grant, "NOT_REQUIRED", OPEN | {"status": status})
    assert (told["latestInvoice"]["status"], told["status"]) == (status, "ACTIVE")


def test_the_latest_invoice_is_the_one_that_was_told_last(service: Service, customer: str) -> None:
    """Told again it keeps its beginning; another one has its own; a payment told without one leaves it."""
    grant = grant_of(service, customer)
    first_at = wire(now(service))
    record(service, grant, "PROCESSING", OPEN | {"errorMessage": "declined", "dueDate": "2026-03-01T00:00:00Z"})
    move(service, now(service) + SECOND)
    again = record(service, grant, "PROCESSING", OPEN)["latestInvoice"]
    assert (again["createdAt"], again["updatedAt"]) == (first_at, wire(now(service)))
    assert (again["errorMessage"], again["dueDate"]) == (None, None)  # an invoice is told whole
    told = record(service, grant, "FAILED", OPEN | {"billingId": "in_2", "errorMessage": "declined again"})
    assert (told["invoiceId"], told["latestInvoice"]["createdAt"]) == ("in_2", wire(now(service)))
    kept = record(service, grant, "ACTION_REQUIRED")
    assert kept["latestInvoice"] == told["latestInvoice"]


def test_a_paid_invoice_asks_for_nothing_any_more(service: Service, customer: str) -> None:
    grant = grant_of(service, customer)
    told = record(service, grant, "ACTION_REQUIRED", FULL_INVOICE)
    move(service, now(service) + SECOND)
    paid = service.data(MARK, input={"creditGrantId": grant["id"]})["answer"]
    at = wire(now(service))
    invoice = told["latestInvoice"] | {
        "status": "PAID", "updatedAt": at, "amountDue": 0, "amountDueExact": "0", "requiresAction": False,
        "errorMessage": None,
    }  # fmt: skip
    assert paid == told | {
        "status": "ACTIVE", "paymentCollection": "NOT_REQUIRED", "latestInvoice": invoice, "updatedAt": at,
    }  # fmt: skip
    assert read(service, READ, id=grant["id"])["answer"] == paid


def test_a_grant_that_was_not_to_be_invoiced_may_have_one_all_the_same(service: Service, customer: str) -> None:
    grant = grant_of(service, customer, "NONE")
    record(service, grant, "PROCESSING", OPEN)
    assert service.data(MARK, input={"creditGrantId": grant["id"]})["answer"]["latestInvoice"]["status"] == "PAID"


@pytest.mark.parametrize("name", ["00000000-0000-4000-8000-000000000000", "cg-nosuchgrant12", "nobody's"])
def test_a_grant_that_is_not_there_is_not_paid(service: Service, name: str) -> None:
    for query, given in ((MARK, {}), (RECORD, {"paymentCollection": "FAILED"})):
        refusal = service.refusal(query, input={"creditGrantId": name} | given)
        assert refusal == {"code": "CreditGrantNotFound", "grant": name}


def refused(service: Service, query: str, grant: Any, **given: Any) -> tuple[str, str | None]:
    """The code of a refusal, and the field it names; nothing is written."""
    before = head(service)
    refusal = service.refusal(query, input={"creditGrantId": grant["id"]} | given)
    assert head(service) == before
    return refusal["code"], refusal.get("field")


def test_a_void_grant_is_not_paid(service: Service, customer: str) -> None:
    for cost in (COST, FREE):
        grant = grant_of(service, customer, cost=cost)
        service.data(VOID, input={"id": grant["id"]})
        already = ("CreditGrantAlreadyVoided", None)
        assert refused(service, MARK, grant) == already
        for collection in COLLECTIONS:
            assert refused(service, RECORD, grant, paymentCollection=collection, invoice=OPEN) == already


def test_a_free_grant_is_not_paid(service: Service, customer: str) -> None:
    for method in ("NONE", "INVOICE", "CHARGE"):
        grant = grant_of(service, customer, method, cost=FREE)
        bad = ("InvalidArgumentError", "creditGrantId")
        assert refused(service, MARK, grant) == bad
        for collection in COLLECTIONS:
            assert refused(service, RECORD, grant, paymentCollection=collection) == bad


def test_a_grant_that_nobody_is_invoiced_for_has_no_invoice_to_mark(service: Service, customer: str) -> None:
    grant = grant_of(service, customer, "NONE")
    assert refused(service, MARK, grant) == ("InvalidArgumentError", "creditGrantId")


@pytest.mark.parametrize("collection", ["PROCESSING", "FAILED", "ACTION_REQUIRED"])
def test_an_invoice_that_is_paid_is_no_open_payment(service: Service, customer: str, collection: str) -> None:
    """Neither told so at once, nor afterwards, when a message comes late; the invoice itself may be another."""
    grant = grant_of(service, customer)
    paid = OPEN | {"status": "PAID"}
    bad = ("InvalidArgumentError", "paymentCollection")
    assert refused(service, RECORD, grant, paymentCollection=collection, invoice=paid) == bad
    record(service, grant, "NOT_REQUIRED", paid)
    assert refused(service, RECORD, grant, paymentCollection=collection) == bad
    other = OPEN | {"billingId": "in_2"}
    assert refused(service, RECORD, grant, paymentCollection=collection, invoice=other) == bad
    assert record(service, grant, "NOT_REQUIRED", other)["invoiceId"] == "in_2"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"total": -0.01},                             "total"),
        ({"totalExact": "-1"},                         "total"),
        ({"totalExact": "0.0000000001"},               "total"),
        ({"totalExact": "10000000000000000000"},       "total"),
        ({"totalExact": "much"},                       "total"),
        ({"totalExact": 5},                            "total"),
        ({"total": 1, "totalExact": "1"},              "totalExact"),
        ({"total": 0.1234567890123456},                "totalExact"),
        ({"amountDue": -1},                            "amountDue"),
        ({"amountDue": 1, "amountDueExact": "1"},      "amountDueExact"),
        ({"amountDue": 1234567.8901234567},            "amountDueExact"),
        ({"currency": "eur"},                          "currency"),
        ({"currency": "EURO"},                         "currency"),
        ({"currency": ""},                             "currency"),
        ({"billingId": ""},                            "billingId"),
        ({"billingId": "x" * 201},                     "billingId"),
        ({"billingId": "a\0b"},                        "billingId"),
        ({"billingId": None},                          "billingId"),
        ({"status": "SENT"},                           "SENT"),
        ({"status": None},                             "status"),
        ({"errorMessage": "a\0b"},                     "errorMessage"),
        ({"errorMessage": "x" * 10_000},               "errorMessage"),
        ({"paymentUrl": "x" * 10_000},                 "paymentUrl"),
        ({"pdfUrl": "x" * 10_000},                     "pdfUrl"),
        ({"dueDate": "2026-02-28"},                    "dueDate"),
        ({"createdAt": "2026-02-28T00:00:00"},         "createdAt"),
        ({"requiresAction": "yes"},                    "requiresAction"),
    ],
    ids=lambda value: repr(value)[:50],
)  # fmt: skip
def test_what_no_invoice_says_is_refused_by_its_field(
    service: Service, customer: str, given: dict[str, Any], says: str
) -> None:
    grant = grant_of(service, customer)
    before = head(service)
    wanted = {"creditGrantId": grant["id"], "paymentCollection": "NOT_REQUIRED", "invoice": OPEN | given}
    (error,) = service.graphql(RECORD, input=wanted).json()["errors"]
    assert error["extensions"]["code"] == "InvalidArgumentError"
    assert says in error["message"]
    assert head(service) == before
    assert read(service, READ, id=grant["id"])["answer"] == grant


@pytest.mark.parametrize("collection", ["PAID", "", None])
def test_a_payment_has_one_of_the_collections_there_are(
    service: Service, customer: str, collection: str | None
) -> None:
    grant = grant_of(service, customer)
    wanted = {"creditGrantId": grant["id"], "paymentCollection": collection}
    assert service.refusal(RECORD, input=wanted)["code"] == "InvalidArgumentError"


def test_an_unpaid_grant_can_be_voided(service: Service, customer: str) -> None:
    grant = grant_of(service, customer)
    voided = service.data(VOID, input={"id": grant["id"], "reason": "never paid"})["answer"]
    at = wire(now(service))
    assert voided == grant | {"status": "VOIDED", "voidedAt": at, "updatedAt": at, "remainingAmount": "0"}
    newest = rows_of(service, customer)[0]
    assert (newest["eventType"], newest["signedAmount"], newest["grantBalanceAfter"], newest["reason"]) == (
        "CREDITS_VOIDED", "-50", "0", "never paid",
    )  # fmt: skip
    assert available(service, customer) == "0"


def test_an_unpaid_grant_expires_and_a_late_payment_brings_nothing_back(service: Service, customer: str) -> None:
    ends = now(service) + SECOND
    grant = grant_of(service, customer, expireAt=wire(ends))
    move(service, ends - MICROSECOND)
    assert read(service, READ, id=grant["id"])["answer"]["status"] == "PENDING"
    move(service, ends)
    expired = read(service, READ, id=grant["id"])["answer"]
    assert (expired["status"], expired["paymentCollection"], expired["remainingAmount"]) == (
        "EXPIRED", "PROCESSING", "0",
    )  # fmt: skip
    (lapse,) = rows_of(service, customer, "CREDITS_EXPIRED")
    assert (lapse["signedAmount"], lapse["timestamp"], lapse["balanceAfter"]) == ("-50", wire(ends), "0")
    late = service.data(MARK, input={"creditGrantId": grant["id"]})["answer"]
    assert (late["status"], late["paymentCollection"]) == ("EXPIRED", "NOT_REQUIRED")
    assert available(service, customer) == "0"


def test_a_payment_in_the_last_microsecond_counts(service: Service, customer: str) -> None:
    ends = now(service) + SECOND
    grant = grant_of(service, customer, expireAt=wire(ends))
    move(service, ends - MICROSECOND)
    assert service.data(MARK, input={"creditGrantId": grant["id"]})["answer"]["status"] == "ACTIVE"
    service.data(CONSUME, input=use(customer, 50))
    assert read(service, READ, id=grant["id"])["answer"]["status"] == "CONSUMED"


def test_a_paid_grant_still_begins_at_its_own_instant(service: Service, customer: str) -> None:
    begins = now(service) + SECOND
    grant = grant_of(service, customer, effectiveAt=wire(begins))
    paid = service.data(MARK, input={"creditGrantId": grant["id"]})["answer"]
    assert (paid["status"], paid["paymentCollection"]) == ("PENDING", "NOT_REQUIRED")
    (row,) = read(service, SUMMARY, customer=customer)["creditBalanceSummary"]["balances"]
    assert row == NOTHING_USABLE | {"validUntil": wire(begins)}
    move(service, begins)
    assert available(service, customer) == "50"


def test_the_ledger_tells_of_payments_in_rows_without_credits(service: Service, customer: str) -> None:
    grant = grant_of(service, customer)
    recorded = service.graphql(RECORD, input={"creditGrantId": grant["id"], "paymentCollection": "FAILED"})
    marked = service.graphql(MARK, input={"creditGrantId": grant["id"]})
    rows = rows_of(service, customer, "CREDITS_UPDATED")
    positions = [answer.headers["X-Ledger-Position"] for answer in (marked, recorded)]
    at = wire(now(service))
    assert rows == [
        {
            "timestamp": at, "eventType": "CREDITS_UPDATED", "amount": 0, "amountExact": "0", "signedAmount": "0",
            "balanceAfter": "50", "grantBalanceAfter": "50", "creditGrantId": grant["id"], "position": position,
            "actor": "API_KEY:admin", "reason": None,
        }
        for position in positions
    ]  # fmt: skip
    assert [row["eventType"] for row in rows_of(service, customer)] == ["CREDITS_UPDATED"] * 2 + ["CREDITS_GRANTED"]


def test_a_payment_told_again_is_answered_as_the_first(service: Service, customer: str) -> None:
    """Also when another invoice was told since, and when the grant is paid, used and void."""
    grant = grant_of(service, customer)
    told = {
        "creditGrantId": grant["id"], "paymentCollection": "FAILED", "invoice": FULL_INVOICE, "idempotencyKey": "key",
    }  # fmt: skip
    mark = {"creditGrantId": grant["id"], "idempotencyKey": "key"}
    recorded = service.graphql(RECORD, input=told)
    record(service, grant, "ACTION_REQUIRED", OPEN | {"billingId": "in_2"})
    marked = service.graphql(MARK, input=mark)
    service.data(CONSUME, input=use(customer, 20))
    service.data(VOID, input={"id": grant["id"]})
    assert recorded.json()["data"]["answer"]["latestInvoice"]["pdfUrl"] == FULL_INVOICE["pdfUrl"]
    assert marked.json()["data"]["answer"]["status"] == "ACTIVE"

    before = head(service)
    for query, wanted, first in ((RECORD, told, recorded), (MARK, mark, marked)):
        for name in (grant["id"], grant["grantId"]):
            assert service.graphql(query, input=wanted | {"creditGrantId": name}).text == first.text
    same = {name: value for name, value in FULL_INVOICE.items() if name != "createdAt"}
    other_spelling = same | {"createdAt": "2026-01-30T01:00:00+01:00", "amountDueExact": None, "amountDue": 1e-9}
    assert service.graphql(RECORD, input=told | {"invoice": other_spelling}).text == recorded.text
    assert head(service) == before


@pytest.mark.parametrize(
    ("other", "differing"),
    [
        ({"paymentCollection": "PROCESSING"},                                ["paymentCollection"]),
        ({"invoice": None},                                                  ["invoice"]),
        ({"invoice": FULL_INVOICE | {"billingId": "in_2"}},                  ["invoice"]),
        ({"invoice": FULL_INVOICE | {"amountDueExact": "0.000000002"}},      ["invoice"]),
        ({"invoice": FULL_INVOICE | {"requiresAction": None}},               ["invoice"]),
        ({"invoice": FULL_INVOICE | {"createdAt": None}},                    ["invoice"]),
        ({"paymentCollection": "NOT_REQUIRED", "invoice": OPEN},             ["invoice", "paymentCollection"]),
    ],
    ids=lambda value: repr(value)[:60],
)  # fmt: skip
def test_another_payment_under_the_same_key_is_a_conflict(
    service: Service, customer: str, other: dict[str, Any], differing: list[str]
) -> None:
    grant = grant_of(service, customer)
    record(service, grant, "FAILED", FULL_INVOICE, idempotencyKey="key")
    wanted = {"creditGrantId": grant["id"], "paymentCollection": "FAILED", "invoice": FULL_INVOICE}
    before = head(service)
    refusal = service.refusal(RECORD, input=wanted | other | {"idempotencyKey": "key"})
    assert (refusal["code"], refusal["key"], sorted(refusal["differing"])) == ("IdempotencyKeyReused", "key", differing)
    assert head(service) == before


def test_a_key_is_free_for_another_operation_on_the_grant(service: Service, customer: str) -> None:
    grant = grant_of(service, customer, idempotencyKey="key")
    record(service, grant, "FAILED", idempotencyKey="key")
    marked = service.data(MARK, input={"creditGrantId": grant["id"], "idempotencyKey": "key"})["answer"]
    assert marked["status"] == "ACTIVE"


@pytest.mark.parametrize(
    ("other", "differing"),
    [
        ({"paymentCollectionMethod": "CHARGE"},    ["paymentCollectionMethod"]),
        ({"paymentCollectionMethod": None},        ["paymentCollectionMethod"]),
        ({"awaitPaymentConfirmation": False},      ["awaitPaymentConfirmation"]),
    ],
    ids=str,
)  # fmt: skip
def test_how_a_grant_is_to_be_paid_is_part_of_its_request(
    service: Service, customer: str, other: dict[str, Any], differing: list[str]
) -> None:
    first = grant_of(service, customer, idempotencyKey="key")
    assert grant_of(service, customer, idempotencyKey="key", awaitPaymentConfirmation=True) == first
    wanted = {
        "customerId": customer, "currencyId": "credits", "displayName": "grant", "grantType": "PAID", "amount": 50,
        "cost": COST, "paymentCollectionMethod": "INVOICE", "idempotencyKey": "key",
    }  # fmt: skip
    refusal = service.refusal(CREATE, input=wanted | other)
    assert (refusal["code"], refusal["differing"]) == ("IdempotencyKeyReused", differing)
