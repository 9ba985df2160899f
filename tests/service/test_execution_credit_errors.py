"""What goes wrong with execution credits: a rule speaks in the payload, all else is an error of the request.

A rule is one of the contract's. A request that cannot be read, is of nobody or of somebody who may not, is none.
"""

import json
from typing import Any

import pytest

from ledger.store.database import Database
from tests.service.executions import (
    CREATE,
    DEBIT,
    DELETE,
    ONE,
    REFUND,
    UPDATE,
    Company,
    delete,
    done,
    giving_back,
    movements,
    refund,
    refusal,
    shown,
    update,
    used,
)
from tests.service.serving import Service
from tests.service.test_api_keys import as_key, key_for

UNKNOWN = "00000000-0000-4000-8000-000000000000"
ALL = {"create": CREATE, "update": UPDATE, "delete": DELETE, "debit": DEBIT, "refund": REFUND}


def given(operation: str, company: str = "someone") -> dict[str, Any]:
    """An input that can be read."""
    whose: dict[str, Any] = {"companyId": company, "creditType": "AI_PENTEST", "credits": 5}
    inputs: dict[str, dict[str, Any]] = {
        "create": whose | {"rollupType": "MONTHLY"},
        "update": {"id": UNKNOWN, "credits": 5},
        "delete": {"id": UNKNOWN},
        "debit": whose | {"idempotencyKey": "key"},
        "refund": {"transactionId": UNKNOWN, "idempotencyKey": "key"},
    }
    return inputs[operation]


def head(service: Service) -> str:
    found: str = service.http.get("/readyz").json()["head"]
    return found


def malformed(service: Service, operation: str, **fields: Any) -> dict[str, Any]:
    """The extensions of the one error of a request that writes nothing. Sent in ASCII, for lone surrogates."""
    before = head(service)
    body = json.dumps({"query": ALL[operation], "variables": {"input": given(operation) | fields}})
    answer = service.http.post("/graphql", content=body).json()
    (error,) = answer["errors"]
    assert (answer.get("data") or {"answer": None}) == {"answer": None}
    assert head(service) == before
    extensions: dict[str, Any] = error["extensions"]
    return extensions


def test_what_a_rule_refuses_is_told_in_the_payload_alone(service: Service, schema: Database) -> None:
    company = Company(service)
    credit, addon = company.create("MONTHLY", 10), company.create("ADDON", 1)
    gone = company.create("MONTHLY", creditType="DAST")
    delete(service, gone)
    debit = company.debit(8)
    log = movements(schema, company.id)
    for document, asked, says in [
        (CREATE, company.creation(),                            "already has a live renewing credit"),
        (CREATE, company.creation("ADDON"),                     "already has a live ADDON"),
        (CREATE, company.creation(credits=0),                   "credits must be above zero"),
        (CREATE, company.creation(periodAnchor="2999-01-01T00:00:00Z"), "must not be in the future"),
        (UPDATE, {"id": credit, "credits": 7},                  "8 are used"),
        (UPDATE, {"id": credit, "credits": 0},                  "credits must be above zero"),
        (UPDATE, {"id": credit, "rollupType": "ADDON"},         "cannot be changed"),
        (UPDATE, {"id": addon, "rollupType": "MONTHLY"},        "cannot be changed"),
        (UPDATE, {"id": gone, "credits": 7},                    "is deleted"),
        (UPDATE, {"id": UNKNOWN, "credits": 7},                 f"no execution credit {UNKNOWN}"),
        (DELETE, {"id": gone},                                  "is deleted"),
        (DELETE, {"id": UNKNOWN},                               f"no execution credit {UNKNOWN}"),
        (DEBIT,  company.use(4),                                "4 requested, 3 available"),
        (DEBIT,  company.use(1, creditType="DAST"),             "no ADDON pool found for DAST"),
        (DEBIT,  company.use(0),                                "credits must be above zero"),
        (REFUND, giving_back(debit, 9),                         "8 left to refund"),
        (REFUND, giving_back(debit, 0),                         "credits must be above zero"),
        (REFUND, giving_back({"transactionId": UNKNOWN}),       f"no debit {UNKNOWN}"),
    ]:  # fmt: skip
        answer = service.graphql(document, input=asked | {"clientMutationId": "m-1"})
        assert (answer.status_code, list(answer.json())) == (200, ["data"])
        assert answer.json()["data"]["answer"]["clientMutationId"] == "m-1"
        assert says in refusal(service, document, asked)
    assert movements(schema, company.id) == log


