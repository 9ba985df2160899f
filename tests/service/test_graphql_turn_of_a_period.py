"""Reads at the turn of a period, on the real clock: each shows the one state or the other, never what lies between."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from ledger.store.database import Database
from tests.service.load import eventually
from tests.service.serving import Service, client_of, serving

CREATE = "mutation ($input: CreateGrantScheduleInput!) { createGrantSchedule(input: $input) { nextGrantAt } }"
GRANTS = """
query ($customer: String!) {
  creditGrants(input: {customerId: $customer}) { edges { node { grantId status remainingAmount rolledOverTo } } }
}
"""
SUMMARY = """
query ($customer: String!) {
  creditBalanceSummary(input: {customerId: $customer}) { balances { currentBalanceExact validUntil } }
}
"""
ONE = "query ($grant: String!) { creditGrant(id: $grant) { status rolledOverTo } }"
TURNS = 24
APART = timedelta(milliseconds=150)
SECONDS_MAX = 60


def wire(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


def asking(service: Service, document: str, variables: dict[str, str], at: datetime) -> Any:
    """Ask at an instant, on a connection that is open by then. An answer that says that it is stale is none."""
    with client_of(service.url, service.key) as client:
        client.get("/livez")
        assert eventually(lambda: datetime.now(UTC) >= at, SECONDS_MAX)
        answer = client.post("/graphql", json={"query": document, "variables": variables})
    return None if "X-Ledger-Stale" in answer.headers else answer.json()["data"]


def around(service: Service, turns: list[datetime], document: str, variables: Callable[[int], dict[str, str]]) -> Any:
    """What was answered to requests sent a little before and a little after each turn."""
    befores = (timedelta(milliseconds=8), timedelta(milliseconds=4), timedelta(0), timedelta(milliseconds=-2))
    with ThreadPoolExecutor(8) as pool:
        asked = [
            pool.submit(asking, service, document, variables(number), turn - befores[number % len(befores)])
            for number, turn in enumerate(turns)
        ]
        answers = [each.result() for each in asked]
    assert any(answers)
    return [answer for answer in answers if answer is not None]


def test_a_read_shows_what_was_before_a_turn_or_what_is_after_it(database: Database) -> None:
    with serving(database_url=database.dsn, schema=database.schema) as service:
        first = datetime.now(UTC) + timedelta(seconds=4)
        turns = [first + APART * number for number in range(TURNS)]
        for number, turn in enumerate(turns):
            plan = {"currencyId": "credits", "displayName": "Plan", "billingPeriod": "MONTH", "cadence": "MONTHLY"}
            rolling = {"amountPerPeriod": 30, "rollover": {"expiresAfterPeriods": 1}}
            anchor = {"customerId": f"c-{number}", "anchorAt": wire(turn.replace(year=turn.year - 4))}
            made = service.data(CREATE, input=plan | rolling | anchor)["createGrantSchedule"]
            assert datetime.fromisoformat(made["nextGrantAt"]) == turn
        grants = [
            service.data(GRANTS, customer=f"c-{number}")["creditGrants"]["edges"][0]["node"]["grantId"]
            for number in range(TURNS)
        ]
        third = TURNS // 3
        sums = around(service, turns[:third], SUMMARY, lambda number: {"customer": f"c-{number}"})
        lists = around(service, turns[third:-third], GRANTS, lambda number: {"customer": f"c-{third + number}"})
        ones = around(service, turns[-third:], ONE, lambda number: {"grant": grants[number - third]})
    for data in sums:
        ((row,),) = (data["creditBalanceSummary"]["balances"],)
        assert row["currentBalanceExact"] in ("30", "60"), row
    for data in lists:
        active = [
            edge["node"]["remainingAmount"]
            for edge in data["creditGrants"]["edges"]
            if edge["node"]["status"] == "ACTIVE"
        ]
        assert active in (["30"], ["30", "30"]), data
    for data in ones:
        found = data["creditGrant"]
        assert (found["status"] == "EXPIRED") == (found["rolledOverTo"] is not None), found
