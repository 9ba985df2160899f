"""The served schema against the contract, asked of it by introspection: names, types, what may be null, what must be.

The tables are written out from the contract: a field that is missing, renamed, added or of another type fails here.
"""

import re
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.service.serving import ANSWER_SECONDS_MAX, Service

TYPE = "fragment T on __Type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }"
ABOUT = (
    TYPE
    + """
query ($name: String!) {
  __type(name: $name) {
    kind
    fields { name type { ...T } args { name type { ...T } } }
    inputFields { name type { ...T } }
    enumValues { name }
  }
}
"""
)
NAMES = "{ __schema { queryType { name } mutationType { name } subscriptionType { name } types { name kind } } }"

CREDIT_GRANT = """
    id: UUID!
    grantId: String!
    displayName: String!
    grantType: CreditGrantType!
    status: CreditGrantStatus!
    amount: Float!              amountExact: Decimal!
    consumedAmount: Float!      consumedAmountExact: Decimal!
    remainingAmount: Decimal!
    cost: Money!
    customerId: String!
    resourceId: String
    currencyId: String!
    effectiveAt: DateTime!
    createdAt: DateTime!
    updatedAt: DateTime!
    expireAt: DateTime
    voidedAt: DateTime
    invoiceId: String
    latestInvoice: CreditGrantInvoice
    paymentCollection: PaymentCollection!
    priority: Float!            priorityExact: Decimal!
    automaticRechargeConfigurationId: UUID
    comment: String
    additionalMetaData: JSON
    rolledOverFrom: String
    rolledOverTo: String
"""
INVOICE = """
    billingId: String!
    status: CreditGrantInvoiceStatus!
    createdAt: DateTime!
    updatedAt: DateTime!
    dueDate: DateTime
    currency: String
    total: Float                totalExact: Decimal
    amountDue: Float            amountDueExact: Decimal
    requiresAction: Boolean!
    errorMessage: String
    paymentUrl: String
    pdfUrl: String
"""
LEDGER_ROW = """
    timestamp: String!
    eventType: CreditLedgerEventType!
    amount: Float!              amountExact: Decimal!
    signedAmount: Decimal!
    balanceAfter: Decimal!
    grantBalanceAfter: Decimal!
    customerId: String!
    resourceId: String
    creditGrantId: String!
    creditCurrencyId: String!
    eventId: String
    featureId: String
    grant: CreditGrant
    position: String!
    recordedAt: DateTime!
    actor: String!
    reason: String
    transactionId: ID!
"""
BALANCE = """
    currencyId: String!
    totalGranted: Float!        totalGrantedExact: Decimal!
    totalConsumed: Float!       totalConsumedExact: Decimal!
    currentBalance: Float!      currentBalanceExact: Decimal!
    validUntil: DateTime
"""
CONSUMPTION = """
    transactionId: ID!
    customerId: String!
    currencyId: String!
    resourceId: String
    amount: Float!              amountExact: Decimal!
    timestamp: DateTime!
    draws: [CreditDraw!]!
    credit: CreditUsageState
    position: String!
    replayed: Boolean!
"""
REFUND = """
    transactionId: ID!
    refundedTransactionId: ID!
    amount: Float!              amountExact: Decimal!
    timestamp: DateTime!
    draws: [CreditDraw!]!
    position: String!
    replayed: Boolean!
"""
OBJECTS = {
    "CreditGrant": CREDIT_GRANT,
    "Money": "amount: Float! amountExact: Decimal! currency: Currency!",
    "CreditGrantInvoice": INVOICE,
    "CreditLedgerEntry": LEDGER_ROW,
    "CreditBalance": BALANCE,
    "CreditBalanceSummary": "customerId: String! resourceId: String balances: [CreditBalance!]!",
    "CreditConsumptionResponse": CONSUMPTION,
    "CreditRefundResponse": REFUND,
    "CreditDraw": "creditGrantId: String! grantId: String! amount: Float! amountExact: Decimal!",
    "CreditConsumptionResult": "index: Int! response: CreditConsumptionResponse error: CreditConsumptionError",
    "CreditConsumptionError": "code: String! message: String!",
    "ConsumeCreditsAsyncResponse": "results: [CreditConsumptionResult!]! position: String",
    "CreditGrantConnection": "edges: [CreditGrantEdge!]! pageInfo: PageInfo! totalCount: Int!",
    "CreditGrantEdge": "cursor: String! node: CreditGrant!",
    "CreditLedgerConnection": "edges: [CreditLedgerEdge!]! pageInfo: PageInfo! totalCount: Int!",
    "CreditLedgerEdge": "cursor: String! node: CreditLedgerEntry!",
    "PageInfo": "startCursor: String endCursor: String hasNextPage: Boolean! hasPreviousPage: Boolean!",
}
INPUTS = {
    "CreditGrantInput": """
        customerId: String! currencyId: String! displayName: String! grantType: CreditGrantType!
        amount: Float amountExact: Decimal resourceId: String cost: MoneyInput
        paymentCollectionMethod: PaymentCollectionMethod awaitPaymentConfirmation: Boolean effectiveAt: DateTime
        expireAt: DateTime priority: Float priorityExact: Decimal comment: String additionalMetaData: JSON
        idempotencyKey: String
    """,
    "MoneyInput": "amount: Float amountExact: Decimal currency: Currency",
    "UpdateCreditGrantInput": """
        id: String! displayName: String effectiveAt: DateTime expireAt: DateTime priority: Float
        priorityExact: Decimal comment: String
        additionalMetaData: JSON idempotencyKey: String
    """,
    "VoidCreditGrantInput": "id: String! reason: String idempotencyKey: String",
    "MarkInvoiceAsPaidInput": "creditGrantId: String! idempotencyKey: String",
    "RecordGrantPaymentInput": """
        creditGrantId: String! paymentCollection: PaymentCollection! invoice: CreditGrantInvoiceInput
        idempotencyKey: String
    """,
    "CreditGrantInvoiceInput": """
        billingId: String! status: CreditGrantInvoiceStatus! createdAt: DateTime updatedAt: DateTime dueDate: DateTime
        currency: Currency total: Float totalExact: Decimal amountDue: Float amountDueExact: Decimal
        requiresAction: Boolean errorMessage: String paymentUrl: String pdfUrl: String
    """,
    "ConsumeCreditInput": """
        customerId: String! currencyId: String! amount: Float amountExact: Decimal idempotencyKey: String!
        resourceId: String createdAt: DateTime dimensions: JSON accountGroupIds: [String!]
    """,
    "ConsumeCreditsAsyncInput": "consumptions: [ConsumeCreditInput!]!",
    "RefundCreditsInput": """
        transactionId: String! amount: Float amountExact: Decimal idempotencyKey: String! reason: String
    """,
    "GetCreditGrantsInput": """
        customerId: String! currencyId: String resourceId: String status: CreditGrantStatus paging: Paging
        atLeast: String
    """,
    "CreditBalanceSummaryInput": "customerId: String! currencyId: String resourceId: String atLeast: String",
    "CreditLedgerInput": """
        customerId: String! currencyId: String resourceId: String eventType: [CreditLedgerEventType!] paging: Paging
        atLeast: String
    """,
    "Paging": "first: Int after: String last: Int before: String",
}
ENUMERATIONS = {
    "CreditGrantType": "PROMOTIONAL PAID ROLLOVER SUBSCRIPTION",
    "CreditGrantStatus": "VOIDED CONSUMED EXPIRED PENDING ACTIVE",
    "CreditGrantCadence": "BEGINNING_OF_BILLING_PERIOD MONTHLY",
    "PaymentCollection": "NOT_REQUIRED PROCESSING FAILED ACTION_REQUIRED",
    "PaymentCollectionMethod": "CHARGE INVOICE NONE",
    "CreditGrantInvoiceStatus": "OPEN PAID CANCELED",
    "CreditLedgerEventType": """
        CREDITS_GRANTED CREDITS_CONSUMED CREDITS_EXPIRED CREDITS_VOIDED CREDITS_UPDATED CREDITS_REFUNDED
        CREDITS_ROLLED_OVER
    """,
}
SCALARS = """
    Boolean Currency DateTime Decimal Float ID ISO8601DateTime Int JSON String UUID
"""
QUERIES = {
    "creditGrant": ("CreditGrant", {"id": "String!"}),
    "creditGrants": ("CreditGrantConnection", {"input": "GetCreditGrantsInput!"}),
    "creditBalanceSummary": ("CreditBalanceSummary", {"input": "CreditBalanceSummaryInput!"}),
    "creditsLedger": ("CreditLedgerConnection", {"input": "CreditLedgerInput!"}),
    "creditUsage": ("CreditUsage", {"input": "CreditUsageInput!"}),
    "grantSchedules": ("[GrantSchedule!]", {"customerId": "String!"}),
    "getAutoRechargeSettings": ("AutoRechargeSettings", {"input": "GetAutoRechargeSettingsInput!"}),
    "executionCredit": ("ExecutionCredit", {"id": "ID!"}),
    "executionCredits": (
        "ExecutionCreditCollection",
        {
            "companyId": "ID", "creditType": "ExecutionCreditTypeEnum", "rollupType": "ExecutionCreditRollupTypeEnum",
            "page": "Int", "limit": "Int", "pagination": "PaginationInput",
        },
    ),
}  # fmt: skip
MUTATIONS = {
    "createCreditGrant": ("CreditGrant", "CreditGrantInput!"),
    "updateCreditGrant": ("CreditGrant", "UpdateCreditGrantInput!"),
    "voidCreditGrant": ("CreditGrant", "VoidCreditGrantInput!"),
    "markInvoiceAsPaid": ("CreditGrant", "MarkInvoiceAsPaidInput!"),
    "recordGrantPayment": ("CreditGrant", "RecordGrantPaymentInput!"),
    "consumeCredits": ("CreditConsumptionResponse", "ConsumeCreditInput!"),
    "consumeCreditsAsync": ("ConsumeCreditsAsyncResponse", "ConsumeCreditsAsyncInput!"),
    "refundCredits": ("CreditRefundResponse", "RefundCreditsInput!"),
    "createGrantSchedule": ("GrantSchedule", "CreateGrantScheduleInput!"),
    "endGrantSchedule": ("GrantSchedule", "EndGrantScheduleInput!"),
    "saveAutoRechargeSettings": ("AutoRechargeSettings", "SaveAutoRechargeSettingsInput!"),
    "createExecutionCredit": ("CreateExecutionCreditPayload", "CreateExecutionCreditInput!"),
    "updateExecutionCredit": ("UpdateExecutionCreditPayload", "UpdateExecutionCreditInput!"),
    "deleteExecutionCredit": ("DeleteExecutionCreditPayload", "DeleteExecutionCreditInput!"),
    "debitExecutionCredits": ("DebitExecutionCreditsPayload", "DebitExecutionCreditsInput!"),
    "refundExecutionCredits": ("RefundExecutionCreditsPayload", "RefundExecutionCreditsInput!"),
}