@pytest.mark.parametrize(
    ("operation", "field", "characters_max"),
    [
        ("create", "companyId",       200),
        ("create", "companyLabel",    200),
        ("create", "idempotencyKey",  255),
        ("create", "clientMutationId", 255),
        ("update", "id",              200),
        ("update", "idempotencyKey",  255),
        ("update", "clientMutationId", 255),
        ("delete", "id",              200),
        ("delete", "idempotencyKey",  255),
        ("delete", "clientMutationId", 255),
        ("debit",  "companyId",       200),
        ("debit",  "projectId",       200),
        ("debit",  "accountGroupIds", 200),
        ("debit",  "idempotencyKey",  255),
        ("debit",  "clientMutationId", 255),
        ("refund", "transactionId",   200),
        ("refund", "idempotencyKey",  255),
        ("refund", "clientMutationId", 255),
    ],
)  # fmt: skip
def test_a_text_that_is_too_long_or_cannot_be_kept_is_an_error_of_the_request(
    service: Service, operation: str, field: str, characters_max: int
) -> None:
    bounds = f"must be a text of 1 to {characters_max} characters"
    for text, reason in [
        ("x" * (characters_max + 1), bounds),
        ("a\0b", "must not contain U+0000"),
        ("a\ud800b", "must not contain lone surrogates"),
    ]:
        told = malformed(service, operation, **{field: text})
        assert told == {"code": "InvalidArgumentError", "field": field, "reason": reason}
    company = Company(service)
    fits = "\U0001f600" * (characters_max - 12) + company.id[-12:]
    service.data(ALL[operation], input=given(operation, company.id) | {field: fits})


@pytest.mark.parametrize(
    ("operation", "field"),
    [
        ("create", "companyId"), ("create", "idempotencyKey"), ("update", "id"), ("update", "idempotencyKey"),
        ("delete", "id"), ("debit", "companyId"), ("debit", "accountGroupIds"), ("debit", "idempotencyKey"),
        ("refund", "transactionId"), ("refund", "idempotencyKey"),
    ],
)  # fmt: skip
def test_an_empty_text_names_nothing(service: Service, operation: str, field: str) -> None:
    told = malformed(service, operation, **{field: ""})
    assert (told["code"], told["field"]) == ("InvalidArgumentError", field)


@pytest.mark.parametrize(
    ("operation", "field"),
    [
        ("create", "companyId"), ("create", "creditType"), ("create", "credits"), ("create", "rollupType"),
        ("update", "id"), ("delete", "id"),
        ("debit", "companyId"), ("debit", "creditType"), ("debit", "credits"), ("debit", "idempotencyKey"),
        ("refund", "transactionId"), ("refund", "idempotencyKey"),
    ],
)  # fmt: skip
def test_what_is_required_and_missing_is_named(service: Service, operation: str, field: str) -> None:
    without = given(operation)
    del without[field]
    for asked in (without, without | {field: None}):
        told = service.refusal(ALL[operation], input=asked)
        assert told["code"] == "InvalidArgumentError"
        (error,) = service.graphql(ALL[operation], input=asked).json()["errors"]
        assert field in error["message"]


NO_INT: list[Any] = [2**31, -(2**31) - 1, 1.5, "5", True, [5], {}]


