"""The list of execution credits: filters, pages by number in either style, and who sees what.

All tests of this file add to one ledger; what has been made, and in what order, is kept in `shelf`.
"""

import secrets
from math import ceil
from typing import Any, NamedTuple

import pytest

from ledger.store.database import Database
from tests.service.serving import Service
from tests.service.test_api_keys import as_key, key_for
from tests.service.test_graphql_clock import now, wire

CREATE = """
mutation ($input: CreateExecutionCreditInput!) {
  createExecutionCredit(input: $input) { errors executionCredit { id createdAt } }
}
"""
DELETE = "mutation ($id: ID!) { deleteExecutionCredit(input: {id: $id}) { errors deletedId } }"
LIST = """
query (
  $companyId: ID, $creditType: ExecutionCreditTypeEnum, $rollupType: ExecutionCreditRollupTypeEnum,
  $page: Int, $limit: Int, $pagination: PaginationInput
) {
  executionCredits(
    companyId: $companyId, creditType: $creditType, rollupType: $rollupType,
    page: $page, limit: $limit, pagination: $pagination
  ) {
    collection { id companyId company { id label } creditType rollupType credits usedCredits createdAt deletedAt }
    metadata { currentPage limitValue totalCount totalPages }
  }
}
"""
COMPANIES = 26
TYPES = ("AI_PENTEST", "DAST")
CYCLES = ("MONTHLY", "QUARTERLY", "SEMIANNUAL", "YEARLY")


class Made(NamedTuple):
    """A credit as it was asked for, and the id that it was given."""

    companyId: str  # noqa: N815  # the wire's names, to filter by
    creditType: str  # noqa: N815
    rollupType: str  # noqa: N815
    id: str


