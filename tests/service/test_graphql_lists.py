"""The list of a customer's grants: newest first, paged both ways by cursors that stay right while grants are added."""

import base64
import secrets
from typing import Any

import pytest

from tests.service.serving import Service

CREATE = "mutation ($input: CreditGrantInput!) { createCreditGrant(input: $input) { id grantId displayName } }"
GRANTS = """
query ($input: GetCreditGrantsInput!) {
  creditGrants(input: $input) {
    totalCount
    pageInfo { startCursor endCursor hasNextPage hasPreviousPage }
    edges { cursor node { id displayName currencyId resourceId } }
  }
}
"""
GRANT_ONE = "query ($id: String!) { creditGrant(id: $id) { id grantId displayName customerId } }"
LEDGER = """
query ($input: CreditLedgerInput!) {
  creditsLedger(input: $input) { pageInfo { startCursor endCursor hasNextPage } edges { cursor node { position } } }
}
"""
ALL = 25
NEWEST_FIRST = [f"grant {number}" for number in range(ALL, 0, -1)]


@pytest.fixture(scope="module")
def shelf(service: Service) -> str:
    """A customer with 25 grants, from `grant 1`, the oldest, to `grant 25`."""
    customer = f"customer-{secrets.token_hex(6)}"
    for number in range(1, ALL + 1):
        grant_of(service, customer, f"grant {number}")
    return customer


def grant_of(service: Service, customer: str, name: str, **given: Any) -> dict[str, Any]:
    fields = {"customerId": customer, "currencyId": "credits", "displayName": name, "grantType": "PAID", "amount": 1}
    created: dict[str, Any] = service.data(CREATE, input=fields | given)["createCreditGrant"]
    return created


def read(service: Service, query: str, **variables: Any) -> Any:
    """The data of a read at the head of the log."""
    head = service.http.get("/readyz").json()["head"]
    return service.data(query, {"X-Ledger-At-Least": head}, **variables)


def page_of(service: Service, customer: str, **paging: Any) -> Any:
    return read(service, GRANTS, input={"customerId": customer, "paging": paging})["creditGrants"]


def names(page: Any) -> list[str]:
    return [edge["node"]["displayName"] for edge in page["edges"]]


def around(page: Any) -> tuple[bool, bool]:
    """Whether there are newer grants than these, and older ones."""
    return page["pageInfo"]["hasPreviousPage"], page["pageInfo"]["hasNextPage"]


@pytest.mark.parametrize("paging", [None, {}, {"first": None}, {"first": 20}, {"after": None, "before": None}])
def test_a_page_is_the_20_newest_unless_it_says_otherwise(service: Service, shelf: str, paging: Any) -> None:
    page = read(service, GRANTS, input={"customerId": shelf, "paging": paging})["creditGrants"]
    assert (names(page), around(page)) == (NEWEST_FIRST[:20], (False, True))
    assert page["totalCount"] == ALL
    cursors = [edge["cursor"] for edge in page["edges"]]
    assert len(set(cursors)) == 20
    assert (page["pageInfo"]["startCursor"], page["pageInfo"]["endCursor"]) == (cursors[0], cursors[-1])


@pytest.mark.parametrize("size", [1, 7, 10, 24, 25, 26, 100])
def test_pages_forward_show_every_grant_once(service: Service, shelf: str, size: int) -> None:
    seen: list[str] = []
    page = page_of(service, shelf, first=size)
    while True:
        first_page = not seen
        seen += names(page)
        assert around(page) == (not first_page, len(seen) < ALL)
        assert page["totalCount"] == ALL
        if not page["pageInfo"]["hasNextPage"]:
            break
        page = page_of(service, shelf, first=size, after=page["pageInfo"]["endCursor"])
    assert seen == NEWEST_FIRST


@pytest.mark.parametrize("size", [1, 7, 10, 24, 25, 26, 100])
def test_pages_backward_show_every_grant_once(service: Service, shelf: str, size: int) -> None:
    seen: list[str] = []
    page = page_of(service, shelf, last=size)
    while True:
        first_page = not seen
        seen = names(page) + seen
        assert around(page) == (len(seen) < ALL, not first_page)
        if not page["pageInfo"]["hasPreviousPage"]:
            break
        page = page_of(service, shelf, last=size, before=page["pageInfo"]["startCursor"])
    assert seen == NEWEST_FIRST


