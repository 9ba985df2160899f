"""Who may do what at the GraphQL door: every operation of the schema, every role, and keys for some customers alone.

The operations are taken from the schema itself: a new one without a row here is an error.
"""

import secrets
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from ledger.store.database import Database
from tests.service.serving import Service
from tests.service.test_api_keys import as_key, key_for

ROOTS = "{ __schema { mutationType { fields { name } } queryType { fields { name } } } }"
UNKNOWN = "00000000-0000-4000-8000-000000000000"
ISSUE = "mutation ($input: CreditGrantInput!) { createCreditGrant(input: $input) { id } }"
OPEN = (
    "mutation ($input: CreateExecutionCreditInput!) { createExecutionCredit(input: $input) { executionCredit { id } } }"
)


class World(NamedTuple):
    """A customer, and what he has that operations name."""

    customer: str
    grant: str
    to_void: str
    unpaid: str
    to_be_paid: str
    debit: str
    schedule: str
    ended_schedule: str
    credit: str
    to_delete: str
    credit_debit: str


class Operation(NamedTuple):
    """What an operation is asked, answers, and says of another holder's things."""

    document: str
    variables: Callable[[World], dict[str, Any]]
    strangers: str
    """What a key hears that is for others alone."""


def mutation(
    name: str, of: str, answer: str, variables: Callable[[World], dict[str, Any]], strangers: str
) -> Operation:
    document = f"mutation ($input: {of}!) {{ {name}(input: $input) {{ {answer} }} }}"

    def keyed(world: World) -> dict[str, Any]:
        return {"input": variables(world)}

    return Operation(document, keyed, strangers)


def query(name: str, of: str, answer: str, **more: Any) -> Operation:
    document = f"query ($input: {of}!) {{ {name}(input: $input) {{ {answer} }} }}"
    return Operation(document, lambda it: {"input": {"customerId": it.customer} | more}, "IdentityForbidden")


def fields_of(world: World, **more: Any) -> dict[str, Any]:
    return {"customerId": world.customer, "currencyId": "credits", "idempotencyKey": secrets.token_hex(6)} | more


def allotment_of(world: World, **more: Any) -> dict[str, Any]:
    return {"companyId": world.customer, "creditType": "AI_PENTEST"} | more