def about(service: Service, name: str) -> Any:
    found = service.data(ABOUT, name=name)["__type"]
    assert found is not None, f"there is no type {name}"
    return found


def text_of(found: dict[str, Any]) -> str:
    """A type as the contract writes it."""
    match found["kind"]:
        case "NON_NULL":
            return text_of(found["ofType"]) + "!"
        case "LIST":
            return f"[{text_of(found['ofType'])}]"
        case _:
            name: str = found["name"]
            return name


def types_of(fields: list[Any]) -> dict[str, str]:
    return {field["name"]: text_of(field["type"]) for field in fields}


def agreed(table: str) -> dict[str, str]:
    """Names and types as they stand in a table."""
    return dict(re.findall(r"(\w+): (\S+)", table))


def names_of(service: Service, kind: str) -> Iterator[str]:
    """Our types of a kind, without those of introspection itself."""
    for found in service.data(NAMES)["__schema"]["types"]:
        if found["kind"] == kind and not found["name"].startswith("__"):
            yield found["name"]


@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_has_exactly_the_fields_of_the_contract(service: Service, name: str) -> None:
    found = about(service, name)
    assert (found["kind"], types_of(found["fields"])) == ("OBJECT", agreed(OBJECTS[name]))
    assert [field["name"] for field in found["fields"] if field["args"]] == []


