"""How often a key may ask about execution credits: by HTTP with a small setting, and the sliding window by itself."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.store.database import Database
from service.rate_limit import RateLimit, RateLimitExceeded
from tests.service.serving import Service, serving
from tests.service.test_api_keys import as_key, key_for

MAX = 2
UNKNOWN = "00000000-0000-4000-8000-000000000000"
ONE = f'executionCredit(id: "{UNKNOWN}") {{ id }}'
LIST = "executionCredits { metadata { totalCount } }"
GRANTS = 'creditGrants(input: {customerId: "nobody"}) { totalCount }'
OPEN = "input: {companyId: 1, creditType: DAST, rollupType: ADDON, credits: 1}"
USE = f'input: {{companyId: 1, creditType: DAST, credits: {2**31 - 1}, idempotencyKey: "k"}}'
"""More than there is, so that the same document is refused each time it is sent."""
BACK = f'input: {{transactionId: "{UNKNOWN}", idempotencyKey: "k"}}'


@pytest.fixture(scope="module")
def limited(schema: Database) -> Iterator[Service]:
    """A service that lets each key ask twice a minute."""
    with serving(
        database_url=schema.dsn, schema=schema.schema, test_clock="1", execution_requests_per_minute=str(MAX)
    ) as running:
        yield running


@pytest.fixture
def key(schema: Database) -> dict[str, str]:
    """The header of a key that has asked for nothing yet."""
    return as_key(key_for(schema, "writer"))


def sent(service: Service, key: dict[str, str], document: str, name: str | None = None) -> httpx.Response:
    return service.http.post("/graphql", json={"query": document, "operationName": name}, headers=key)


def let_in(answer: httpx.Response) -> bool:
    assert answer.status_code in (200, 429), answer.text
    return answer.status_code == 200


def counted(service: Service, key: dict[str, str], document: str, name: str | None = None) -> bool:
    """Whether a document takes the place of the last request that its key may send."""
    assert let_in(sent(service, key, f"{{ {LIST} }}"))
    assert let_in(sent(service, key, document, name))
    return not let_in(sent(service, key, f"{{ {LIST} }}"))


def test_who_asks_too_often_is_told_so_and_when_to_come_again(limited: Service, key: dict[str, str]) -> None:
    for _ in range(MAX):
        assert "errors" not in sent(limited, key, f"{{ {LIST} }}").json()
    answer = sent(limited, key, f"{{ {LIST} }}")
    seconds = int(answer.headers["Retry-After"])
    assert (answer.status_code, answer.json()["data"]) == (429, None)
    assert 1 <= seconds <= 60
    (error,) = answer.json()["errors"]
    facts = {"requestsMax": MAX, "retryAfterSeconds": seconds}
    assert error["extensions"] == {"code": "RateLimitExceeded", **facts}
    assert str(seconds) in error["message"]
    assert answer.headers["X-Ledger-Position"] == limited.http.get("/readyz").json()["head"]


def test_nothing_is_carried_out_of_what_comes_too_often(limited: Service, key: dict[str, str], customer: str) -> None:
    for _ in range(MAX):
        sent(limited, key, f"{{ {LIST} }}")
    before = limited.http.get("/readyz").json()["head"]
    grant = f'input: {{customerId: "{customer}", currencyId: "credits", displayName: "g", grantType: PAID, amount: 1}}'
    mixed = f"mutation {{ createCreditGrant({grant}) {{ id }} createExecutionCredit({OPEN}) {{ errors }} }}"
    answer = sent(limited, key, mixed)
    assert (answer.status_code, answer.json()["data"]) == (429, None)
    assert limited.http.get("/readyz").json()["head"] == before


def test_the_requests_of_one_key_are_none_of_anothers(limited: Service, schema: Database, key: dict[str, str]) -> None:
    other = as_key(key_for(schema, "reader"))
    for _ in range(MAX):
        assert let_in(sent(limited, key, f"{{ {LIST} }}"))
    assert not let_in(sent(limited, key, f"{{ {LIST} }}"))
    for _ in range(MAX):
        assert let_in(sent(limited, other, f"{{ {LIST} }}"))
    assert not let_in(sent(limited, other, f"{{ {LIST} }}"))


def test_who_may_ask_no_more_about_execution_credits_may_go_on_about_grants(
    limited: Service, key: dict[str, str]
) -> None:
    for _ in range(MAX + 1):
        last = sent(limited, key, f"{{ {LIST} }}")
    assert not let_in(last)
    for _ in range(MAX + 1):
        assert "errors" not in sent(limited, key, f"{{ {GRANTS} }}").json()


def test_what_was_refused_does_not_count(limited: Service, key: dict[str, str]) -> None:
    """However often somebody knocks, he waits no longer for it."""
    for _ in range(MAX):
        sent(limited, key, f"{{ {LIST} }}")
    waits = [int(sent(limited, key, f"{{ {LIST} }}").headers["Retry-After"]) for _ in range(5 * MAX)]
    assert waits == sorted(waits, reverse=True)


def test_of_many_at_once_as_many_are_let_in_as_may(limited: Service, key: dict[str, str]) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: sent(limited, key, f"{{ {LIST} }}"), range(24)))
    assert sum(let_in(answer) for answer in answers) == MAX


@pytest.mark.parametrize(
    "document",
    [
        f"{{ {ONE} }}",
        f"{{ {LIST} }}",
        f"mutation {{ createExecutionCredit({OPEN}) {{ errors }} }}",
        f'mutation {{ updateExecutionCredit(input: {{id: "{UNKNOWN}", credits: 1}}) {{ errors }} }}',
        f'mutation {{ deleteExecutionCredit(input: {{id: "{UNKNOWN}"}}) {{ errors }} }}',
        f"mutation {{ debitExecutionCredits({USE}) {{ errors }} }}",
        f"mutation {{ refundExecutionCredits({BACK}) {{ errors }} }}",
    ],
    ids=lambda document: next(word for word in document.replace("(", " ").split() if "xecution" in word),
)  # fmt: skip
def test_every_question_and_every_act_about_them_counts(limited: Service, key: dict[str, str], document: str) -> None:
    assert counted(limited, key, document)


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(f"{{ creditGrants: {LIST} }}", id="by another name"),
        pytest.param(f"{{ ...f }} fragment f on Query {{ {LIST} }}", id="in a fragment"),
        pytest.param(
            f"{{ ...f }} fragment f on Query {{ ...g }} fragment g on Query {{ {LIST} }}", id="a fragment in a fragment"
        ),
        pytest.param(f"{{ ... {{ ... on Query {{ {LIST} }} }} }}", id="in inline fragments"),
        pytest.param(f"{{ __typename {ONE.replace(' {', ' @skip(if: true) {')} }}", id="skipped"),
        pytest.param(f"{{ __typename {ONE.replace(' {', ' @include(if: false) {')} }}", id="not included"),
        pytest.param(f"{{ {GRANTS} {LIST} }}", id="beside grants"),
        pytest.param(f"{{ {LIST} again: {LIST} {ONE} }}", id="three questions are one request"),
        pytest.param(
            f"mutation {{ a: debitExecutionCredits({USE}) {{ errors }} b: debitExecutionCredits({USE}) {{ errors }} }}",
            id="two acts are one request",
        ),
    ],
)
def test_a_document_counts_once_wherever_it_asks_about_them(
    limited: Service, key: dict[str, str], document: str
) -> None:
    assert counted(limited, key, document)


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(f"{{ {GRANTS} }}", id="grants"),
        pytest.param(f"{{ executionCredits: {GRANTS} }}", id="grants by another name"),
        pytest.param('{ __type(name: "ExecutionCredit") { name } }', id="the schema"),
        pytest.param("{ executionCredits { noSuchField } }", id="no valid document"),
        pytest.param("{ executionCredits {", id="no document"),
        pytest.param(f"{{ {GRANTS} }} fragment f on Query {{ {LIST} }}", id="in a fragment that nobody spreads"),
    ],
)
def test_what_does_not_ask_about_them_does_not_count(limited: Service, key: dict[str, str], document: str) -> None:
    assert not counted(limited, key, document)


@pytest.mark.parametrize(("name", "counts"), [("credits", True), ("grants", False)])
def test_the_operation_that_is_carried_out_is_the_one_that_counts(
    limited: Service, key: dict[str, str], name: str, counts: bool
) -> None:
    document = f"query grants {{ {GRANTS} }} query credits {{ {LIST} }}"
    assert counted(limited, key, document, name) is counts


def test_a_document_without_a_right_to_it_counts_too(limited: Service, schema: Database) -> None:
    reader = as_key(key_for(schema, "reader"))
    for _ in range(MAX):
        assert sent(limited, reader, f"mutation {{ createExecutionCredit({OPEN}) {{ errors }} }}").status_code == 403
    assert not let_in(sent(limited, reader, f"{{ {LIST} }}"))


class HandClock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def refusal_of(limit: RateLimit, key: str = "key") -> RateLimitExceeded | None:
    try:
        limit.let_in(key)
    except RateLimitExceeded as refusal:
        return refusal
    return None


def test_a_place_is_free_again_sixty_seconds_after_it_was_taken_and_no_sooner() -> None:
    """Not at the turn of a minute, where twice as many could come at once."""
    clock = HandClock()
    limit = RateLimit(3, clock)
    told: list[Any] = []
    for at in (0.0, 10.0, 50.0, 59.75, 60.0, 60.0, 69.75, 70.0, 109.75, 110.0, 120.0):
        clock.seconds = 1000.0 + at
        refusal = refusal_of(limit)
        told.append(None if refusal is None else refusal.retry_after_seconds)
    assert told == [None, None, None, 1, None, 10, 1, None, 1, None, None]


def test_a_limit_of_one_lets_one_in_a_minute() -> None:
    clock = HandClock()
    limit = RateLimit(1, clock)
    assert refusal_of(limit) is None
    refusal = refusal_of(limit)
    assert refusal is not None
    assert refusal.facts == {"requests_max": 1, "retry_after_seconds": 60}


Moves = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 8 * 70)), max_size=60)


@given(requests_max=st.integers(1, 4), moves=Moves)
def test_in_no_sixty_seconds_are_there_more_and_who_waits_as_he_is_told_is_let_in(
    requests_max: int, moves: list[tuple[str, int]]
) -> None:
    """Against all requests ever let in, looked through one by one; instants in eighths, which are exact."""
    clock = HandClock()
    limit = RateLimit(requests_max, clock)
    let: dict[str, list[float]] = {"a": [], "b": []}

    def in_the_window(key: str, at: float) -> int:
        return sum(at - 60 < one <= at for one in let[key])

    for key, eighths in moves:
        clock.seconds += eighths / 8
        refusal = refusal_of(limit, key)
        if refusal is None:
            assert in_the_window(key, clock.seconds) < requests_max
            let[key].append(clock.seconds)
            continue
        assert in_the_window(key, clock.seconds) >= requests_max
        told = refusal.retry_after_seconds
        assert 1 <= told <= 60
        assert in_the_window(key, clock.seconds + told) < requests_max
        assert told == 1 or in_the_window(key, clock.seconds + told - 1) >= requests_max, "and no longer than need be"
