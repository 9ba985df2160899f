"""POST /v1/debits:batch: each debit by itself, in order, all durable when answered."""

from collections.abc import Iterator

import pytest

from ledger.store.database import Database
from tests.service.debits import (
    BATCH,
    DEBITS,
    JSON,
    REFUNDS,
    Raw,
    allotted,
    balances,
    debit,
    done,
    execution,
    granted,
    refused,
    sent,
    used,
)
from tests.service.serving import Service, serving
from tests.service.test_api_keys import as_key, key_for

MAX = 8000
RATE = 5


def codes(results: list[JSON]) -> list[str | None]:
    return [each.get("code") for each in results]


def test_each_is_accepted_or_refused_by_itself_and_in_order(service: Service, customer: str) -> None:
    granted(service, customer, 10)
    results = used(service, debit(customer, 6), debit(customer, 5), 7, debit(customer, 4), debit(customer, "x"))
    assert codes(results) == [None, "InsufficientCredits", "InvalidArgumentError", None, "InvalidArgumentError"]
    assert [each.get("poolBalance") for each in results] == ["4", None, None, "0", None]
    assert results[1]["availableExact"] == "4"
    assert (results[2]["field"], results[2]["reason"]) == ("debit", "must be a JSON object")
    assert int(results[3]["position"]) == int(results[0]["position"]) + 1


def test_a_key_counts_from_the_item_that_it_came_with_first(service: Service, customer: str) -> None:
    granted(service, customer, 10)
    first, again, other, single = used(
        service,
        debit(customer, 2, idempotencyKey="k"),
        debit(customer, Raw("2.0"), idempotencyKey="k"),
        debit(customer, 3, idempotencyKey="k"),
        debit(customer, 2),
    )
    assert again == first | {"replayed": True}
    assert (other["code"], other["differing"]) == ("IdempotencyKeyReused", ["amount"])
    assert single["poolBalance"] == "6"
    assert used(service, debit(customer, 2, idempotencyKey="k")) == [again]
    assert done(service, DEBITS, debit(customer, 2, idempotencyKey="k")) == again


def test_a_refusal_keeps_no_key(service: Service, customer: str) -> None:
    granted(service, customer, 1)
    short, enough = used(service, debit(customer, 2, idempotencyKey="k"), debit(customer, 1, idempotencyKey="k"))
    assert (short["code"], enough["poolBalance"]) == ("InsufficientCredits", "0")


def test_the_answer_has_the_position_of_what_was_written_last(service: Service, customer: str) -> None:
    granted(service, customer, 10)
    answer = sent(service, BATCH, {"debits": [debit(customer), debit(customer), debit(customer, 99)]})
    body = answer.json()
    assert body["position"] == answer.headers["X-Ledger-Position"] == body["results"][1]["debit"]["position"]
    nothing = sent(service, BATCH, {"debits": [debit(customer, 99)]})
    assert nothing.json()["position"] is None
    assert nothing.headers["X-Ledger-Position"] == body["position"]


@pytest.mark.parametrize(
    ("body", "field"),
    [({}, "debits"), ({"debits": []}, "debits"), ({"debits": None}, "debits"), ({"debits": {}}, "debits"),
     ({"debits": [{}], "atomic": True}, "atomic"), ({"debits": [1] * (MAX + 1)}, "debits"), ([], "body")],
    ids=["nothing", "none", "null", "an object", "another field", "one too many", "a list"],
)  # fmt: skip
def test_what_is_no_batch_is_refused_whole(service: Service, body: object, field: str) -> None:
    told = refused(service, BATCH, body)
    assert (told["status"], told["code"], told["field"]) == (400, "InvalidArgumentError", field)


def test_a_batch_may_have_8000_and_others_are_answered_meanwhile(service: Service, customer: str) -> None:
    granted(service, customer, MAX)
    results = used(service, *[debit(customer)] * MAX)
    assert codes(results) == [None] * MAX
    assert [results[0]["poolBalance"], results[-1]["poolBalance"]] == [str(MAX - 1), "0"]
    assert int(results[-1]["position"]) - int(results[0]["position"]) == MAX - 1
    assert balances(service, customer)[0]["used"] == str(MAX)


@pytest.fixture(scope="module")
def limited(schema: Database) -> Iterator[Service]:
    """A service that lets each key ask about execution credits a few times a minute."""
    with serving(
        database_url=schema.dsn, schema=schema.schema, test_clock="1", execution_requests_per_minute=str(RATE)
    ) as running:
        yield running


def test_a_batch_is_no_way_around_the_limit_on_execution_credits(
    limited: Service, service: Service, schema: Database, customer: str
) -> None:
    """Each such item counts as a request, refused ones too, and what is about grants does not."""
    allotted(service, customer)
    granted(service, customer)
    key = as_key(key_for(schema, "writer"))
    mixed = [execution(customer), debit(customer), execution(customer, 0), execution(customer)] * 2
    results = used(limited, *mixed, headers=key)
    assert codes(results) == [
        *(None, None, "InvalidArgumentError", None),
        *(None, None, "InvalidArgumentError", "RateLimitExceeded"),
    ]
    assert results[-1]["requestsMax"] == RATE
    assert 0 < results[-1]["retryAfterSeconds"] <= 60
    for path, body in ((DEBITS, execution(customer)), (REFUNDS, {"kind": "EXECUTION_CREDIT", "transactionId": "x"})):
        answer = sent(limited, path, body, key)
        assert (answer.status_code, answer.json()["code"]) == (429, "RateLimitExceeded")
        assert int(answer.headers["Retry-After"]) >= 1
    read = limited.http.get(f"/v1/balances/{customer}", params={"kind": "EXECUTION_CREDIT"}, headers=key)
    assert read.status_code == 429
    assert done(limited, DEBITS, debit(customer), key)["poolBalance"] == "97"
