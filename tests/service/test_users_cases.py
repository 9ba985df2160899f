"""What users meet: two at once, an answer that was lost, the last microsecond, a refund long after, 100,000 grants.

Some tests move the clock, forward only.
"""

import json
import secrets
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from threading import Barrier
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from ledger.application import IssueGrant, Receipt
from ledger.domain.values import GrantType
from ledger.store.clock import set_test_clock, settable_clock
from ledger.store.database import Database, Role
from service.bootstrap import open_ledger
from tests.service.serving import ANSWER_SECONDS_MAX, Service, client_of, serving

CREATE = "mutation ($input: CreditGrantInput!) { createCreditGrant(input: $input) { id status } }"
CONSUME = """
mutation ($input: ConsumeCreditInput!) {
  consumeCredits(input: $input) {
    transactionId amountExact timestamp position replayed draws { creditGrantId amountExact }
  }
}
"""
REFUND = """
mutation ($input: RefundCreditsInput!) {
  refundCredits(input: $input) {
    transactionId amountExact timestamp position replayed draws { creditGrantId amountExact }
  }
}
"""
VOID = "mutation ($input: VoidCreditGrantInput!) { voidCreditGrant(input: $input) { status consumedAmountExact } }"
GRANT = """
query ($id: String!) { creditGrant(id: $id) { status amountExact consumedAmountExact remainingAmount } }
"""
SUMMARY = """
query ($customer: String!) {
  creditBalanceSummary(input: {customerId: $customer}) {
    balances { totalGrantedExact totalConsumedExact currentBalanceExact validUntil }
  }
}
"""
LEDGER = """
query ($input: CreditLedgerInput!) {
  creditsLedger(input: $input) {
    edges { node { eventType signedAmount balanceAfter grantBalanceAfter timestamp eventId creditGrantId } }
    pageInfo { endCursor hasNextPage }
  }
}
"""
SECOND = timedelta(seconds=1)
MICROSECOND = timedelta(microseconds=1)
ROUNDS = 40
MANY = 100_000


def now(service: Service) -> datetime:
    return datetime.fromisoformat(service.http.get("/test/clock").json()["now"])


def move(service: Service, instant: datetime) -> None:
    assert service.set_clock(instant.isoformat()).status_code == 200


def wire(instant: datetime) -> str:
    """The instant as the door answers it."""
    unit = "milliseconds" if instant.microsecond % 1000 == 0 else "microseconds"
    return instant.replace(tzinfo=None).isoformat(timespec=unit) + "Z"


def grant_of(service: Service, customer: str, amount: int, **given: Any) -> str:
    fields = {"customerId": customer, "currencyId": "credits", "displayName": "g", "grantType": "PAID"}
    created: str = service.data(CREATE, input=fields | {"amount": amount} | given)["createCreditGrant"]["id"]
    return created


def use(customer: str, amount: int, key: str = "use") -> dict[str, Any]:
    return {"customerId": customer, "currencyId": "credits", "amount": amount, "idempotencyKey": key}


def use_of(service: Service, customer: str, amount: int, key: str = "use") -> Any:
    return service.data(CONSUME, input=use(customer, amount, key))["consumeCredits"]


def refund_of(service: Service, debit: Any, amount: str | None, key: str) -> Any:
    wanted = {"transactionId": debit["transactionId"], "amountExact": amount, "idempotencyKey": key}
    return service.data(REFUND, input=wanted)["refundCredits"]


def read(service: Service, query: str, **variables: Any) -> Any:
    """The data of a read at the head of the log."""
    head = service.http.get("/readyz").json()["head"]
    return service.data(query, {"X-Ledger-At-Least": head}, **variables)


def balance_of(service: Service, customer: str) -> Any:
    (row,) = read(service, SUMMARY, customer=customer)["creditBalanceSummary"]["balances"]
    return row


def rows_of(service: Service, customer: str, *types: str) -> list[Any]:
    """All rows of a customer's ledger, newest first."""
    rows: list[Any] = []
    paging: dict[str, Any] = {"first": 100}
    while True:
        wanted = {"customerId": customer, "eventType": list(types) or None, "paging": paging}
        page = read(service, LEDGER, input=wanted)["creditsLedger"]
        rows += [edge["node"] for edge in page["edges"]]
        if not page["pageInfo"]["hasNextPage"]:
            return rows
        paging = {"first": 100, "after": page["pageInfo"]["endCursor"]}