class Shelf:
    """Every living credit of the ledger, in the order they were created."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.living: list[Made] = []

    def create(self, company: str, credit_type: str, rollup_type: str, **more: Any) -> Made:
        given = {"companyId": company, "creditType": credit_type, "rollupType": rollup_type, "credits": 5} | more
        payload = self.service.data(CREATE, input=given)["createExecutionCredit"]
        assert payload["errors"] is None
        self.living.append(Made(company, credit_type, rollup_type, payload["executionCredit"]["id"]))
        return self.living[-1]

    def delete(self, made: Made) -> None:
        payload = self.service.data(DELETE, id=made.id)["deleteExecutionCredit"]
        assert payload == {"errors": None, "deletedId": made.id}
        self.living.remove(made)

    def ids(self, **wanted: str | None) -> list[str]:
        """Those that a list has to show whose filters are these; a filter of None is none."""
        filters = {name: value for name, value in wanted.items() if value is not None}
        return [made.id for made in self.living if filters.items() <= made._asdict().items()]


@pytest.fixture(scope="module")
def shelf(service: Service) -> Shelf:
    """104 credits of 26 companies: each has two that renew and two that do not. Time passes at every other company."""
    shelf = Shelf(service)
    for number in range(COMPANIES):
        if number % 2:
            service.set_clock(f"2026-01-31T12:00:00.{number:06}Z")
        for credit_type in TYPES:
            shelf.create(f"c-{number}", credit_type, CYCLES[number % len(CYCLES)])
            shelf.create(f"c-{number}", credit_type, "ADDON")
    return shelf


def page_of(service: Service, headers: dict[str, str] | None = None, **asked: Any) -> Any:
    return service.data(LIST, headers, **asked)["executionCredits"]


def ids(page: Any) -> list[str]:
    return [credit["id"] for credit in page["collection"]]


def metadata(page: int, limit: int, total: int) -> dict[str, int]:
    return {"currentPage": page, "limitValue": limit, "totalCount": total, "totalPages": ceil(total / limit)}


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"page": None, "limit": None, "pagination": None},
        {"page": 1},
        {"limit": 25},
        {"page": None, "limit": 25},
        {"pagination": {}},
        {"pagination": {"page": None, "perPage": None}},
        {"pagination": {"page": 1}},
        {"pagination": {"perPage": 25}},
        {"page": None, "limit": None, "pagination": {"page": 1, "perPage": 25}},
    ],
    ids=str,
)
def test_a_page_is_the_first_25_unless_it_says_otherwise(service: Service, shelf: Shelf, asked: dict[str, Any]) -> None:
    page = page_of(service, **asked)
    assert ids(page) == shelf.ids()[:25]
    assert page["metadata"] == metadata(1, 25, len(shelf.living))


def in_either_style(style: str, page: int | None, limit: int | None) -> dict[str, Any]:
    if style == "page and limit":
        return {"page": page, "limit": limit}
    return {"pagination": {"page": page, "perPage": limit}}


STYLES = pytest.mark.parametrize("style", ["page and limit", "pagination"])


@STYLES
@pytest.mark.parametrize("limit", [7, 13, 25, 99, 100])
def test_pages_show_every_credit_once_in_the_order_they_were_created(
    service: Service, shelf: Shelf, style: str, limit: int
) -> None:
    expected = shelf.ids()
    seen: list[str] = []
    for number in range(1, ceil(len(expected) / limit) + 1):
        page = page_of(service, **in_either_style(style, number, limit))
        assert page["metadata"] == metadata(number, limit, len(expected))
        assert len(page["collection"]) == min(limit, len(expected) - len(seen))
        seen += ids(page)
    assert seen == expected


def test_credits_of_one_instant_are_in_the_order_of_their_ids(service: Service, shelf: Shelf) -> None:
    rows = [row for number in (1, 2) for row in page_of(service, page=number, limit=100)["collection"]]
    places = [(row["createdAt"].replace("00.000Z", "00.000000Z"), row["id"]) for row in rows]
    assert places == sorted(places)
    assert 10 < len({instant for instant, _ in places}) < len(places)


@STYLES
@pytest.mark.parametrize("beyond", [1, 2, 1000, None])
def test_a_page_past_the_end_is_empty_and_its_totals_are_intact(
    service: Service, shelf: Shelf, style: str, beyond: int | None
) -> None:
    """None: as far as a whole number goes."""
    total = len(shelf.living)
    number = 2**31 - 1 if beyond is None else ceil(total / 100) + beyond
    page = page_of(service, **in_either_style(style, number, 100))
    assert (page["collection"], page["metadata"]) == ([], metadata(number, 100, total))


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"limit": 0},                              "limit"),
        ({"limit": -1},                             "limit"),
        ({"limit": 101},                            "limit"),
        ({"limit": 2**31 - 1},                      "limit"),
        ({"page": 0},                               "page"),
        ({"page": -1},                              "page"),
        ({"page": -(2**31)},                        "page"),
        ({"pagination": {"perPage": 0}},            "pagination.perPage"),
        ({"pagination": {"perPage": -1}},           "pagination.perPage"),
        ({"pagination": {"perPage": 101}},          "pagination.perPage"),
        ({"pagination": {"perPage": 2**31 - 1}},    "pagination.perPage"),
        ({"pagination": {"page": 0}},               "pagination.page"),
        ({"pagination": {"page": -1}},              "pagination.page"),
        ({"page": 1, "pagination": {"page": 1}},    "pagination"),
        ({"limit": 5, "pagination": {"perPage": 5}}, "pagination"),
        ({"page": 1, "limit": 5, "pagination": {}}, "pagination"),
        ({"limit": 5, "pagination": {"page": 1}},   "pagination"),
    ],
    ids=str,
)  # fmt: skip
def test_a_page_out_of_bounds_or_asked_for_in_both_styles_is_refused_and_never_cut(
    service: Service, shelf: Shelf, asked: dict[str, Any], field: str
) -> None:
    refusal = service.refusal(LIST, **asked)
    assert (refusal["code"], refusal["field"]) == ("InvalidArgumentError", field)


@STYLES
@pytest.mark.parametrize("size", ["10", 1.5, True, 2**31, [10], {}], ids=str)
def test_pages_are_counted_in_whole_numbers(service: Service, shelf: Shelf, style: str, size: Any) -> None:
    for asked in (in_either_style(style, size, None), in_either_style(style, None, size)):
        assert service.refusal(LIST, **asked)["code"] == "InvalidArgumentError"


@pytest.mark.parametrize("rollup_type", [None, *CYCLES, "ADDON"])
@pytest.mark.parametrize("credit_type", [None, *TYPES])
@pytest.mark.parametrize("company", [None, "c-0", "c-9", "nobody"])
def test_a_list_shows_what_all_its_filters_let_through(
    service: Service, shelf: Shelf, company: str | None, credit_type: str | None, rollup_type: str | None
) -> None:
    wanted: dict[str, Any] = {"companyId": company, "creditType": credit_type, "rollupType": rollup_type}
    expected = shelf.ids(**wanted)
    seen: list[str] = []
    while True:
        page = page_of(service, **wanted, page=len(seen) // 10 + 1, limit=10)
        assert page["metadata"] == metadata(len(seen) // 10 + 1, 10, len(expected))
        seen += ids(page)
        if len(page["collection"]) < 10:
            break
    assert seen == expected


def test_a_list_of_none_has_no_pages(service: Service, shelf: Shelf) -> None:
    page = page_of(service, companyId="nobody")
    assert page == {"collection": [], "metadata": metadata(1, 25, 0)}
    assert page["metadata"]["totalPages"] == 0


def test_each_credit_is_listed_as_it_is(service: Service, customer: str, shelf: Shelf) -> None:
    labelled = shelf.create(customer, "DAST", "YEARLY", companyLabel="Acme & Söhne", credits=2**31 - 1)
    plain = shelf.create(customer, "DAST", "ADDON", credits=1)
    common = {
        "companyId": customer, "creditType": "DAST", "usedCredits": 0, "deletedAt": None,
        "createdAt": wire(now(service)),
    }  # fmt: skip
    assert page_of(service, companyId=customer)["collection"] == [
        common
        | {
            "id": labelled.id, "company": {"id": customer, "label": "Acme & Söhne"}, "rollupType": "YEARLY",
            "credits": 2**31 - 1,
        },
        common | {"id": plain.id, "company": {"id": customer, "label": customer}, "rollupType": "ADDON", "credits": 1},
    ]  # fmt: skip


@pytest.mark.parametrize("style", ["variables", "document"])
def test_a_company_is_named_by_a_number_or_by_its_digits(service: Service, shelf: Shelf, style: str) -> None:
    number = secrets.randbelow(2**31)
    shelf.create(str(number), "DAST", "ADDON")
    for company in (number, str(number)):
        if style == "variables":
            page = page_of(service, companyId=company)
        else:
            literal = company if isinstance(company, int) else f'"{company}"'
            document = f"{{ executionCredits(companyId: {literal}) {{ collection {{ id companyId }} }} }}"
            page = service.data(document)["executionCredits"]
        assert ids(page) == shelf.ids(companyId=str(number))
        assert [credit["companyId"] for credit in page["collection"]] == [str(number)]
    assert ids(page_of(service, companyId=f"0{number}")) == []


@pytest.mark.parametrize("company", ["", "x" * 201, "a\0b"], ids=lambda text: ascii(text)[:12])
def test_what_names_no_company_is_refused(service: Service, shelf: Shelf, company: str) -> None:
    refusal = service.refusal(LIST, companyId=company)
    assert (refusal["code"], refusal["field"]) == ("InvalidArgumentError", "companyId")


@pytest.mark.parametrize(
    "asked",
    [
        {"companyId": True}, {"companyId": 1.5}, {"companyId": ["1"]}, {"creditType": "PENTEST"}, {"creditType": 1},
        {"creditType": "ai_pentest"}, {"rollupType": "WEEKLY"}, {"rollupType": ["ADDON"]}, {"rollupType": ""},
        {"pagination": {"limit": 5}}, {"pagination": 5},
    ],
    ids=str,
)  # fmt: skip
def test_a_filter_that_is_none_is_refused(service: Service, asked: dict[str, Any]) -> None:
    assert service.refusal(LIST, **asked)["code"] == "InvalidArgumentError"


def test_a_deleted_credit_is_in_no_list(service: Service, customer: str, shelf: Shelf) -> None:
    kept, deleted = shelf.create(customer, "DAST", "ADDON"), shelf.create(customer, "DAST", "MONTHLY")
    total = len(shelf.living)
    shelf.delete(deleted)
    filters: list[dict[str, Any]] = [{}, {"creditType": "DAST"}, {"rollupType": "MONTHLY"}]
    for asked in filters:
        page = page_of(service, companyId=customer, **asked)
        expected = shelf.ids(companyId=customer, **asked)
        assert (ids(page), page["metadata"]["totalCount"]) == (expected, len(expected))
    assert page_of(service)["metadata"]["totalCount"] == total - 1
    again = shelf.create(customer, "DAST", "MONTHLY")
    assert ids(page_of(service, companyId=customer)) == [kept.id, again.id]


@pytest.mark.parametrize("role", ["writer", "reader", "auditor"])
def test_a_key_for_some_companies_lists_theirs_alone(
    service: Service, schema: Database, shelf: Shelf, role: str
) -> None:
    key = as_key(key_for(schema, role, "c-3", "c-7", "nobody"))
    expected = [made.id for made in shelf.living if made.companyId in ("c-3", "c-7")]
    page = page_of(service, key, limit=5)
    assert (ids(page), page["metadata"]) == (expected[:5], metadata(1, 5, len(expected)))
    assert ids(page_of(service, key, limit=5, page=2)) == expected[5:]
    assert ids(page_of(service, key, creditType="DAST", rollupType="YEARLY")) == [
        made.id for made in shelf.living if made[:3] in (("c-3", "DAST", "YEARLY"), ("c-7", "DAST", "YEARLY"))
    ]
    assert ids(page_of(service, key, companyId="c-7")) == shelf.ids(companyId="c-7")
    assert ids(page_of(service, key, companyId="nobody")) == []


@pytest.mark.parametrize("company", ["c-4", "somebody", "C-3", "c-3 "])
def test_a_key_for_some_companies_learns_nothing_of_others(
    service: Service, schema: Database, shelf: Shelf, company: str
) -> None:
    """Neither that they are there nor that they are not."""
    answer = service.graphql(LIST, as_key(key_for(schema, "reader", "c-3")), companyId=company)
    (error,) = answer.json()["errors"]
    assert (answer.status_code, answer.json()["data"]) == (403, {"executionCredits": None})
    assert error["extensions"]["code"] == "IdentityForbidden"


def test_a_key_for_a_company_without_credits_has_an_empty_list(
    service: Service, schema: Database, customer: str, shelf: Shelf
) -> None:
    page = page_of(service, as_key(key_for(schema, "reader", customer)))
    assert page == {"collection": [], "metadata": metadata(1, 25, 0)}


def test_a_list_without_a_key_is_nobodys(service: Service) -> None:
    for key in ("", "unknown"):
        answer = service.graphql(LIST, as_key(key))
        (error,) = answer.json()["errors"]
        assert (answer.status_code, error["extensions"]["code"]) == (401, "Unauthenticated")