@pytest.mark.parametrize(
    ("operation", "fields"),
    [
        *[(operation, {"credits": wrong}) for operation in ("create", "update", "debit", "refund") for wrong in NO_INT],
        *[("create", {"creditType": wrong}) for wrong in ("GONE", "ai_pentest", 5)],
        *[("create", {"rollupType": wrong}) for wrong in ("WEEKLY", "", 5)],
        *[("create", {"periodAnchor": wrong}) for wrong in
          ("yesterday", "2026-01-01", "2026-01-01T00:00:00", "2026-01-01T00:00:00.0000001Z", "2026-02-30T00:00Z", 5)],
        ("create", {"companyLabel": 5}),
        ("create", {"companyId": 1.5}),
        ("create", {"companyId": True}),
        ("update", {"rollupType": "WEEKLY"}),
        ("update", {"id": ["x"]}),
        ("debit", {"creditType": "GONE"}),
        ("debit", {"projectId": {"a": 1}}),
        ("debit", {"accountGroupIds": [None]}),
        ("debit", {"accountGroupIds": [1.5]}),
        ("debit", {"idempotencyKey": 5}),
        ("refund", {"clientMutationId": 5}),
    ],
    ids=ascii,
)  # fmt: skip
def test_a_value_that_cannot_be_read_is_an_error_of_the_request_that_names_its_field(
    service: Service, operation: str, fields: dict[str, Any]
) -> None:
    told = malformed(service, operation, **fields)
    (field,) = fields
    assert (told["code"], told["field"]) == ("InvalidArgumentError", field)


def test_an_update_that_asks_for_nothing_is_an_error_of_the_request(service: Service) -> None:
    for nothing in ({"credits": None}, {"credits": None, "rollupType": None}):
        told = malformed(service, "update", **nothing)
        assert told == {"code": "InvalidArgumentError", "field": "input", "reason": "must change something"}


def test_a_debit_counts_for_at_most_a_thousand_account_groups(service: Service) -> None:
    company = Company(service)
    company.create()
    groups = [str(number) for number in range(1001)]
    assert malformed(service, "debit", accountGroupIds=groups)["field"] == "accountGroupIds"
    company.debit(1, accountGroupIds=groups[1:])


def test_a_whole_number_may_be_written_with_a_point(service: Service) -> None:
    company = Company(service)
    credit = company.create()
    body = json.dumps({"query": DEBIT, "variables": {"input": company.use(5)}}).replace(
        '"credits": 5', '"credits": 5.0'
    )
    assert service.http.post("/graphql", content=body).json()["data"]["answer"]["errors"] is None
    assert used(service, credit) == [5]


@pytest.mark.parametrize("mark", ["", "x" * 255, "\U0001f600"], ids=lambda mark: ascii(mark)[:12])
def test_the_mark_of_a_client_comes_back_as_it_was_sent(service: Service, mark: str) -> None:
    company = Company(service)
    assert done(service, CREATE, company.creation(clientMutationId=mark))["clientMutationId"] == mark


@pytest.mark.parametrize("key", ["", "nobody's", "admin"])
@pytest.mark.parametrize("operation", ALL)
def test_a_request_of_nobody_is_not_carried_out(service: Service, operation: str, key: str) -> None:
    before = head(service)
    answer = service.graphql(ALL[operation], as_key(key), input=given(operation))
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["extensions"]["code"]) == (401, "Unauthenticated")
    assert head(service) == before


@pytest.mark.parametrize("role", ["reader", "auditor"])
def test_who_may_only_read_reads_and_changes_nothing(service: Service, schema: Database, role: str) -> None:
    """Not even a request that a rule would refuse, or that was carried out before, is answered."""
    company = Company(service)
    credit = company.create()
    use = company.use(5)
    debit = done(service, DEBIT, use)
    key = as_key(key_for(schema, role))
    log = movements(schema, company.id)
    for document, asked in [
        (CREATE, company.creation("ADDON")), (CREATE, company.creation()), (UPDATE, {"id": credit, "credits": 20}),
        (UPDATE, {"id": UNKNOWN, "credits": 20}), (DELETE, {"id": credit}), (DEBIT, use), (DEBIT, company.use(0)),
        (REFUND, giving_back(debit)),
    ]:  # fmt: skip
        answer = service.graphql(document, key, input=asked)
        (error,) = answer.json()["errors"]
        assert (answer.status_code, error["extensions"]["code"]) == (403, "IdentityForbidden")
        assert answer.json()["data"] == {"answer": None}
    assert movements(schema, company.id) == log
    shown(service, credit)
    assert service.data(ONE, key, id=credit)["executionCredit"]["usedCredits"] == 5