@pytest.fixture(scope="module", params=["one process", "two processes"])
def both(request: pytest.FixtureRequest, service: Service, schema: Database) -> Iterator[tuple[Service, Service]]:
    """Where two callers send to: the same process, or two of the same ledger."""
    if request.param == "one process":
        yield service, service
        return
    with serving("--no-worker", database_url=schema.dsn, schema=schema.schema, test_clock="1") as other:
        yield service, other


@contextmanager
def at_once(both: tuple[Service, Service]) -> Iterator[Callable[[list[tuple[str, dict[str, Any]]]], list[Any]]]:
    """Two callers with connections of their own, who send what each is given at the same instant, again and again."""
    together = Barrier(len(both))
    with ExitStack() as stack:
        clients = [stack.enter_context(client_of(one.url, one.key)) for one in both]
        threads = stack.enter_context(ThreadPoolExecutor(len(both)))

        def send(client: httpx.Client, query: str, given: dict[str, Any]) -> Any:
            together.wait(ANSWER_SECONDS_MAX)
            return client.post("/graphql", json={"query": query, "variables": {"input": given}}).json()

        def send_all(requests: list[tuple[str, dict[str, Any]]]) -> list[Any]:
            sent = [threads.submit(send, client, *one) for client, one in zip(clients, requests, strict=True)]
            return [one.result() for one in sent]

        yield send_all


def code_of(answer: Any) -> str | None:
    """How an answer was refused; None if it was not."""
    return answer["errors"][0]["extensions"]["code"] if "errors" in answer else None


def test_of_two_who_spend_the_last_credit_exactly_one_wins(
    service: Service, both: tuple[Service, Service], customer: str
) -> None:
    with at_once(both) as send_all:
        for number in range(ROUNDS):
            grant = grant_of(service, customer, 1)
            answers = send_all([(CONSUME, use(customer, 1, f"{number} {caller}")) for caller in "ab"])
            assert sorted(map(str, map(code_of, answers))) == ["InsufficientCredits", "None"]
            (lost,) = (answer["errors"][0]["extensions"] for answer in answers if "errors" in answer)
            assert (lost["availableExact"], lost["shortfallExact"]) == ("0", "1")
            (won,) = (answer["data"]["consumeCredits"] for answer in answers if "errors" not in answer)
            assert won["draws"] == [{"creditGrantId": grant, "amountExact": "1"}]
    rows = rows_of(service, customer)
    assert Counter(row["eventType"] for row in rows) == {"CREDITS_GRANTED": ROUNDS, "CREDITS_CONSUMED": ROUNDS}
    assert {row["balanceAfter"] for row in rows} == {"1", "0"}
    assert balance_of(service, customer)["currentBalanceExact"] == "0"


def test_a_request_that_is_sent_twice_at_once_happens_once(
    service: Service, both: tuple[Service, Service], customer: str
) -> None:
    grant_of(service, customer, 10 * ROUNDS)
    with at_once(both) as send_all:
        for number in range(ROUNDS):
            answers = [
                answer["data"]["consumeCredits"] for answer in send_all([(CONSUME, use(customer, 5, str(number)))] * 2)
            ]
            assert sorted(answer.pop("replayed") for answer in answers) == [False, True]
            assert answers[0] == answers[1]
    assert balance_of(service, customer)["totalConsumedExact"] == str(5 * ROUNDS)


def test_who_lost_the_answer_and_asks_again_gets_the_first(service: Service, customer: str) -> None:
    """The connection ends when the answer has begun to come, before anything of it was read."""
    grant_of(service, customer, 10)
    where = urlsplit(service.url)
    assert where.hostname is not None
    body = json.dumps({"query": CONSUME, "variables": {"input": use(customer, 10)}})
    lines = [
        "POST /graphql HTTP/1.1", f"Host: {where.netloc}", f"X-API-KEY: {service.key}", f"Content-Length: {len(body)}",
        "Content-Type: application/json", "", body,
    ]  # fmt: skip
    with socket.create_connection((where.hostname, where.port or 80), timeout=ANSWER_SECONDS_MAX) as connection:
        connection.sendall("\r\n".join(lines).encode())
        assert connection.recv(1, socket.MSG_PEEK) == b"H"
    first = use_of(service, customer, 10)
    assert first["replayed"] is True
    (row,) = rows_of(service, customer, "CREDITS_CONSUMED")
    assert (row["eventId"], row["signedAmount"]) == (first["transactionId"], "-10")
    assert use_of(service, customer, 10) == first