@pytest.mark.parametrize("name", INPUTS)
def test_an_input_takes_exactly_what_the_contract_names(service: Service, name: str) -> None:
    found = about(service, name)
    assert (found["kind"], types_of(found["inputFields"])) == ("INPUT_OBJECT", agreed(INPUTS[name]))


@pytest.mark.parametrize("name", ENUMERATIONS)
def test_an_enumeration_has_exactly_the_values_of_the_contract(service: Service, name: str) -> None:
    found = about(service, name)
    values = [value["name"] for value in found["enumValues"]]
    assert (found["kind"], sorted(values)) == ("ENUM", sorted(ENUMERATIONS[name].split()))


def test_the_scalars_are_those_of_the_contract(service: Service) -> None:
    assert set(names_of(service, "SCALAR")) == set(SCALARS.split())


def test_every_number_that_is_answered_has_an_exact_twin_that_may_be_null_where_it_may(service: Service) -> None:
    floats = []
    for name in names_of(service, "OBJECT"):
        fields = types_of(about(service, name)["fields"])
        for field, kind in fields.items():
            assert "[Float" not in kind, f"{name}.{field} is a list, which has no twin"
            if kind.rstrip("!") == "Float":
                floats.append(f"{name}.{field}")
                assert fields.get(f"{field}Exact") == kind.replace("Float", "Decimal"), f"{name}.{field}"
    assert {"CreditGrant.amount", "CreditGrantInvoice.total", "CreditUsagePoint.amount"} <= set(floats)


