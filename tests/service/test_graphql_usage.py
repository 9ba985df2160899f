"""What a customer used in a window: exact at both edges, dense, net of refunds, and split by what a use was for."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from ledger.application import BlockingLedger, ConsumeCredits, CreditLedger, IssueGrant
from ledger.domain.refusals import InvalidArgument
from ledger.domain.values import GrantType, Kind
from ledger.store.clock import settable_clock
from ledger.store.database import Database, Role
from projections.reading import Reader
from projections.usage.queries import UsageFilter
from service.graphql.usage import Asked, CreditUsageTimeRange, usage_at
from tests.service.serving import Service, serving
from tests.service.test_api_keys import as_key, key_for

CREATE = "mutation ($input: CreditGrantInput!) { createCreditGrant(input: $input) { id } }"
CONSUME = "mutation ($input: ConsumeCreditInput!) { consumeCredits(input: $input) { transactionId position } }"
REFUND = "mutation ($input: RefundCreditsInput!) { refundCredits(input: $input) { position } }"
USAGE = """
query ($input: CreditUsageInput!) {
  creditUsage(input: $input) {
    customerId resourceId startDate endDate granularity
    series {
      currencyId dimensions { key value } totalCredits totalCreditsExact
      points { timestamp amount amountExact }
    }
  }
}
"""
TOTALS = """
query ($input: CreditUsageInput!) {
  creditUsage(input: $input) { series { currencyId dimensions { key value } totalCreditsExact } }
}
"""
NOW = "2026-01-31T12:00:00.000Z"
"""Where the test clock stands."""
AFTER_NOW = "2026-01-31T12:00:00.000001Z"
TODAY, THIS_MONTH = "2026-01-31T00:00:00.000Z", "2026-01-01T00:00:00.000Z"


@pytest.fixture
def user(service: Service, customer: str) -> str:
    """A customer who has credits to use: his own, tokens, and some for a site."""
    for currency, resource in (("credits", None), ("tokens", None), ("credits", "site")):
        grant_of(service, customer, currency, resource)
    return customer


def grant_of(service: Service, customer: str, currency: str = "credits", resource: str | None = None) -> None:
    fields = {"customerId": customer, "currencyId": currency, "resourceId": resource, "displayName": "grant"}
    service.data(CREATE, input=fields | {"grantType": "PAID", "amountExact": "9999999999999999999"})


def use_of(service: Service, customer: str, amount: int | str = 1, at: str | None = None, **given: Any) -> str:
    """Use credits; the transaction."""
    fields = {"customerId": customer, "currencyId": "credits", "amountExact": str(amount), "createdAt": at}
    key = f"{amount} {at} {given}"
    used = service.data(CONSUME, input=fields | {"idempotencyKey": key} | given)["consumeCredits"]
    transaction: str = used["transactionId"]
    return transaction


def refund_of(service: Service, transaction: str, **given: Any) -> None:
    service.data(REFUND, input={"transactionId": transaction, "idempotencyKey": f"refund {given}"} | given)


def usage_of(service: Service, customer: str, query: str = USAGE, **given: Any) -> Any:
    """The answer at the head of the log."""
    head = service.http.get("/readyz").json()["head"]
    answer = service.data(query, {"X-Ledger-At-Least": head}, input={"customerId": customer} | given)
    return answer["creditUsage"]


def total_of(service: Service, customer: str, **given: Any) -> str:
    """What was used in a window, of one currency; none: no series."""
    series = usage_of(service, customer, TOTALS, **given)["series"]
    return series[0]["totalCreditsExact"] if series else "none"


def totals_of(service: Service, customer: str, **given: Any) -> list[tuple[Any, ...]]:
    """Each series as its currency, its values and its total."""
    return [
        (one["currencyId"], *(dimension["value"] for dimension in one["dimensions"]), one["totalCreditsExact"])
        for one in usage_of(service, customer, TOTALS, **given)["series"]
    ]


def points_of(service: Service, customer: str, **given: Any) -> dict[str, str]:
    """The points of the one series, in their order."""
    (series,) = usage_of(service, customer, **given)["series"]
    return {point["timestamp"]: point["amountExact"] for point in series["points"]}


def refused_field(service: Service, customer: str, **given: Any) -> str:
    """Which field an input is refused for."""
    refusal = service.refusal(USAGE, input={"customerId": customer} | given)
    assert refusal["code"] == "InvalidArgumentError"
    field: str = refusal["field"]
    return field


@pytest.mark.parametrize(
    ("named",      "start",                       "granularity", "count", "second",                   "last"),
    [
        ("LAST_DAY",   "2026-01-30T12:00:00.000001Z", "HOUR",  25, "2026-01-30T13:00:00.000Z", NOW),
        ("LAST_WEEK",  "2026-01-24T12:00:00.000001Z", "DAY",   8,  "2026-01-25T00:00:00.000Z", TODAY),
        ("LAST_MONTH", "2025-12-31T12:00:00.000001Z", "DAY",   32, "2026-01-01T00:00:00.000Z", TODAY),
        (None,         "2025-12-31T12:00:00.000001Z", "DAY",   32, "2026-01-01T00:00:00.000Z", TODAY),
        ("LAST_YEAR",  "2025-01-31T12:00:00.000001Z", "MONTH", 13, "2025-02-01T00:00:00.000Z", THIS_MONTH),
    ],
)  # fmt: skip
def test_a_named_range_ends_with_now(
    service: Service, user: str, named: str | None, start: str, granularity: str, count: int, second: str, last: str
) -> None:
    """A use at exactly now is in it, one at exactly its length ago is not."""
    before = start.replace(".000001Z", "Z")
    for amount, at in ((1, before), (10, start), (100, None)):
        use_of(service, user, amount, at)
    answer = usage_of(service, user, timeRange=named)
    assert (answer["startDate"], answer["endDate"], answer["granularity"]) == (start, AFTER_NOW, granularity)
    (series,) = answer["series"]
    timestamps = [point["timestamp"] for point in series["points"]]
    assert (timestamps[0], timestamps[1], timestamps[-1], len(timestamps)) == (start, second, last, count)
    assert timestamps == sorted(set(timestamps))
    amounts = [point["amountExact"] for point in series["points"]]
    assert amounts == ["10", *["0"] * (count - 2), "100"]
    again = usage_of(service, user, startDate=start, endDate=AFTER_NOW)
    assert again == answer


@pytest.mark.parametrize(
    ("start",                       "end",                         "granularity", "timestamps"),
    [
        ("2026-01-10T00:00:00Z",        "2026-01-10T00:00:00.000001Z", "HOUR",  ["2026-01-10T00:00:00.000Z"]),
        ("2026-01-10T05:59:59.999999Z", "2026-01-10T06:00:00Z",        "HOUR",  ["2026-01-10T05:59:59.999999Z"]),
        ("2026-01-10T05:30:00Z",        "2026-01-10T07:00:00.000001Z", "HOUR",
         ["2026-01-10T05:30:00.000Z", "2026-01-10T06:00:00.000Z", "2026-01-10T07:00:00.000Z"]),
        ("2026-01-10T00:00:00Z",        "2026-01-11T00:00:00Z",        "HOUR",
         [f"2026-01-10T{hour:02}:00:00.000Z" for hour in range(24)]),
        ("2026-01-10T00:00:00Z",        "2026-01-11T00:00:00.000001Z", "DAY",
         ["2026-01-10T00:00:00.000Z", "2026-01-11T00:00:00.000Z"]),
        ("2026-01-01T06:00:00+01:00",   "2026-01-03T00:00:00Z",        "DAY",
         ["2026-01-01T05:00:00.000Z", "2026-01-02T00:00:00.000Z"]),
        ("2026-01-01T00:00:00Z",        "2026-02-01T00:00:00Z",        "DAY",
         [f"2026-01-{day:02}T00:00:00.000Z" for day in range(1, 32)]),
        ("2026-01-01T00:00:00Z",        "2026-02-01T00:00:00.000001Z", "MONTH",
         ["2026-01-01T00:00:00.000Z", "2026-02-01T00:00:00.000Z"]),
        ("2025-11-30T23:59:59Z",        "2026-01-31T00:00:00Z",        "MONTH",
         ["2025-11-30T23:59:59.000Z", "2025-12-01T00:00:00.000Z", "2026-01-01T00:00:00.000Z"]),
        ("2025-12-20T00:00:00Z",        "2027-02-01T00:00:00Z",        "MONTH",
         ["2025-12-20T00:00:00.000Z", *(f"2026-{month:02}-01T00:00:00.000Z" for month in range(1, 13)),
          "2027-01-01T00:00:00.000Z"]),
    ],
)  # fmt: skip
def test_a_window_of_ones_own_has_points_by_its_length(
    service: Service, user: str, start: str, end: str, granularity: str, timestamps: list[str]
) -> None:
    use_of(service, user, 5, start)
    answer = usage_of(service, user, startDate=start, endDate=end)
    assert answer["granularity"] == granularity
    (series,) = answer["series"]
    assert [point["timestamp"] for point in series["points"]] == timestamps
    assert [point["amountExact"] for point in series["points"]] == ["5", *["0"] * (len(timestamps) - 1)]


def test_a_window_begins_with_its_start_and_ends_before_its_end(service: Service, user: str) -> None:
    for amount, at in ((1, "2026-01-10T06:29:59.999999Z"), (10, "2026-01-10T06:30:00Z"), (100, "2026-01-10T07:00:00Z")):
        use_of(service, user, amount, at)
    for start, end, used in (
        ("2026-01-10T06:30:00Z",        "2026-01-10T07:00:00Z",        "10"),
        ("2026-01-10T06:30:00Z",        "2026-01-10T07:00:00.000001Z", "110"),
        ("2026-01-10T06:29:59.999999Z", "2026-01-10T07:00:00Z",        "11"),
        ("2026-01-10T06:30:00.000001Z", "2026-01-10T07:00:00.000001Z", "100"),
        ("2025-03-01T00:00:00Z",        "2026-01-10T06:30:00Z",        "1"),
        ("2026-01-10T06:30:00Z",        "2026-12-01T00:00:00Z",        "110"),
        ("2026-01-10T06:30:00.000001Z", "2026-01-10T07:00:00Z",        "none"),
    ):  # fmt: skip
        assert total_of(service, user, startDate=start, endDate=end) == used


def test_without_an_end_a_window_reaches_up_to_and_with_now(service: Service, user: str) -> None:
    use_of(service, user, 1, "2026-01-30T12:00:00Z")
    use_of(service, user, 10)
    answer = usage_of(service, user, startDate="2026-01-30T12:00:00Z")
    assert (answer["endDate"], answer["granularity"]) == (AFTER_NOW, "HOUR")
    (series,) = answer["series"]
    assert [series["points"][place]["amountExact"] for place in (0, -1)] == ["1", "10"]
    assert points_of(service, user, startDate=NOW) == {NOW: "10"}
    assert total_of(service, user, startDate="2026-01-30T12:00:00Z", endDate=NOW) == "1"


def test_points_add_up_whatever_their_size(service: Service, user: str) -> None:
    """The hours of a day to the day's point, the days of a month to the month's, and all to the total."""
    for number in range(48):
        use_of(
            service, user, f"{number}.{number + 1:09}", f"2026-01-{10 + number % 3}T{number % 24:02}:{number + 10}:00Z"
        )
    january = {"startDate": "2026-01-01T00:00:00Z", "endDate": "2026-02-01T00:00:00Z"}
    days = points_of(service, user, **january)
    for day in (10, 11, 12):
        start, end = f"2026-01-{day}T00:00:00.000Z", f"2026-01-{day + 1}T00:00:00.000Z"
        hours = points_of(service, user, startDate=start, endDate=end)
        assert sum(map(Decimal, hours.values())) == Decimal(days[start])
    months = points_of(service, user, **january | {"startDate": "2025-12-01T00:00:00Z"})
    assert list(map(Decimal, months.values())) == [0, sum(map(Decimal, days.values()))]
    assert months["2026-01-01T00:00:00.000Z"] == total_of(service, user) == "1128.000001176"


def test_a_use_that_is_dated_back_counts_when_it_happened(service: Service, user: str) -> None:
    use_of(service, user, 3, "2026-01-12T23:59:59.999999Z")
    used = {timestamp: amount for timestamp, amount in points_of(service, user).items() if amount != "0"}
    assert used == {"2026-01-12T00:00:00.000Z": "3"}
    assert usage_of(service, user, timeRange="LAST_WEEK")["series"] == []


def test_a_use_reported_a_little_ahead_counts_now(service: Service, user: str) -> None:
    use_of(service, user, 3, "2026-01-31T12:00:05Z")
    assert points_of(service, user, startDate=NOW) == {NOW: "3"}


def test_a_refund_is_netted_at_the_instant_of_the_use(service: Service, user: str) -> None:
    transaction = use_of(service, user, 10, "2026-01-12T08:30:00Z", dimensions={"team": "red"})
    use_of(service, user, 1)
    refund_of(service, transaction, amountExact="2.5", reason="too slow")
    window = {"startDate": "2026-01-12T08:30:00Z", "endDate": "2026-01-12T08:30:00.000001Z"}
    assert points_of(service, user, **window) == {"2026-01-12T08:30:00.000Z": "7.5"}
    assert total_of(service, user, timeRange="LAST_DAY") == "1"
    assert totals_of(service, user, groupBy=["team"]) == [("credits", "red", "7.5"), ("credits", None, "1")]


def test_what_was_refunded_wholly_stays_as_a_series_of_0(service: Service, user: str) -> None:
    refund_of(service, use_of(service, user, 10, "2026-01-12T08:30:00Z", dimensions={"team": "red"}))
    assert totals_of(service, user, groupBy=["team"]) == [("credits", "red", "0")]
    assert set(points_of(service, user).values()) == {"0"}


def test_amounts_are_exact_and_have_their_floats_beside_them(service: Service, user: str) -> None:
    for amount in ("0.1", "0.2", "1234567890123456789.000000001"):
        use_of(service, user, amount, "2026-01-31T11:00:00Z")
    (series,) = usage_of(service, user)["series"]
    assert series["totalCreditsExact"] == "1234567890123456789.300000001"
    assert series["totalCredits"] == float(series["totalCreditsExact"])
    assert series["points"][-1] == {
        "timestamp": "2026-01-31T00:00:00.000Z", "amount": 1234567890123456789.3,
        "amountExact": "1234567890123456789.300000001",
    }  # fmt: skip
    assert series["points"][0]["amount"] == 0


def test_where_nothing_was_used_there_are_no_series(service: Service, user: str) -> None:
    expected: dict[str, Any] = {
        "customerId": user, "resourceId": None, "startDate": "2025-12-31T12:00:00.000001Z", "endDate": AFTER_NOW,
        "granularity": "DAY", "series": [],
    }  # fmt: skip
    assert usage_of(service, user) == expected
    assert usage_of(service, user, groupBy=["team"]) == expected
    use_of(service, user)
    assert usage_of(service, user, currencyId="tokens") == expected
    assert usage_of(service, "nobody-at-all")["series"] == []


def test_currencies_and_pools_are_apart(service: Service, user: str) -> None:
    use_of(service, user, 1)
    use_of(service, user, 20, currencyId="tokens")
    use_of(service, user, 300, resourceId="site")
    assert totals_of(service, user) == [("credits", "1"), ("tokens", "20")]
    assert totals_of(service, user, currencyId="tokens") == [("tokens", "20")]
    assert totals_of(service, user, resourceId="site") == [("credits", "300")]
    assert totals_of(service, user, resourceId="other") == []
    assert usage_of(service, user, resourceId="site")["resourceId"] == "site"


@pytest.fixture
def teams(service: Service, user: str) -> str:
    """Uses under two teams and three jobs, some without the one or the other; some equal ones named apart."""
    for amount, dimensions in (
        (1,   {"team": "red",  "job": "a", "run": "1"}),
        (2,   {"run": "2", "job": "a", "team": "red"}),
        (4,   {"team": "red",  "job": "b", "run": "1"}),
        (8,   {"team": "blue", "job": "a", "run": "1"}),
        (16,  {"team": "blue"}),
        (32,  {"job": "c"}),
        (64,  None),
        (128, {}),
    ):  # fmt: skip
        use_of(service, user, amount, dimensions=dimensions)
    grant_of(service, user, "a currency")
    use_of(service, user, 1000, currencyId="a currency", dimensions={"team": "red"})
    return user


@pytest.mark.parametrize(
    ("keys", "totals"),
    [
        (None,            [("255",)]),
        ([],              [("255",)]),
        (["team"],        [(None, "224"), ("blue", "24"), ("red", "7")]),
        (["job"],         [(None, "208"), ("c", "32"), ("a", "11"), ("b", "4")]),
        (["none"],        [(None, "255")]),
        (["team", "job"], [(None, None, "192"), (None, "c", "32"), ("blue", None, "16"), ("blue", "a", "8"),
                           ("red", "b", "4"), ("red", "a", "3")]),
        (["job", "team"], [(None, None, "192"), ("c", None, "32"), (None, "blue", "16"), ("a", "blue", "8"),
                           ("b", "red", "4"), ("a", "red", "3")]),
        (["team", "job", "run"],
                          [(None, None, None, "192"), (None, "c", None, "32"), ("blue", None, None, "16"),
                           ("blue", "a", "1", "8"), ("red", "b", "1", "4"), ("red", "a", "2", "2"),
                           ("red", "a", "1", "1")]),
    ],
    ids=str,
)  # fmt: skip
def test_series_are_by_the_values_of_up_to_three_keys(
    service: Service, teams: str, keys: list[str] | None, totals: list[tuple[Any, ...]]
) -> None:
    expected = [("credits", *total) for total in totals]
    assert totals_of(service, teams, groupBy=keys, currencyId="credits") == expected
    other, *rest = totals_of(service, teams, groupBy=keys)
    assert (other[0], other[-1]) == ("a currency", "1000")
    assert rest == expected
    for series in usage_of(service, teams, groupBy=keys)["series"]:
        assert [dimension["key"] for dimension in series["dimensions"]] == (keys or [])


def test_series_of_one_total_are_in_the_order_of_their_values(service: Service, user: str) -> None:
    for team in ("b", "", None, "c", "a", "\u00e4"):
        if team != "":
            use_of(service, user, dimensions=None if team is None else {"team": team})
    values = [values[1] for values in totals_of(service, user, groupBy=["team"])]
    assert values == ["a", "b", "c", "\u00e4", None]


def test_an_erased_text_counts_as_no_value(service: Service, schema: Database, user: str) -> None:
    use_of(service, user, 1, dimensions={"team": "red"})
    use_of(service, user, 2, dimensions={"team": f"{user} secret"})
    with schema.connect(Role.OWNER) as connection:
        connection.execute("DELETE FROM documents WHERE body LIKE %s", [f"%{user} secret%"])
    assert totals_of(service, user, groupBy=["team"]) == [("credits", None, "2"), ("credits", "red", "1")]


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("customerId", {"customerId": ""}),
    ("customerId", {"customerId": "x" * 201}),
    ("customerId", {"customerId": "a\0"}),
    ("currencyId", {"currencyId": ""}),
    ("currencyId", {"currencyId": "x" * 201}),
    ("resourceId", {"resourceId": ""}),
    ("resourceId", {"resourceId": "x" * 201}),
    ("atLeast",    {"atLeast": "x"}),
    ("atLeast",    {"atLeast": ""}),
    ("timeRange",  {"timeRange": "LAST_DAY", "startDate": "2026-01-01T00:00:00Z"}),
    ("timeRange",  {"timeRange": "LAST_DAY", "endDate": "2026-01-01T00:00:00Z"}),
    ("timeRange",  {"timeRange": "LAST_DAY", "startDate": "2026-01-01T00:00:00Z", "endDate": NOW}),
    ("timeRange",  {"timeRange": "LAST_HOUR"}),
    ("startDate",  {"endDate": NOW}),
    ("startDate",  {"startDate": AFTER_NOW}),
    ("startDate",  {"startDate": "2016-01-31T11:59:59.999999Z"}),
    ("startDate",  {"startDate": "2016-01-31T12:00:00Z", "endDate": AFTER_NOW}),
    ("startDate",  {"startDate": "2016-02-29T00:00:00Z", "endDate": "2026-02-28T00:00:00.000001Z"}),
    ("startDate",  {"startDate": "0001-01-01T00:00:00Z", "endDate": "9999-12-31T23:59:59.999999Z"}),
    ("startDate",  {"startDate": "2026-01-01"}),
    ("endDate",    {"startDate": NOW, "endDate": NOW}),
    ("endDate",    {"startDate": NOW, "endDate": "2026-01-31T11:59:59.999999Z"}),
    ("endDate",    {"startDate": AFTER_NOW, "endDate": NOW}),
    ("endDate",    {"startDate": NOW, "endDate": "2026-02-30T00:00:00Z"}),
    ("groupBy",    {"groupBy": ["a", "b", "c", "d"]}),
    ("groupBy",    {"groupBy": ["a", "a"]}),
    ("groupBy",    {"groupBy": ["a", "b", "a"]}),
    ("groupBy",    {"groupBy": [""]}),
    ("groupBy",    {"groupBy": ["x" * 201]}),
    ("groupBy",    {"groupBy": ["a\0"]}),
    ("groupBy",    {"groupBy": [None]}),
    ("groupBy",    {"groupBy": [5]}),
]  # fmt: skip


@pytest.mark.parametrize(("field", "given"), REFUSED, ids=lambda value: ascii(value)[:60])
def test_what_makes_no_question_is_refused_by_its_field(
    service: Service, customer: str, field: str, given: dict[str, Any]
) -> None:
    assert refused_field(service, customer, **given).split(".")[0] == field


@pytest.mark.parametrize(
    "given",
    [
        {"customerId": "x" * 200, "currencyId": "x" * 200, "resourceId": "x" * 200},
        {"timeRange": "LAST_DAY", "startDate": None, "endDate": None, "groupBy": None, "atLeast": None},
        {"atLeast": "1"},
        {"startDate": NOW},
        {"startDate": NOW, "endDate": AFTER_NOW},
        {"startDate": AFTER_NOW, "endDate": "2026-01-31T12:00:00.000002Z"},
        {"startDate": "2016-01-31T12:00:00Z"},
        {"startDate": "2016-01-31T12:00:00Z", "endDate": NOW},
        {"startDate": "2016-02-29T00:00:00Z", "endDate": "2026-02-28T00:00:00Z"},
        {"startDate": "0001-01-01T00:00:00Z", "endDate": "0001-01-01T00:00:00.000001Z"},
        {"startDate": "9989-12-31T23:59:59.999999Z", "endDate": "9999-12-31T23:59:59.999999Z"},
        {"startDate": "9999-12-31T00:00:00Z", "endDate": "9999-12-31T23:59:59.999999Z"},
        {"groupBy": ["a", "b", "c"]},
        {"groupBy": ["x" * 200, "A", "a"]},
    ],
    ids=lambda value: ascii(value)[:60],
)  # fmt: skip
def test_on_the_other_side_of_each_bound_it_is_answered(service: Service, customer: str, given: dict[str, Any]) -> None:
    grant_of(service, customer)
    assert usage_of(service, **{"customer": customer} | given)["series"] == []


def test_a_read_waits_for_the_position_that_it_names(service: Service, user: str) -> None:
    fields = {"customerId": user, "currencyId": "credits", "amount": 7, "idempotencyKey": "use"}
    position = service.data(CONSUME, input=fields)["consumeCredits"]["position"]
    answer = service.graphql(TOTALS, input={"customerId": user, "atLeast": position})
    assert int(answer.headers["X-Ledger-Position"]) >= int(position)
    assert [series["totalCreditsExact"] for series in answer.json()["data"]["creditUsage"]["series"]] == ["7"]
    assert service.refusal(TOTALS, input={"customerId": user, "atLeast": "9" * 15})["code"] == "PositionNotReached"


def test_a_bound_key_asks_for_its_own_holder_alone(service: Service, schema: Database, user: str) -> None:
    use_of(service, user, 5)
    reader = as_key(key_for(schema, "reader", user))
    (series,) = service.data(TOTALS, reader, input={"customerId": user})["creditUsage"]["series"]
    assert series["totalCreditsExact"] == "5"
    for other in (f"{user}x", user[:-1], "nobody-at-all"):
        answer = service.graphql(TOTALS, reader, input={"customerId": other})
        assert answer.status_code == 403
        assert answer.json()["errors"][0]["extensions"]["code"] == "IdentityForbidden"


@pytest.fixture
def books(service: Service, schema: Database) -> Iterator[BlockingLedger]:
    """The same ledger in this process, for what would be too many requests."""
    with CreditLedger(schema, clock=settable_clock()) as ledger:
        yield BlockingLedger(ledger)


def uses(customer: str, count: int, first: int = 0, **more: str) -> list[ConsumeCredits]:
    """Uses by a thousand users, each a job of its own."""
    return [
        ConsumeCredits(
            holder=customer, currency="credits", amount=1, dimensions={"user": str(job % 1000), "job": str(job), **more}
        )
        for job in range(first, first + count)
    ]


def test_a_thousand_series_are_answered_and_more_are_not(service: Service, books: BlockingLedger, user: str) -> None:
    books.consume_many(uses(user, 2000))
    totals = totals_of(service, user, groupBy=["user"])
    assert len(totals) == 1000
    assert {total for _, _, total in totals} == {"2"}
    assert refused_field(service, user, groupBy=["job"]) == "groupBy"
    assert totals_of(service, user) == [("credits", "2000")]
    use_of(service, user, currencyId="tokens", dimensions={"user": "5"})
    assert refused_field(service, user, groupBy=["user"]) == "groupBy"
    assert len(totals_of(service, user, groupBy=["user"], currencyId="credits")) == 1000


def test_a_customer_with_thousands_of_currencies_names_one(
    service: Service, books: BlockingLedger, customer: str
) -> None:
    names = [f"currency {number}" for number in range(1001)]
    grants = [
        IssueGrant(holder=customer, currency=name, amount=9, display_name="g", grant_type=GrantType.PAID)
        for name in names
    ]
    used = [ConsumeCredits(holder=customer, currency=name, amount=1) for name in names]
    books.ledger.execute_many_blocking([*grants, *used[:1000]])
    assert len(totals_of(service, customer)) == 1000
    books.ledger.execute_many_blocking(used[1000:])
    assert refused_field(service, customer) == "currencyId"
    assert totals_of(service, customer, currencyId="currency 7") == [("currency 7", "1")]


def test_more_sets_of_dimensions_than_can_be_read_are_refused(
    service: Service, schema: Database, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for team in ("red", "blue", "green"):
        use_of(service, user, dimensions={"team": team})
    usage_of(service, user)
    wanted = UsageFilter(Kind.CREDIT_GRANT, user)
    asked = Asked(wanted, ("team",), CreditUsageTimeRange.LAST_MONTH, None, None, None)
    with Reader(schema, clock=settable_clock()) as reader, reader.snapshot() as snapshot:
        monkeypatch.setattr("service.graphql.usage.SETS_MAX", 3)
        assert len(usage_at(snapshot, asked).series) == 3
        monkeypatch.setattr("service.graphql.usage.SETS_MAX", 2)
        with pytest.raises(InvalidArgument) as refused:
            usage_at(snapshot, asked)
        assert refused.value.field == "groupBy"
        assert len(usage_at(snapshot, asked._replace(keys=())).series) == 1


@pytest.mark.parametrize(
    ("last_use",             "now",                         "counts"),
    [
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z",        (1, 1, 1, 1)),
        ("0001-01-01T00:30:00Z", "0001-01-02T00:00:00Z",        (25, 2, 2, 1)),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999999Z", (24, 7, 31, 12)),
    ],
)  # fmt: skip
def test_at_the_ends_of_the_calendar_there_is_an_answer_too(
    database: Database, last_use: str, now: str, counts: tuple[int, ...]
) -> None:
    with serving(database_url=database.dsn, schema=database.schema, test_clock="1") as service:
        service.set_clock(last_use)
        grant_of(service, "acme")
        use_of(service, "acme", 5)
        assert service.set_clock(now).status_code == 200
        for named, count in zip(CreditUsageTimeRange, counts, strict=True):
            points = points_of(service, "acme", timeRange=named.value)
            assert (len(points), sum(map(Decimal, points.values()))) == (count, 5)


def test_the_points_of_a_whole_request_are_bounded(service: Service, user: str) -> None:
    """However many reports it asks for: showing them must not keep others waiting."""
    for number in range(100):
        use_of(service, user, dimensions={"job": str(number)})
    report = f'creditUsage(input: {{customerId: "{user}", groupBy: ["job"]}}) {{ series {{ totalCredits }} }}'
    twelve, more = (" ".join(f"a{number}: {report}" for number in range(count)) for count in (12, 13))
    assert len(service.data(f"{{ {twelve} }}")) == 12
    refusal = service.refusal(f"{{ {more} }}")
    assert (refusal["code"], refusal["field"]) == ("InvalidArgumentError", "groupBy")