def test_a_refund_sent_twice_gives_back_once(service: Service, both: tuple[Service, Service], customer: str) -> None:
    grant_of(service, customer, 10)
    debit = use_of(service, customer, 10)
    first = refund_of(service, debit, "4", "refund")
    assert refund_of(service, debit, "4.0", "refund") == first | {"replayed": True}
    assert balance_of(service, customer)["currentBalanceExact"] == "4"
    with at_once(both) as send_all:
        wanted = {"transactionId": debit["transactionId"], "idempotencyKey": "rest"}
        answers = [answer["data"]["refundCredits"] for answer in send_all([(REFUND, wanted)] * 2)]
    assert sorted(answer["replayed"] for answer in answers) == [False, True]
    assert [answer["amountExact"] for answer in answers] == ["6", "6"]
    assert balance_of(service, customer)["currentBalanceExact"] == "10"
    assert len(rows_of(service, customer, "CREDITS_REFUNDED")) == 2


def test_of_two_who_refund_the_whole_exactly_one_wins(
    service: Service, both: tuple[Service, Service], customer: str
) -> None:
    grant_of(service, customer, ROUNDS)
    with at_once(both) as send_all:
        for number in range(ROUNDS):
            debit = use_of(service, customer, 1, str(number))
            wanted = {"transactionId": debit["transactionId"], "amount": 1}
            answers = send_all([(REFUND, wanted | {"idempotencyKey": f"{number}{caller}"}) for caller in "ab"])
            assert sorted(map(str, map(code_of, answers))) == ["None", "RefundExceedsDebit"]
    assert balance_of(service, customer) == {
        "totalGrantedExact": str(ROUNDS), "totalConsumedExact": "0", "currentBalanceExact": str(ROUNDS),
        "validUntil": None,
    }  # fmt: skip


def test_a_refund_larger_than_the_rest_gives_back_nothing(service: Service, customer: str) -> None:
    grant_of(service, customer, 10)
    debit = use_of(service, customer, 8)
    refund_of(service, debit, "5", "first")
    for amount in (4, 1_000_000):
        wanted = {"transactionId": debit["transactionId"], "amount": amount, "idempotencyKey": "second"}
        refusal = service.refusal(REFUND, input=wanted)
        assert (refusal["code"], refusal["requestedExact"], refusal["refundableExact"]) == (
            "RefundExceedsDebit", str(amount), "3",
        )  # fmt: skip
    assert balance_of(service, customer)["currentBalanceExact"] == "7"
    assert refund_of(service, debit, "3", "second")["replayed"] is False  # the refusals kept no key
    assert balance_of(service, customer)["currentBalanceExact"] == "10"


@pytest.mark.parametrize("amount", [4, 10])
def test_whichever_wins_of_a_void_and_a_debit_the_sums_hold(
    service: Service, both: tuple[Service, Service], customer: str, amount: int
) -> None:
    """A void after a debit takes the rest, if there is any; a debit after a void finds nothing."""
    expected: dict[tuple[str | None, str | None], list[str]] = {("InsufficientCredits", None): ["-10", "10"]}
    if amount == 10:
        expected[None, "CreditGrantCannotBeVoided"] = ["-10", "10"]
    else:
        expected[None, None] = [f"-{10 - amount}", f"-{amount}", "10"]
    with at_once(both) as send_all:
        for number in range(ROUNDS):
            name = f"{customer}-{number}"
            grant = grant_of(service, name, 10)
            sent = [(CONSUME, use(name, amount)), (VOID, {"id": grant})]
            order = [0, 1] if number % 2 else [1, 0]
            answers = send_all([sent[place] for place in order])
            used, voided = (code_of(answers[order.index(place)]) for place in (0, 1))
            rows = rows_of(service, name)
            assert [row["signedAmount"] for row in rows] == expected[used, voided]
            assert (rows[0]["balanceAfter"], rows[0]["grantBalanceAfter"]) == ("0", "0")
            found = read(service, GRANT, id=grant)["creditGrant"]
            consumed = 0 if used else amount
            assert found == {
                "status": "CONSUMED" if voided else "VOIDED", "amountExact": "10",
                "consumedAmountExact": str(consumed), "remainingAmount": "0",
            }  # fmt: skip
            assert balance_of(service, name)["currentBalanceExact"] == "0"


def test_a_grant_pays_one_microsecond_before_its_end_and_not_at_its_end(service: Service, customer: str) -> None:
    ends = now(service) + SECOND
    grant_of(service, customer, 10, expireAt=wire(ends))
    move(service, ends - MICROSECOND)
    assert use_of(service, customer, 4, "before")["timestamp"] == wire(ends - MICROSECOND)
    move(service, ends)
    refusal = service.refusal(CONSUME, input=use(customer, 1, "at"))
    assert (refusal["code"], refusal["available"]) == ("InsufficientCredits", 0)
    assert use_of(service, customer, 4, "before")["replayed"] is True
    assert [(row["eventType"], row["signedAmount"], row["timestamp"]) for row in rows_of(service, customer)[:2]] == [
        ("CREDITS_EXPIRED", "-6", wire(ends)),
        ("CREDITS_CONSUMED", "-4", wire(ends - MICROSECOND)),
    ]