FORBIDDEN, NO_GRANT, NO_CREDIT = "IdentityForbidden", "CreditGrantNotFound", "no execution credit"
MUTATIONS = {
    "createCreditGrant": mutation(
        "createCreditGrant", "CreditGrantInput", "id customerId",
        lambda it: fields_of(it, displayName="g", grantType="PAID", amount=1), FORBIDDEN,
    ),
    "updateCreditGrant": mutation(
        "updateCreditGrant", "UpdateCreditGrantInput", "id customerId",
        lambda it: {"id": it.grant, "displayName": secrets.token_hex(6)}, NO_GRANT,
    ),
    "voidCreditGrant": mutation(
        "voidCreditGrant", "VoidCreditGrantInput", "id customerId",
        lambda it: {"id": it.to_void, "reason": "r", "idempotencyKey": "void"}, NO_GRANT,
    ),
    "markInvoiceAsPaid": mutation(
        "markInvoiceAsPaid", "MarkInvoiceAsPaidInput", "id customerId",
        lambda it: {"creditGrantId": it.to_be_paid, "idempotencyKey": "paid"}, NO_GRANT,
    ),
    "recordGrantPayment": mutation(
        "recordGrantPayment", "RecordGrantPaymentInput", "id customerId",
        lambda it: {"creditGrantId": it.unpaid, "paymentCollection": "FAILED", "idempotencyKey": secrets.token_hex(6)},
        NO_GRANT,
    ),
    "consumeCredits": mutation(
        "consumeCredits", "ConsumeCreditInput", "transactionId customerId",
        lambda it: fields_of(it, amount=1), FORBIDDEN,
    ),
    "consumeCreditsAsync": mutation(
        "consumeCreditsAsync", "ConsumeCreditsAsyncInput", "results { response { customerId } error { code message } }",
        lambda it: {"consumptions": [fields_of(it, amount=1)]}, FORBIDDEN,
    ),
    "refundCredits": mutation(
        "refundCredits", "RefundCreditsInput", "transactionId",
        lambda it: {"transactionId": it.debit, "amount": 1, "idempotencyKey": secrets.token_hex(6)},
        "TransactionNotFound",
    ),
    "createGrantSchedule": mutation(
        "createGrantSchedule", "CreateGrantScheduleInput", "id customerId",
        lambda it: fields_of(
            it, displayName="s", amountPerPeriod=1, billingPeriod="YEAR", cadence="BEGINNING_OF_BILLING_PERIOD"
        ),
        FORBIDDEN,
    ),
    "endGrantSchedule": mutation(
        "endGrantSchedule", "EndGrantScheduleInput", "id customerId",
        lambda it: {"id": it.ended_schedule, "idempotencyKey": "end"}, "GrantScheduleNotFound",
    ),
    "saveAutoRechargeSettings": mutation(
        "saveAutoRechargeSettings", "SaveAutoRechargeSettingsInput", "id customerId",
        lambda it: fields_of(it, isEnabled=False), FORBIDDEN,
    ),
    "createExecutionCredit": mutation(
        "createExecutionCredit", "CreateExecutionCreditInput", "executionCredit { companyId } errors",
        lambda it: {
            "companyId": it.customer, "creditType": "DAST", "rollupType": "YEARLY", "credits": 1,
            "idempotencyKey": "create",
        },
        FORBIDDEN,
    ),
    "updateExecutionCredit": mutation(
        "updateExecutionCredit", "UpdateExecutionCreditInput", "executionCredit { companyId } errors",
        lambda it: {"id": it.credit, "credits": 1000 + secrets.randbelow(1000)}, NO_CREDIT,
    ),
    "deleteExecutionCredit": mutation(
        "deleteExecutionCredit", "DeleteExecutionCreditInput", "deletedId errors",
        lambda it: {"id": it.to_delete, "idempotencyKey": "delete"}, NO_CREDIT,
    ),
    "debitExecutionCredits": mutation(
        "debitExecutionCredits", "DebitExecutionCreditsInput", "transactionId errors",
        lambda it: allotment_of(it, credits=1, idempotencyKey=secrets.token_hex(6)), FORBIDDEN,
    ),
    "refundExecutionCredits": mutation(
        "refundExecutionCredits", "RefundExecutionCreditsInput", "transactionId errors",
        lambda it: {"transactionId": it.credit_debit, "credits": 1, "idempotencyKey": secrets.token_hex(6)},
        "no debit",
    ),
}  # fmt: skip
QUERIES = {
    "creditGrant": Operation(
        "query ($id: String!) { creditGrant(id: $id) { customerId } }", lambda it: {"id": it.grant}, NO_GRANT
    ),
    "creditGrants": query(
        "creditGrants", "GetCreditGrantsInput", "totalCount edges { node { customerId displayName } }"
    ),
    "creditBalanceSummary": query(
        "creditBalanceSummary", "CreditBalanceSummaryInput", "customerId balances { currentBalance }"
    ),
    "creditsLedger": query(
        "creditsLedger", "CreditLedgerInput", "totalCount edges { node { customerId grant { customerId } } }"
    ),
    "creditUsage": query("creditUsage", "CreditUsageInput", "customerId series { totalCredits }"),
    "grantSchedules": Operation(
        "query ($customer: String!) { grantSchedules(customerId: $customer) { id customerId } }",
        lambda it: {"customer": it.customer},
        FORBIDDEN,
    ),
    "getAutoRechargeSettings": query(
        "getAutoRechargeSettings", "GetAutoRechargeSettingsInput", "customerId", currencyId="credits"
    ),
    "executionCredit": Operation(
        "query ($id: ID!) { executionCredit(id: $id) { companyId transactions { id } } }",
        lambda it: {"id": it.credit},
        "null",
    ),
    "executionCredits": Operation(
        "query ($company: ID!) { executionCredits(companyId: $company) { collection { companyId } } }",
        lambda it: {"company": it.customer},
        FORBIDDEN,
    ),
}
OPERATIONS = MUTATIONS | QUERIES


def grant_of(service: Service, customer: str, **given: Any) -> str:
    fields = {"customerId": customer, "currencyId": "credits", "displayName": "g", "grantType": "PAID", "amount": 10}
    made: str = service.data(ISSUE, input=fields | given)["createCreditGrant"]["id"]
    return made