def test_a_key_of_one_company_acts_for_it_alone(service: Service, schema: Database) -> None:
    """Of another company's credits and debits it is not told that they are there, not even as a replay."""
    ours, theirs = Company(service), Company(service)
    key = as_key(key_for(schema, "writer", ours.id))
    credit, their_credit = ours.create("ADDON"), theirs.create()
    debit, their_debit = ours.debit(5), theirs.debit(5)
    update(service, their_credit, credits=20, idempotencyKey="key")
    refund(service, their_debit, 1, idempotencyKey="key")
    log = movements(schema, theirs.id)
    for document, asked in ((CREATE, theirs.creation("ADDON")), (DEBIT, theirs.use(1))):
        assert service.refusal(document, key, input=asked)["code"] == "IdentityForbidden"
    hidden: list[tuple[str, dict[str, Any], str]] = [
        (UPDATE, {"id": their_credit, "credits": 20, "idempotencyKey": "key"}, f"no execution credit {their_credit}"),
        (UPDATE, {"id": their_credit, "rollupType": "ADDON"}, f"no execution credit {their_credit}"),
        (DELETE, {"id": their_credit}, f"no execution credit {their_credit}"),
        (REFUND, giving_back(their_debit, 1, idempotencyKey="key"), f"no debit {their_debit['transactionId']}"),
    ]
    for document, asked, says in hidden:
        assert refusal(service, document, asked, key) == says
    assert movements(schema, theirs.id) == log
    done(service, CREATE, ours.creation(), key)
    done(service, UPDATE, {"id": credit, "credits": 20}, key)
    done(service, DEBIT, ours.use(1), key)
    done(service, REFUND, giving_back(debit), key)
    done(service, DELETE, {"id": credit}, key)


def test_a_mutation_that_is_refused_hides_no_neighbour(service: Service) -> None:
    """Whether by a rule or because it cannot be carried out; each sees what those before it did."""
    company = Company(service)
    credit = company.create(credits=10)
    whose = f'companyId: "{company.id}", creditType: AI_PENTEST'
    document = f"""
    mutation {{
      taken: debitExecutionCredits(input: {{{whose}, credits: 6, idempotencyKey: "1"}}) {{ errors position }}
      short: debitExecutionCredits(input: {{{whose}, credits: 5, idempotencyKey: "2"}}) {{ errors position }}
      long: debitExecutionCredits(input: {{{whose}, credits: 1, idempotencyKey: ""}}) {{ errors position }}
      same: debitExecutionCredits(input: {{{whose}, credits: 6, idempotencyKey: "1"}}) {{ errors position }}
      low: updateExecutionCredit(input: {{id: "{credit}", credits: 5}}) {{ errors executionCredit {{ credits }} }}
      last: debitExecutionCredits(input: {{{whose}, credits: 4, idempotencyKey: "3"}}) {{ errors position }}
    }}
    """
    answer = service.graphql(document)
    body = answer.json()
    data, (error,) = body["data"], body["errors"]
    last = data["last"].pop("position")
    assert answer.headers["X-Ledger-Position"] == last
    assert data == {
        "taken": data["same"],
        "short": {"errors": ["Insufficient credits: 5 requested, 4 available for AI_PENTEST"], "position": None},
        "long": None,
        "same": {"errors": None, "position": str(int(last) - 1)},
        "low": {"errors": ["credits cannot be lowered to 5: 6 are used"], "executionCredit": None},
        "last": {"errors": None},
    }
    assert (error["path"], error["extensions"]["code"]) == (["long"], "InvalidArgumentError")
    assert used(service, credit) == [10]