def test_every_query_of_the_contract_is_there_and_none_besides(service: Service) -> None:
    fields = about(service, "Query")["fields"]
    assert {field["name"]: (text_of(field["type"]), types_of(field["args"])) for field in fields} == QUERIES


def test_every_mutation_of_the_contract_is_there_and_may_fail_alone(service: Service) -> None:
    """Each takes one input and may be null, so that one failure hides no neighbour's answer."""
    fields = about(service, "Mutation")["fields"]
    assert {field["name"]: (text_of(field["type"]), types_of(field["args"])) for field in fields} == {
        name: (answer, {"input": given}) for name, (answer, given) in MUTATIONS.items()
    }


def test_every_mutation_takes_an_idempotency_key(service: Service) -> None:
    """consumeCreditsAsync takes one for each of its consumptions."""
    for _, given in MUTATIONS.values():
        name = {"ConsumeCreditsAsyncInput!": "ConsumeCreditInput!"}.get(given, given).rstrip("!")
        assert "idempotencyKey" in types_of(about(service, name)["inputFields"]), name


def test_nothing_can_be_subscribed_to(service: Service) -> None:
    schema = service.data(NAMES)["__schema"]
    assert (schema["queryType"], schema["mutationType"], schema["subscriptionType"]) == (
        {"name": "Query"}, {"name": "Mutation"}, None,
    )  # fmt: skip
    assert service.refusal("subscription { creditsLedger { totalCount } }")["code"] == "InvalidArgumentError"


@pytest.mark.parametrize("protocol", [None, "graphql-ws", "graphql-transport-ws"])
@pytest.mark.parametrize("path", ["/graphql", "/graphql/", "/"])
def test_no_websocket_is_opened(service: Service, path: str, protocol: str | None) -> None:
    """An upgrade is refused, and the process answers on."""
    lines = [
        f"GET {path} HTTP/1.1", f"Host: {urlsplit(service.url).netloc}", f"X-API-KEY: {service.key}",
        "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]  # fmt: skip
    if protocol is not None:
        lines.append(f"Sec-WebSocket-Protocol: {protocol}")
    request = "\r\n".join([*lines, "", ""]).encode()
    where = urlsplit(service.url)
    assert where.hostname is not None
    with socket.create_connection((where.hostname, where.port or 80), timeout=ANSWER_SECONDS_MAX) as connection:
        connection.sendall(request)
        status_line = connection.makefile("rb").readline().split()
    assert status_line[0] == b"HTTP/1.1"
    assert 400 <= int(status_line[1]) < 500
    assert service.http.get("/livez").status_code == 200


def test_graphql_is_asked_by_post_alone(service: Service) -> None:
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        answer = service.http.request(method, "/graphql", params={"query": "{ __typename }"})
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