def test_a_page_may_stand_between_two_cursors(service: Service, shelf: str) -> None:
    cursors = [edge["cursor"] for edge in page_of(service, shelf, first=ALL)["edges"]]
    between = {"after": cursors[4], "before": cursors[12]}
    newest, oldest = page_of(service, shelf, first=3, **between), page_of(service, shelf, last=3, **between)
    assert (names(newest), around(newest)) == (NEWEST_FIRST[5:8], (True, True))
    assert (names(oldest), around(oldest)) == (NEWEST_FIRST[9:12], (True, True))
    assert names(page_of(service, shelf, first=100, **between)) == NEWEST_FIRST[5:12]
    assert names(page_of(service, shelf, first=5, before=cursors[3])) == NEWEST_FIRST[:3]
    assert names(page_of(service, shelf, last=5, after=cursors[-4])) == NEWEST_FIRST[-3:]
    assert names(page_of(service, shelf, first=5, after=cursors[12], before=cursors[4])) == []


def test_the_ends_of_a_list_are_empty_pages(service: Service, shelf: str) -> None:
    cursors = [edge["cursor"] for edge in page_of(service, shelf, first=ALL)["edges"]]
    newer, older = page_of(service, shelf, last=5, before=cursors[0]), page_of(service, shelf, after=cursors[-1])
    assert (newer["edges"], around(newer)) == ([], (False, True))
    assert (older["edges"], around(older)) == ([], (True, False))
    assert newer["pageInfo"]["startCursor"] is newer["pageInfo"]["endCursor"] is None
    assert older["totalCount"] == ALL


@pytest.mark.parametrize("side", ["first", "last"])
def test_a_page_of_none_only_counts(service: Service, shelf: str, side: str) -> None:
    page = page_of(service, shelf, **{side: 0})
    assert (page["edges"], page["totalCount"]) == ([], ALL)
    assert around(page) == ((False, True) if side == "first" else (True, False))


def test_cursors_stay_right_while_grants_are_added(service: Service, customer: str) -> None:
    for name in "abcde":
        grant_of(service, customer, name)
    page = page_of(service, customer, first=3)
    for name in "fg":
        grant_of(service, customer, name)
    older = page_of(service, customer, first=3, after=page["pageInfo"]["endCursor"])
    newer = page_of(service, customer, last=3, before=page["pageInfo"]["startCursor"])
    assert (names(page), names(older), names(newer)) == (["e", "d", "c"], ["b", "a"], ["g", "f"])
    assert (around(older), around(newer)) == ((True, False), (False, True))
    assert (page["totalCount"], older["totalCount"]) == (5, 7)


@pytest.mark.parametrize(
    ("paging", "field"),
    [
        ({"first": 101},           "paging.first"),
        ({"first": -1},            "paging.first"),
        ({"first": 2_147_483_647}, "paging.first"),
        ({"last": 101},            "paging.last"),
        ({"last": -1},             "paging.last"),
        ({"first": 5, "last": 5},  "paging"),
        ({"first": 0, "last": 0},  "paging"),
    ],
)  # fmt: skip
def test_a_page_of_another_size_is_refused(service: Service, shelf: str, paging: Any, field: str) -> None:
    for query in (GRANTS, LEDGER):
        refusal = service.refusal(query, input={"customerId": shelf, "paging": paging})
        assert (refusal["code"], refusal["field"]) == ("InvalidArgumentError", field)


@pytest.mark.parametrize("size", ["10", 1.5, True, 2_147_483_648, [10], {}])
def test_the_size_of_a_page_is_a_whole_number(service: Service, shelf: str, size: Any) -> None:
    assert service.refusal(GRANTS, input={"customerId": shelf, "paging": {"first": size}})["code"] == (
        "InvalidArgumentError"
    )


