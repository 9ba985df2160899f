"""Balances, lots, the ledger and usage as other doors tell them now, and as they were."""

import secrets
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from ledger.application import ChangeAllocationRule, RemoveAllocationRule
from ledger.domain.values import Kind
from ledger.store.database import Database
from tests.audit.asking import Auditor, auditing
from tests.conftest import START
from tests.service.rules import Rules
from tests.service.test_api_keys import as_key, key_for
from tests.service.test_graphql_clock import GRANTS, read

SUMMARY = """
query ($input: CreditBalanceSummaryInput!) {
  creditBalanceSummary(input: $input) { balances { currencyId currentBalanceExact } }
}
"""
EXECUTIONS = "query ($company: ID) { executionCredits(companyId: $company) { collection { credits usedCredits } } }"
MICROSECOND, HOUR, DAY = timedelta(microseconds=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture(scope="module")
def auditor(schema: Database) -> Iterator[Auditor]:
    with auditing(schema) as auditor:
        yield auditor


@pytest.fixture
def customer() -> str:
    """A customer whom no other test knows."""
    return f"customer-{secrets.token_hex(6)}"


def test_what_is_available_is_what_the_customers_summary_tells_with_nothing_settled(
    auditor: Auditor, customer: str
) -> None:
    """By currency and resource: lots that began, ended, came to be paid for, were used, and are void."""
    books, start = auditor.books, auditor.hands.now
    grant = {"holder": customer, "currency": "credits", "display_name": "g", "grant_type": "PAID"}
    books.issue_grant(**grant, amount=1, expires_at=start + DAY)
    books.issue_grant(**grant, amount=2, effective_at=start + DAY)
    books.issue_grant(**grant, amount=4, effective_at=start + 2 * DAY)
    books.issue_grant(**grant, amount=8, cost=1, payment_method="INVOICE")
    paid = books.issue_grant(**grant, amount=16, cost=1, payment_method="INVOICE", resource="r")
    void = books.issue_grant(**grant, amount=32, resource="r")
    books.issue_grant(**grant | {"currency": "seconds"}, amount=64)
    books.open_execution_credit(
        company=customer, credit_type="DAST", credits=12, rollup_type="MONTHLY", period_anchor=start - 27 * DAY
    )
    books.record_grant_payment(grant=paid.stream_id, collection="NOT_REQUIRED")
    books.consume(holder=customer, currency="credits", amount=5, resource="r")
    books.consume(holder=customer, currency="DAST", amount=5, kind=Kind.EXECUTION_CREDIT)
    books.void_grant(grant=void.stream_id)
    for passed in (HOUR, DAY, 10 * DAY):
        auditor.hands.set(start + passed)
        for resource in (None, "r"):
            rows = auditor.rows("audit/balances", customer=customer, resource=resource)
            assert {row["currency"]: row["available"] for row in rows if row["resource"] == resource} == usable(
                auditor, customer, resource
            )
        statuses = {row["lot"]: row["status"] for row in auditor.rows("audit/lots", customer=customer)}
        assert statuses == statuses_told(auditor, customer)
        execution = auditor.row("audit/balances", company=customer)["available"]
        assert execution == ("7" if passed < 10 * DAY else "12") == executions_left(auditor, customer)


def test_a_void_grant_that_never_began_is_void_from_when_it_was_said(auditor: Auditor, customer: str) -> None:
    books, start = auditor.books, auditor.hands.now
    given = {"holder": customer, "currency": "credits", "grant_type": "PAID", "amount": 5}
    grant = books.issue_grant(**given, display_name="April", effective_at=start + 9 * DAY, cost="1.25").stream_id
    auditor.hands.set(start + DAY)
    books.void_grant(grant=grant)

    def lot(at: datetime) -> Any:
        return auditor.row("audit/lots", customer=customer, grant=grant, effectiveAsOf=at)

    figures = ("status", "toCome", "granted", "voided", "balance", "cost")
    assert [lot(start + hours * HOUR)[name] for hours in (23, 24, 9 * 24) for name in figures] == [
        *("PENDING", "5", "0", "0", "0", "1.25"),
        *("VOIDED", "0", "0", "0", "0", "1.25"),
        *("VOIDED", "0", "5", "5", "0", "1.25"),
    ]
    assert auditor.rows("audit/lots", customer=customer, effectiveAsOf=start - MICROSECOND) == []


def test_a_lot_is_told_by_the_terms_that_were_in_force(auditor: Auditor, customer: str) -> None:
    """Unpaid until it is paid for, and to end when it was said then, whatever has been said since."""
    books, start = auditor.books, auditor.hands.now
    grant = books.issue_grant(
        holder=customer, currency="credits", grant_type="PAID", amount=5, display_name="March", cost=1,
        payment_method="INVOICE", expires_at=start + 2 * DAY,
    ).stream_id  # fmt: skip
    auditor.hands.set(start + DAY)
    books.update_grant(grant=grant, expires_at=start + 3 * DAY, priority=7)
    auditor.hands.set(start + 2 * DAY)
    books.record_grant_payment(grant=grant, collection="NOT_REQUIRED")
    auditor.hands.set(start + 9 * DAY)

    def told(hours: int) -> tuple[Any, ...]:
        clocks = {"customer": customer, "effectiveAsOf": start + hours * HOUR}
        lot, pool = auditor.row("audit/lots", **clocks), auditor.row("audit/balances", **clocks)
        assert (lot["balance"], lot["available"]) == (pool["booked"], pool["available"])
        return (lot["status"], lot["expiresAt"][:10], lot["priority"], pool["awaitingPayment"], pool["available"])

    first, second = f"{start + 2 * DAY:%Y-%m-%d}", f"{start + 3 * DAY:%Y-%m-%d}"
    assert [told(hours) for hours in (23, 24, 48, 72)] == [
        ("PENDING", first, "50", "5", "0"),
        ("PENDING", second, "7", "5", "0"),
        ("ACTIVE", second, "7", "0", "5"),
        ("EXPIRED", second, "7", "0", "0"),
    ]


def test_a_grant_counts_from_its_beginning_as_it_was_told_last(auditor: Auditor, customer: str) -> None:
    """Even from before it was recorded; nothing had been said of it by then but its first terms."""
    books, start = auditor.books, auditor.hands.now
    given: dict[str, Any] = {"holder": customer, "currency": "credits", "display_name": "g", "grant_type": "PAID"}
    issued = books.issue_grant(**given, amount=5, effective_at=start + 9 * DAY)
    auditor.hands.set(start + DAY)
    books.update_grant(grant=issued.stream_id, effective_at=start - DAY, priority=7)
    then = {"customer": customer, "effectiveAsOf": start - HOUR}
    assert auditor.rows("audit/lots", **then, recordedAsOf=issued.position) == []
    assert auditor.row("audit/balances", **then)["booked"] == "5"
    lot = auditor.row("audit/lots", **then)
    assert (lot["status"], lot["balance"], lot["toCome"], lot["priority"]) == ("ACTIVE", "5", "0", "50")
    opened = {"position": issued.position, "countsAt": lot["beginsAt"], "amount": "5"}
    assert auditor.row("audit/ledger", **then).items() >= opened.items()
    assert auditor.rows("report/statement", **then)[1].items() >= opened.items()


def test_what_is_left_of_a_lot_whose_end_was_not_recorded_yet_is_told_apart(auditor: Auditor, customer: str) -> None:
    books, start = auditor.books, auditor.hands.now
    given: dict[str, Any] = {"holder": customer, "currency": "credits", "display_name": "g", "grant_type": "PAID"}
    known = books.issue_grant(**given, amount=5, expires_at=start + DAY).position
    auditor.hands.set(start + DAY)
    then = auditor.row("audit/balances", customer=customer, effectiveAsOf=start + DAY, recordedAsOf=known)
    assert [then[name] for name in ("expired", "booked", "ended", "available")] == ["0", "5", "5", "0"]
    now = auditor.row("audit/balances", customer=customer)
    assert [now[name] for name in ("expired", "booked", "ended", "available")] == ["5", "0", "0", "0"]


def test_the_ledger_is_read_page_by_page(auditor: Auditor, customer: str) -> None:
    books = auditor.books
    books.issue_grant(
        holder=customer, currency="credits", amount=10, display_name="March", grant_type="PAID", comment="as agreed"
    )
    used = books.consume(holder=customer, currency="credits", amount=3)
    back = books.refund(transaction_id=used.transaction_id, amount=1, reason="half a job")
    first = auditor.rows("audit/ledger", customer=customer, limit=2)
    assert [(row["position"], row["amount"], row["poolBalance"]) for row in first] == [
        (back.position, "1", "8"),
        (used.position, "-3", "7"),
    ]
    assert first[0]["reason"] == "half a job"
    last = auditor.row("audit/ledger", customer=customer, limit=2, before=used.position)
    assert (last["event"], last["displayName"], last["comment"]) == ("ledger.granted", "March", "as agreed")
    assert auditor.rows("audit/ledger", customer=customer) == [*first, last]


def test_a_resource_is_asked_for_alone(auditor: Auditor, customer: str) -> None:
    books = auditor.books
    for amount, resource in ((10, None), (20, "r")):
        given = {"holder": customer, "currency": "credits", "resource": resource}
        books.issue_grant(**given, amount=amount, display_name="g", grant_type="PAID")
        books.consume(**given, amount=amount // 2)
    for question, found in (("audit/balances", 1), ("audit/lots", 1), ("audit/ledger", 2), ("audit/usage", 1)):
        assert [row["resource"] for row in auditor.rows(question, customer=customer, resource="r")] == ["r"] * found
        assert len(auditor.rows(question, customer=customer)) == 2 * found
    assert len(auditor.rows("report/statement", customer=customer, resource="r")) == 4
    assert len(auditor.rows("report/statement", customer=customer)) == 8


@pytest.mark.parametrize(
    ("question",       "parameters",                                    "field"),
    [
        ("audit/balances", {},                                          "customer"),
        ("audit/balances", {"customer": "a", "company": "a"},           "company"),
        ("audit/balances", {"customer": "a", "recordedAsOf": 10**9},    "recordedAsOf"),
        ("audit/balances", {"customer": "a", "effectiveAsOf": "today"}, "effectiveAsOf"),
        ("audit/ledger",   {"customer": "a", "limit": 0},               "limit"),
        ("audit/ledger",   {"customer": "a", "before": -1},             "before"),
        ("audit/usage",    {},                                          "customer"),
        ("audit/usage",    {"rule": "a", "customer": "a"},              "customer"),
        ("audit/usage",    {"rule": "a", "currency": "a"},              "currency"),
        ("audit/usage",    {"customer": "a", "size": "WEEK"},           "size"),
        ("audit/usage",    {"customer": "a", "from": START, "to": START}, "from"),
        ("audit/usage",    {"customer": "a", "from": "0001-01-01T00:00:00Z"}, "from"),
        ("report/statement", {"customer": "a", "to": START, "effectiveAsOf": START}, "to"),
    ],
)  # fmt: skip
def test_a_question_that_makes_no_sense_is_refused_by_the_name_of_what_is_wrong(
    auditor: Auditor, question: str, parameters: dict[str, object], field: str
) -> None:
    answer = auditor.get(question, **parameters)
    assert (answer.status_code, answer.json()["field"]) == (400, field), answer.text


def usable(auditor: Auditor, customer: str, resource: str | None) -> dict[str, str]:
    """What is usable now by currency, as the customer's summary tells."""
    summary = read(auditor.service, SUMMARY, input={"customerId": customer, "resourceId": resource})
    return {each["currencyId"]: each["currentBalanceExact"] for each in summary["creditBalanceSummary"]["balances"]}


def statuses_told(auditor: Auditor, customer: str) -> dict[str, str]:
    """The status of each of a customer's grants now, as lists tell it."""
    told = [
        read(auditor.service, GRANTS, input={"customerId": customer, "resourceId": resource})["creditGrants"]["edges"]
        for resource in (None, "r")
    ]
    return {edge["node"]["id"]: edge["node"]["status"] for edges in told for edge in edges}


def executions_left(auditor: Auditor, company: str) -> str:
    (credit,) = read(auditor.service, EXECUTIONS, company=company)["executionCredits"]["collection"]
    return str(credit["credits"] - credit["usedCredits"])


def told_of_rule(auditor: Auditor, name: str, start: datetime, end: datetime) -> tuple[int, int]:
    """Used credits and percentage of a rule, as its own door tells them."""
    times = [round(instant.timestamp() * 1000) for instant in (start, end)]
    window = {"type": "absolute", "value": dict(zip(("startTime", "endTime"), times, strict=True))}
    rules = Rules(auditor.service, name)
    (rule,) = rules.list(ruleNames=[name], timeRange=window)["rules"]
    return rule["usedCredits"], rule["percentage"]


class TestUsageOfARule:
    def test_it_is_what_the_rules_own_door_tells(self, auditor: Auditor, customer: str) -> None:
        """A use of each group and of both, refunds, both kinds; the second rule counts one currency alone."""
        books, start = auditor.books, auditor.hands.now
        g, h = f"g of {customer}", f"h of {customer}"
        for currency in ("credits", "seconds"):
            books.issue_grant(
                holder=customer, currency=currency, amount=100, display_name="g", grant_type="PAID", effective_at=start
            )
        auditor.hands.set(start + 2 * DAY)
        late = {"holder": customer, "use_at": start + DAY}
        uses = [
            books.consume(**late, currency=currency, amount=amount, account_groups=groups)
            for currency, amount, groups in (
                *(("credits", 10, (g,)), ("credits", 20, (g, h)), ("seconds", 5, (h,))),
                *(("credits", 40, ("another",)), ("credits", 2, None)),
            )
        ]
        auditor.hands.set(start + 3 * DAY)
        books.refund(transaction_id=uses[1].transaction_id, amount=4)
        given = {"account_groups": [g, h], "allocated": 30, "alarm_threshold": 90}
        told: list[tuple[str, str | None]] = [(f"all {customer}", None), (f"one {customer}", "credits")]
        for name, only in told:
            rule = books.define_allocation_rule(name=name, currency=only, **given).stream_id
            window = {"from": start, "to": start + 3 * DAY}
            row = auditor.row("audit/usage", rule=rule, **window)
            used = 31 if only is None else 26
            assert (row["name"], row["used"], row["currency"]) == (name, str(used), only)
            assert (used, row["percentage"]) == told_of_rule(auditor, name, start, start + 3 * DAY)
            assert row["aboveThreshold"] == (only is None)
            assert auditor.row("audit/usage", rule=name, **window) == row
            days = auditor.rows("audit/usage", rule=rule, size="DAY")
            assert [(day["pointAt"], day["used"]) for day in days] == [
                (f"{start + DAY:%Y-%m-%d}T00:00:00.000Z", str(used))
            ]

    def test_the_window_is_right_to_the_microsecond(self, auditor: Auditor, customer: str) -> None:
        """Each use is recorded when it is made: the first one of the window is the first event recorded in it."""
        books, begin = auditor.books, auditor.hands.now + DAY
        books.issue_grant(holder=customer, currency="credits", amount=100, display_name="g", grant_type="PAID")
        books.define_allocation_rule(name=customer, account_groups=[customer], allocated=10, alarm_threshold=50)
        end = begin + HOUR
        for amount, at in ((1, begin - MICROSECOND), (2, begin), (4, end - MICROSECOND), (8, end)):
            auditor.hands.set(at)
            books.consume(holder=customer, currency="credits", amount=amount, account_groups=(customer,))
        for asked in ({"customer": customer}, {"rule": customer}):
            assert auditor.row("audit/usage", **asked, **{"from": begin, "to": end})["used"] == "6"
            assert auditor.row("audit/usage", **asked, **{"from": begin})["used"] == "14"
            assert auditor.row("audit/usage", **asked, to=end)["used"] == "7"

    def test_the_rule_and_its_uses_are_as_they_were(self, auditor: Auditor, customer: str) -> None:
        books, name = auditor.books, f"rule of {customer}"
        books.issue_grant(holder=customer, currency="credits", amount=100, display_name="g", grant_type="PAID")
        rule = books.define_allocation_rule(name=name, account_groups=[customer], allocated=10, alarm_threshold=50)
        used = books.consume(holder=customer, currency="credits", amount=5, account_groups=(customer,))
        changed = books.execute(ChangeAllocationRule(rule=rule.stream_id, allocated=100))
        books.refund(transaction_id=used.transaction_id, amount=1)
        books.execute(RemoveAllocationRule(rule=rule.stream_id))

        def told(position: int | None) -> Any:
            row = auditor.row("audit/usage", rule=name, recordedAsOf=position)
            return row["used"], row["allocated"], row["percentage"], row["aboveThreshold"]

        assert told(rule.position) == ("0", 10, 0, False)
        assert told(used.position) == ("5", 10, 50, True)
        assert told(changed.position) == ("5", 100, 5, False)
        assert told(changed.position + 1) == ("4", 100, 4, False)
        for position in (rule.position - 1, None):
            assert auditor.refusal("audit/usage", rule=name, recordedAsOf=position) == (404, "AllocationRuleNotFound")

    def test_a_key_for_some_customers_is_told_of_them_alone(
        self, auditor: Auditor, schema: Database, customer: str
    ) -> None:
        books, headers = auditor.books, as_key(key_for(schema, "auditor", customer))
        for holder in (customer, f"not {customer}"):
            books.issue_grant(holder=holder, currency="credits", amount=7, display_name="g", grant_type="PAID")

        def asked(question: str, **parameters: str) -> httpx.Response:
            return auditor.service.stranger.get(f"/v1/{question}", params=parameters, headers=headers)

        assert {row["holder"] for row in asked("report/expiring").json()["rows"]} == {customer}
        for question in ("audit/balances", "audit/lots", "audit/ledger", "audit/usage", "report/statement"):
            assert asked(question, customer=customer).status_code == 200
            assert asked(question, customer=f"not {customer}").status_code == 403
        assert asked("audit/usage", rule="any").status_code == 403