def credit_of(service: Service, company: str, rollup_type: str) -> str:
    given = {"companyId": company, "creditType": "AI_PENTEST", "rollupType": rollup_type, "credits": 1000}
    made: str = service.data(OPEN, input=given)["createExecutionCredit"]["executionCredit"]["id"]
    return made


def world_of(service: Service, customer: str) -> World:
    unpaid = {"cost": {"amount": 1}, "paymentCollectionMethod": "INVOICE"}
    world = World(
        customer=customer,
        grant=grant_of(service, customer, amount=1000),
        to_void=grant_of(service, customer),
        unpaid=grant_of(service, customer, **unpaid),
        to_be_paid=grant_of(service, customer, **unpaid),
        debit="",
        schedule="",
        ended_schedule="",
        credit=credit_of(service, customer, "MONTHLY"),
        to_delete=credit_of(service, customer, "ADDON"),
        credit_debit="",
    )
    world = world._replace(
        debit=ask(service, "consumeCredits", world._replace(customer=customer), amount=100)["transactionId"],
        schedule=ask(service, "createGrantSchedule", world)["id"],
        ended_schedule=ask(service, "createGrantSchedule", world)["id"],
        credit_debit=ask(service, "debitExecutionCredits", world, credits=100)["transactionId"],
    )
    invoice = {"billingId": "in-1", "status": "OPEN"}
    ask(
        service,
        "recordGrantPayment",
        world,
        creditGrantId=world.to_be_paid,
        paymentCollection="PROCESSING",
        invoice=invoice,
    )
    ask(service, "saveAutoRechargeSettings", world)
    return world


def ask(service: Service, name: str, world: World, **more: Any) -> Any:
    operation = MUTATIONS[name]
    return service.data(operation.document, input=operation.variables(world)["input"] | more)[name]


@pytest.fixture(scope="module")
def keys(schema: Database) -> dict[str, str]:
    return {role: key_for(schema, role) for role in ("admin", "writer", "reader", "auditor")}


@pytest.fixture
def world(service: Service, customer: str) -> World:
    return world_of(service, customer)


def head(service: Service) -> str:
    found: str = service.http.get("/readyz").json()["head"]
    return found


def outcome(service: Service, operation: Operation, world: World, headers: dict[str, str]) -> tuple[int, str | None]:
    """The status of an answer, and the code of its error; that of a list's one item counts as one.

    An error that the payload tells has no code: it counts by its words, without the id that it names last.
    """
    answer = service.graphql(operation.document, headers, **operation.variables(world))
    body = answer.json()
    if "errors" not in body:
        (data,) = body["data"].values()
        if data is None:
            return answer.status_code, "null"
        results = data.get("results", []) if isinstance(data, dict) else []
        errors = [result["error"]["code"] for result in results if result["error"]]
        if isinstance(data, dict):
            errors += [message.rpartition(" ")[0] for message in data.get("errors") or []]
        return answer.status_code, errors[0] if errors else None
    (error,) = body["errors"]
    assert set(body["data"].values()) == {None}
    return answer.status_code, error["extensions"]["code"]


def test_every_operation_of_the_schema_has_its_row(service: Service) -> None:
    found = service.data(ROOTS)["__schema"]
    assert {field["name"] for field in found["mutationType"]["fields"]} == set(MUTATIONS)
    assert {field["name"] for field in found["queryType"]["fields"]} == set(QUERIES)


@pytest.mark.parametrize("name", MUTATIONS)
def test_admins_and_writers_write_and_readers_and_auditors_never_do(
    service: Service, keys: dict[str, str], world: World, name: str
) -> None:
    for role in ("reader", "auditor"):
        before = head(service)
        assert outcome(service, MUTATIONS[name], world, as_key(keys[role])) == (403, "IdentityForbidden")
        assert head(service) == before
    for role in ("writer", "admin"):
        assert outcome(service, MUTATIONS[name], world, as_key(keys[role])) == (200, None)
    assert int(head(service)) > int(before)


@pytest.mark.parametrize("name", QUERIES)
def test_every_role_reads(service: Service, keys: dict[str, str], world: World, name: str) -> None:
    for role, key in keys.items():
        assert outcome(service, QUERIES[name], world, as_key(key)) == (200, None), role


