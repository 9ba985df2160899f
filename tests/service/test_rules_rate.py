"""How often a key may ask about rules: by HTTP with a small setting, and the buckets by themselves."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.store.database import Database
from service.rate_limit import BucketEmpty, TokenBuckets
from tests.service.rules import LIST, NAMES, PROBLEM, RULE, SUMMARY
from tests.service.serving import KEY, Service, serving
from tests.service.test_api_keys import as_key, key_for

BURST = 3
UNKNOWN = "00000000-0000-4000-8000-000000000000"
RATE = ("Remaining", "Replenish-Rate", "Burst-Capacity", "Requested-Tokens")
NEW = {
    "name": "the only one", "targetType": "AccountGroup", "allocatedCredits": 1, "alarmThreshold": 1,
    "accountGroups": ["g"],
}  # fmt: skip


@pytest.fixture(scope="module")
def limited(schema: Database) -> Iterator[Service]:
    """A service that lets each key ask three times at once; it is a second before there is one more."""
    with serving(
        database_url=schema.dsn,
        schema=schema.schema,
        test_clock="1",
        rule_requests_per_second="1",
        rule_requests_burst=str(BURST),
    ) as running:
        yield running


@pytest.fixture
def key(schema: Database) -> dict[str, str]:
    """The header of a key that has asked for nothing yet."""
    return as_key(key_for(schema, "writer"))


def told(answer: httpx.Response) -> tuple[int, ...] | None:
    """The four headers of the rate; None if there is none of them."""
    values = [answer.headers.get_list(f"X-RateLimit-{name}") for name in RATE]
    if not any(values):
        return None
    return tuple(int(value) for (value,) in values)


def ask(service: Service, key: dict[str, str]) -> httpx.Response:
    return service.http.get(NAMES, headers=key)


def spend(service: Service, key: dict[str, str]) -> httpx.Response:
    """Ask until there is no more to ask; the first answer that says so.

    A slow machine may have been given one more in the meantime.
    """
    for _ in range(10 * BURST):
        answer = ask(service, key)
        if answer.status_code != 200:
            return answer
    raise AssertionError("a service that lets each key ask three times at once has let it ask thirty times")


def test_every_answer_tells_how_much_more_may_be_asked(service: Service, key: dict[str, str]) -> None:
    left = [told(ask(service, key)) for _ in range(3)]
    assert left[0] == (999, 100, 1000, 1)
    assert {each[1:] for each in left if each} == {(100, 1000, 1)}
    assert all(each and 990 <= each[0] <= 999 for each in left)


def test_who_asks_too_often_is_told_so_and_when_to_come_again(limited: Service, key: dict[str, str]) -> None:
    first = ask(limited, key)
    assert (first.status_code, told(first)) == (200, (BURST - 1, 1, BURST, 1))
    answer = spend(limited, key)
    problem = answer.json()
    assert (answer.status_code, problem.keys(), problem["error"]) == (429, PROBLEM, "Too Many Requests")
    assert told(answer) == (0, 1, BURST, 1)
    assert answer.headers["Retry-After"] == "1"
    assert problem["message"] == f"more than {BURST} requests at once: try again in 1 seconds"


def test_the_requests_of_one_key_are_none_of_anothers(limited: Service, key: dict[str, str], schema: Database) -> None:
    spend(limited, key)
    other = ask(limited, as_key(key_for(schema, "reader")))
    assert (other.status_code, told(other)) == (200, (BURST - 1, 1, BURST, 1))


def test_a_key_and_its_tokens_ask_together(limited: Service, schema: Database) -> None:
    key = key_for(schema, "reader")
    username, _, password = key.partition(".")
    logins = [limited.http.post("/login", json={"username": username, "password": password}) for _ in range(2)]
    spend(limited, as_key(key))
    for login in logins:
        answer = limited.stranger.get(NAMES, headers={"x-redlock-auth": login.json()["token"]})
        left = told(answer)
        assert left is not None
        assert left[0] < BURST - 1


def test_nothing_is_carried_out_of_what_comes_too_often(limited: Service, key: dict[str, str]) -> None:
    spend(limited, key)
    before = limited.http.get("/readyz").json()["head"]
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: limited.http.post(RULE, json=NEW, headers=key), range(8)))
    assert 429 in {answer.status_code for answer in answers}
    written = sum(answer.status_code == 200 for answer in answers)
    assert int(limited.http.get("/readyz").json()["head"]) == int(before) + written


@pytest.mark.parametrize(
    ("method", "path",                 "body", "status"),
    [
        ("POST",   LIST,               {},     200),
        ("POST",   SUMMARY,            {},     200),
        ("GET",    NAMES,              None,   200),
        ("POST",   RULE,               {},     400),
        ("GET",    f"{RULE}/{UNKNOWN}", None,  404),
        ("PATCH",  f"{RULE}/{UNKNOWN}", {},    404),
        ("DELETE", f"{RULE}/{UNKNOWN}", None,  404),
    ],
)  # fmt: skip
def test_every_request_about_rules_counts_whatever_becomes_of_it(
    service: Service, key: dict[str, str], method: str, path: str, body: object, status: int
) -> None:
    answer = service.http.request(method, path, json=body, headers=key)
    assert (answer.status_code, told(answer)) == (status, (999, 100, 1000, 1))


def test_a_request_without_the_right_to_it_counts_too(limited: Service, schema: Database) -> None:
    reader = as_key(key_for(schema, "reader"))
    answer = limited.http.post(RULE, json=NEW, headers=reader)
    assert (answer.status_code, told(answer)) == (403, (BURST - 1, 1, BURST, 1))


def test_what_is_not_about_rules_is_not_counted(limited: Service, key: dict[str, str]) -> None:
    login = {"username": "admin", "password": KEY}
    token = limited.http.post("/login", json=login).json()["token"]
    asks: list[Callable[[], httpx.Response]] = [
        lambda: limited.http.post("/login", json=login),
        lambda: limited.http.get("/auth_token/extend", headers={"x-redlock-auth": token}),
        lambda: limited.graphql("{ __typename }", headers=key),
        lambda: limited.http.get("/readyz", headers=key),
        lambda: limited.http.get(NAMES, headers=as_key("unknown")),
        lambda: limited.http.put(RULE, headers=key),
    ]
    for one in asks:
        assert {told(one()) for _ in range(BURST + 1)} == {None}
    assert told(ask(limited, key)) == (BURST - 1, 1, BURST, 1)


class HandClock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def taken(buckets: TokenBuckets, key: str = "key") -> int | BucketEmpty:
    """How many are left, or the refusal."""
    try:
        return buckets.take(key)
    except BucketEmpty as refusal:
        return refusal


def test_a_bucket_is_full_at_first_and_fills_up_to_the_brim_and_no_further() -> None:
    clock = HandClock()
    buckets = TokenBuckets(2, 3, clock)
    left: list[int | None] = []
    for at in (0.0, 0.0, 0.0, 0.0, 0.25, 0.5, 0.5, 0.75, 1.0, 2.5, 2.5, 1000.0, 1000.0, 1000.0, 1000.0):
        clock.seconds = 1000.0 + at
        found = taken(buckets)
        left.append(found if isinstance(found, int) else None)
    assert left == [2, 1, 0, None, None, 0, None, None, 0, 2, 1, 2, 1, 0, None]


Moves = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 40)), max_size=80)


@given(per_second=st.integers(1, 5), burst=st.integers(1, 6), moves=Moves)
def test_in_no_time_are_there_more_than_the_burst_and_what_came_back_in_it(
    per_second: int, burst: int, moves: list[tuple[str, int]]
) -> None:
    """In every window between two requests of a key that were let in; and who waits as he is told is let in.

    Instants in sixteenths, which are exact.
    """
    clock = HandClock()
    buckets = TokenBuckets(per_second, burst, clock)
    let_in: dict[str, list[float]] = {"a": [], "b": []}

    def full(key: str, at: float) -> bool:
        """Whether one more at an instant were too many for some window that ends there."""
        every = [*let_in[key], at]
        return any(len(every) - first > burst + per_second * (at - every[first]) for first in range(len(every)))

    for key, sixteenths in moves:
        clock.seconds += sixteenths / 16
        found = taken(buckets, key)
        assert isinstance(found, BucketEmpty) == full(key, clock.seconds), "no more, and no fewer"
        if isinstance(found, BucketEmpty):
            assert found.retry_after_seconds >= 1
            assert not full(key, clock.seconds + found.retry_after_seconds)
        else:
            assert 0 <= found < burst
            let_in[key].append(clock.seconds)