def test_the_size_of_a_page_in_the_document_is_a_whole_number(service: Service, shelf: str) -> None:
    for size in ("9" * 5_000, "2147483648", "1.5", '"10"', "true"):
        document = f'{{ creditGrants(input: {{customerId: "{shelf}", paging: {{first: {size}}}}}) {{ totalCount }} }}'
        assert service.refusal(document)["code"] == "InvalidArgumentError"


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize("side", ["after", "before"])
@pytest.mark.parametrize(
    "cursor",
    [
        "", "garbage", "1", "====", "\u00e9", "x" * 65, "x" * 100_000,
        encoded("grant"), encoded("grant:"), encoded("grant:-1"), encoded("grant:1.5"), encoded("grant: 1"),
        encoded("grant:\u0661"), encoded("grant:9999999999999999999"), encoded("GRANT:1"),
        encoded("lot:1"), encoded(":1"),
    ],
    ids=lambda cursor: ascii(cursor)[:24],
)  # fmt: skip
def test_what_is_no_cursor_is_refused(service: Service, shelf: str, side: str, cursor: str) -> None:
    refusal = service.refusal(GRANTS, input={"customerId": shelf, "paging": {side: cursor}})
    assert (refusal["code"], refusal["field"]) == ("InvalidArgumentError", f"paging.{side}")


def test_a_cursor_is_good_for_its_own_kind_of_list(service: Service, shelf: str) -> None:
    of_grants = page_of(service, shelf)["pageInfo"]["endCursor"]
    of_entries = read(service, LEDGER, input={"customerId": shelf})["creditsLedger"]["pageInfo"]["endCursor"]
    for query, cursor in ((GRANTS, of_entries), (LEDGER, of_grants), (GRANTS, f"{of_grants[:4]}!{of_grants[4:]}")):
        refusal = service.refusal(query, input={"customerId": shelf, "paging": {"after": cursor}})
        assert (refusal["code"], refusal["field"]) == ("InvalidArgumentError", "paging.after")


def test_the_ledger_has_the_same_pages(service: Service, shelf: str) -> None:
    seen: list[int] = []
    after = None
    while True:
        wanted = {"customerId": shelf, "paging": {"first": 10, "after": after}}
        page = read(service, LEDGER, input=wanted)["creditsLedger"]
        seen += [int(edge["node"]["position"]) for edge in page["edges"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert len(seen) == ALL
    assert seen == sorted(set(seen), reverse=True)


def test_grants_are_told_apart_by_currency_and_resource(service: Service, customer: str) -> None:
    for currency in ("credits", "tokens"):
        for resource in (None, "site-1", "site-2"):
            grant_of(service, customer, f"{currency} {resource}", currencyId=currency, resourceId=resource)
    for resource in (None, "site-1", "site-2"):
        wanted = {"customerId": customer} | ({} if resource is None else {"resourceId": resource})
        both = read(service, GRANTS, input=wanted)["creditGrants"]
        assert (names(both), both["totalCount"]) == ([f"tokens {resource}", f"credits {resource}"], 2)
        tokens = read(service, GRANTS, input=wanted | {"currencyId": "tokens"})["creditGrants"]
        assert (names(tokens), tokens["totalCount"]) == ([f"tokens {resource}"], 1)
    for unknown in ({"currencyId": "Tokens"}, {"resourceId": "site-3"}, {"resourceId": "site"}):
        assert read(service, GRANTS, input={"customerId": customer} | unknown)["creditGrants"]["totalCount"] == 0


def test_a_customer_who_is_not_there_has_an_empty_list(service: Service, customer: str) -> None:
    page = page_of(service, customer)
    assert (page["edges"], page["totalCount"], around(page)) == ([], 0, (False, False))
    assert page["pageInfo"]["startCursor"] is None


def test_a_grant_is_found_by_any_spelling_of_its_name(service: Service, customer: str) -> None:
    created = grant_of(service, customer, "named")
    assert created["grantId"].startswith("cg-")
    assert len(created["grantId"]) >= len("cg-") + 12
    for name in (created["id"], created["id"].upper(), created["grantId"]):
        found = read(service, GRANT_ONE, id=name)["creditGrant"]
        assert found == created | {"customerId": customer}


@pytest.mark.parametrize(
    "name", ["00000000-0000-0000-0000-000000000000", "cg-nosuchgrant12", "cg-", "a name", "' OR 1=1 --", "%", "{}"]
)
def test_a_grant_that_is_not_there_is_refused_by_name(service: Service, shelf: str, name: str) -> None:
    assert service.refusal(GRANT_ONE, id=name) == {"code": "CreditGrantNotFound", "grant": name}