def check_future(service: Service, customer: str, grant: str, move_to: Callable[[datetime], None]) -> None:
    """A grant of 10 that begins a second from now, and ends a second after: as reads and uses meet it."""
    begins, ends = now(service) + SECOND, now(service) + 2 * SECOND
    for instant in (begins - SECOND, begins - MICROSECOND):
        move_to(instant)
        assert service.data(GRANT, id=grant)["creditGrant"]["status"] == "PENDING"
        (row,) = service.data(SUMMARY, customer=customer)["creditBalanceSummary"]["balances"]
        assert (row["currentBalanceExact"], row["validUntil"]) == ("0", wire(begins))
        refusal = service.refusal(CONSUME, input=use(customer, 1, "too early"))
        assert (refusal["code"], refusal["available"]) == ("InsufficientCredits", 0)
    move_to(begins)
    assert service.data(GRANT, id=grant)["creditGrant"]["status"] == "ACTIVE"
    (row,) = service.data(SUMMARY, customer=customer)["creditBalanceSummary"]["balances"]
    assert (row["currentBalanceExact"], row["validUntil"]) == ("10", wire(ends))
    used = use_of(service, customer, 3, "in time")
    assert (used["timestamp"], used["draws"]) == (wire(begins), [{"creditGrantId": grant, "amountExact": "3"}])
    move_to(ends - MICROSECOND)
    assert use_of(service, customer, 3, "still")["timestamp"] == wire(ends - MICROSECOND)
    move_to(ends)
    assert service.data(GRANT, id=grant)["creditGrant"]["status"] == "EXPIRED"
    (row,) = service.data(SUMMARY, customer=customer)["creditBalanceSummary"]["balances"]
    assert (row["currentBalanceExact"], row["validUntil"]) == ("0", None)
    assert service.refusal(CONSUME, input=use(customer, 1, "too late"))["code"] == "InsufficientCredits"


def test_a_grant_of_the_future_is_usable_from_its_instant_on(service: Service, customer: str) -> None:
    begins = now(service) + SECOND
    grant = grant_of(service, customer, 10, effectiveAt=wire(begins), expireAt=wire(begins + SECOND))
    check_future(service, customer, grant, lambda instant: move(service, instant))
    (lapse,) = rows_of(service, customer, "CREDITS_EXPIRED")
    assert (lapse["signedAmount"], lapse["timestamp"]) == ("-4", wire(begins + SECOND))


def test_a_grant_of_the_future_needs_no_worker(database: Database, customer: str) -> None:
    """Nobody follows the log and no job runs: the instant alone decides, for uses and for reads."""

    def move_to(instant: datetime) -> None:
        with database.connect(Role.WRITER) as connection:
            set_test_clock(connection, instant)

    with serving(database_url=database.dsn, schema=database.schema, test_clock="1") as first:
        assert first.set_clock("2026-01-31T12:00:00Z").status_code == 200
        begins = now(first) + SECOND
        grant = grant_of(first, customer, 10, effectiveAt=wire(begins), expireAt=wire(begins + SECOND))
        read(first, GRANT, id=grant)
    with serving("--no-worker", database_url=database.dsn, schema=database.schema, test_clock="1") as alone:
        check_future(alone, customer, grant, move_to)


def test_a_refund_into_an_expired_grant_gives_nothing_to_spend(service: Service, customer: str) -> None:
    ends = now(service) + SECOND
    ended = grant_of(service, customer, 10, expireAt=wire(ends))
    debit = use_of(service, customer, 10)
    move(service, ends + SECOND)
    assert read(service, GRANT, id=ended)["creditGrant"]["status"] == "CONSUMED"
    for key, amount, consumed in (("a", "2.5", "7.5"), ("b", None, "0")):
        refund = refund_of(service, debit, amount, key)
        assert read(service, GRANT, id=ended)["creditGrant"] == {
            "status": "EXPIRED", "amountExact": "10", "consumedAmountExact": consumed, "remainingAmount": "0",
        }  # fmt: skip
        assert balance_of(service, customer)["currentBalanceExact"] == "0"
        assert service.refusal(CONSUME, input=use(customer, 1, "again"))["code"] == "InsufficientCredits"
        again, back = rows_of(service, customer)[:2]
        assert (again["eventType"], back["eventType"]) == ("CREDITS_EXPIRED", "CREDITS_REFUNDED")
        assert again["eventId"] == back["eventId"] == refund["transactionId"]
        assert again["signedAmount"] == f"-{back['signedAmount']}"
        assert again["timestamp"] == back["timestamp"] == wire(ends + SECOND)
    assert rows_of(service, customer)[0]["balanceAfter"] == "0"