@pytest.mark.parametrize("role", ["reader", "auditor"])
def test_a_document_of_many_writes_has_none_for_who_may_not_write(
    service: Service, keys: dict[str, str], world: World, role: str
) -> None:
    use = f'{{customerId: "{world.customer}", currencyId: "credits", amount: 1, idempotencyKey: "k"}}'
    document = (
        f"mutation {{ a: consumeCredits(input: {use}) {{ amount }} b: consumeCredits(input: {use}) {{ amount }} }}"
    )
    before = head(service)
    answer = service.graphql(document, as_key(keys[role]))
    assert answer.status_code == 403
    assert [error["extensions"]["code"] for error in answer.json()["errors"]] == ["IdentityForbidden"] * 2
    assert head(service) == before


class Neighbours(NamedTuple):
    """Two customers, and keys by role that are for the first alone."""

    mine: World
    theirs: World
    keys: dict[str, str]


@pytest.fixture(scope="module")
def neighbours(service: Service, schema: Database) -> Neighbours:
    mine, theirs = (world_of(service, f"{name}-{secrets.token_hex(4)}") for name in ("mine", "theirs"))
    keys = {role: key_for(schema, role, mine.customer, "another") for role in ("writer", "reader", "auditor")}
    return Neighbours(mine, theirs, keys)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_key_for_some_customers_does_for_them_what_its_role_may(
    service: Service, neighbours: Neighbours, name: str
) -> None:
    for role, key in neighbours.keys.items():
        expected = (403, "IdentityForbidden") if name in MUTATIONS and role != "writer" else (200, None)
        assert outcome(service, OPERATIONS[name], neighbours.mine, as_key(key)) == expected, role


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_is_anothers_is_forbidden_or_not_there_and_nothing_is_written(
    service: Service, neighbours: Neighbours, name: str
) -> None:
    """A stranger hears of it what he would hear of what there is not."""
    operation, headers = OPERATIONS[name], as_key(neighbours.keys["writer"])
    nothing = World("nobody", *[UNKNOWN] * (len(World._fields) - 1))
    before = head(service)
    heard = [outcome(service, operation, world, headers) for world in (neighbours.theirs, nothing)]
    status = 403 if operation.strangers == "IdentityForbidden" and name != "consumeCreditsAsync" else 200
    assert heard == [(status, operation.strangers)] * 2
    assert head(service) == before
    assert outcome(service, operation, neighbours.theirs, {}) == (200, None), "it is there for who may"
    assert outcome(service, operation, neighbours.theirs, headers) == heard[0], "no replay of his answer either"


@pytest.mark.parametrize("name", [*QUERIES])
def test_readers_with_keys_for_others_see_nothing_of_a_customer(
    service: Service, neighbours: Neighbours, name: str
) -> None:
    for role in ("reader", "auditor"):
        headers = as_key(neighbours.keys[role])
        answer = service.graphql(QUERIES[name].document, headers, **QUERIES[name].variables(neighbours.theirs))
        assert answer.json()["data"] == {name: None}, role
        assert outcome(service, QUERIES[name], neighbours.theirs, headers)[1] == QUERIES[name].strangers, role


@pytest.mark.parametrize(
    "document",
    [
        "creditGrants(input: {customerId: $customer}) { totalCount edges { node { id customerId } } }",
        "creditsLedger(input: {customerId: $customer}) { totalCount edges { node { customerId } } }",
        "grantSchedules(customerId: $customer) { id customerId }",
        'getAutoRechargeSettings(input: {customerId: $customer, currencyId: "credits"}) { id customerId }',
        "creditBalanceSummary(input: {customerId: $customer}) { customerId balances { currentBalanceExact } }",
        "creditUsage(input: {customerId: $customer}) { customerId series { totalCreditsExact } }",
    ],
)
def test_what_a_key_for_some_sees_of_them_is_what_an_admin_sees(
    service: Service, neighbours: Neighbours, document: str
) -> None:
    """Whole, with its totals, and nothing of a neighbour in the same currency."""
    asked = f"query ($customer: String!) {{ {document} }}"
    seen = service.data(asked, as_key(neighbours.keys["reader"]), customer=neighbours.mine.customer)
    assert seen == service.data(asked, customer=neighbours.mine.customer)
    assert set(values_of(seen, "customerId")) == {neighbours.mine.customer}


def values_of(data: Any, name: str) -> Iterator[Any]:
    """Every value of a field, wherever it stands."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from [value] if key == name else values_of(value, name)
    elif isinstance(data, list):
        for item in data:
            yield from values_of(item, name)