def test_a_refund_goes_back_through_three_grants_last_first_in_parts(service: Service, customer: str) -> None:
    a, b, c = (grant_of(service, customer, amount, priority=n) for n, amount in enumerate((10, 20, 30)))
    debit = use_of(service, customer, 45)
    assert debit["draws"] == [
        {"creditGrantId": grant, "amountExact": amount} for grant, amount in ((a, "10"), (b, "20"), (c, "15"))
    ]
    parts: list[tuple[str | None, list[tuple[str, str]]]] = [
        ("5",    [(c, "5")]),
        ("12.5", [(c, "10"), (b, "2.5")]),
        ("20",   [(b, "17.5"), (a, "2.5")]),
        (None,   [(a, "7.5")]),
    ]  # fmt: skip
    for number, (amount, draws) in enumerate(parts):
        refund = refund_of(service, debit, amount, str(number))
        assert [(draw["creditGrantId"], draw["amountExact"]) for draw in refund["draws"]] == draws
        newest = reversed(rows_of(service, customer)[: len(draws)])
        assert [(row["creditGrantId"], row["signedAmount"], row["eventId"]) for row in newest] == [
            (grant, given, refund["transactionId"]) for grant, given in draws
        ]
    assert balance_of(service, customer)["currentBalanceExact"] == "60"
    for grant in (a, b, c):
        assert read(service, GRANT, id=grant)["creditGrant"]["consumedAmountExact"] == "0"


def test_credits_given_back_are_used_again_in_their_order(service: Service, customer: str) -> None:
    first, second = (grant_of(service, customer, 10, priority=priority) for priority in (1, 2))
    debit = use_of(service, customer, 15)
    refund_of(service, debit, "10", "refund")
    again = use_of(service, customer, 12, "again")
    assert [(draw["creditGrantId"], draw["amountExact"]) for draw in again["draws"]] == [(first, "5"), (second, "7")]


def issue_many(database: Database, customer: str, count: int) -> str:
    """Grants of 1 credit in one pool, of which one in the midst ends a day earlier; returns that one's id."""
    ends = datetime.fromisoformat("2095-01-02T00:00:00Z")
    earlier = ""
    with open_ledger(database.dsn, schema=database.schema, clock=settable_clock(), following=False) as running:
        for start in range(0, count, 2000):
            outcomes = running.ledger.execute_many_blocking(
                IssueGrant(
                    holder=customer, currency="credits", amount=1, display_name="g", grant_type=GrantType.PAID,
                    cost=Decimal(0), cost_currency="USD", priority=Decimal(50),
                    expires_at=ends - timedelta(days=1) if number == count // 2 else ends,
                )
                for number in range(start, min(start + 2000, count))
            )  # fmt: skip
            receipts = [outcome for outcome in outcomes if isinstance(outcome, Receipt)]
            assert len(receipts) == len(outcomes)
            if start <= count // 2 < start + 2000:
                earlier = receipts[count // 2 - start].stream_id
    return earlier


@pytest.fixture
def unfollowed(database: Database) -> Iterator[Service]:
    """A service on a ledger of its own, whose log nobody follows: no read model is asked."""
    with serving("--no-worker", database_url=database.dsn, schema=database.schema, test_clock="1") as running:
        yield running


def test_of_100_000_grants_the_one_that_ends_first_pays_first(unfollowed: Service, database: Database) -> None:
    service, customer = unfollowed, f"customer-{secrets.token_hex(6)}"
    earlier = issue_many(database, customer, MANY)
    first = use_of(service, customer, 1, "first")
    assert first["draws"] == [{"creditGrantId": earlier, "amountExact": "1"}]
    for number in range(20):
        following = use_of(service, customer, 1, str(number))
        assert earlier not in {draw["creditGrantId"] for draw in following["draws"]}
    refund_of(service, first, None, "back")
    again = use_of(service, customer, 2, "again")
    assert again["draws"][0]["creditGrantId"] == earlier
    refusal = service.refusal(CONSUME, input=use(customer, MANY, "too much"))
    assert (refusal["code"], refusal["available"]) == ("InsufficientCredits", MANY - 22)
