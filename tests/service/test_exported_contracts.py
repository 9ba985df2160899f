"""The contracts in docs/contracts are what the code serves, and have the names that were agreed on."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from graphql import GraphQLEnumType, GraphQLObjectType
from graphql import build_schema as parse_schema

from service.audit.openapi import document as audit_document
from service.feed.openapi import document as feed_document
from service.graphql.schema import build_schema
from service.rest.openapi import document

CONTRACTS = Path(__file__).parent.parent.parent / "docs" / "contracts"
EXPORTED = CONTRACTS / "schema.graphql"
OPENAPI = {"openapi": document, "events-openapi": feed_document, "audit-openapi": audit_document}

CREDIT_GRANT = """
    id: UUID!                grantId: String!        displayName: String!          grantType: CreditGrantType!
    status: CreditGrantStatus!  amount: Float!       consumedAmount: Float!        cost: Money!
    customerId: String!      resourceId: String      currencyId: String!           effectiveAt: DateTime!
    createdAt: DateTime!     updatedAt: DateTime!    expireAt: DateTime            voidedAt: DateTime
    invoiceId: String        latestInvoice: CreditGrantInvoice                     paymentCollection: PaymentCollection!
    priority: Float!         automaticRechargeConfigurationId: UUID                comment: String
    additionalMetaData: JSON
    amountExact: Decimal!    consumedAmountExact: Decimal!  priorityExact: Decimal!  remainingAmount: Decimal!
    rolledOverFrom: String   rolledOverTo: String
"""
MONEY = "amount: Float! amountExact: Decimal! currency: Currency!"
INVOICE = """
    billingId: String! status: CreditGrantInvoiceStatus! createdAt: DateTime! updatedAt: DateTime! dueDate: DateTime
    currency: String total: Float amountDue: Float requiresAction: Boolean! errorMessage: String paymentUrl: String
    pdfUrl: String totalExact: Decimal amountDueExact: Decimal
"""
CONSUMPTION = """
    transactionId: ID! customerId: String! currencyId: String! resourceId: String amount: Float! amountExact: Decimal!
    timestamp: DateTime! draws: [CreditDraw!]! credit: CreditUsageState position: String! replayed: Boolean!
"""
REFUND = """
    transactionId: ID! refundedTransactionId: ID! amount: Float! amountExact: Decimal! timestamp: DateTime!
    draws: [CreditDraw!]! position: String! replayed: Boolean!
"""
ENTRY = """
    timestamp: String! eventType: CreditLedgerEventType! amount: Float! amountExact: Decimal! customerId: String!
    resourceId: String creditGrantId: String! creditCurrencyId: String! eventId: String featureId: String
    grant: CreditGrant signedAmount: Decimal! balanceAfter: Decimal! grantBalanceAfter: Decimal! position: String!
    recordedAt: DateTime! actor: String! reason: String transactionId: ID!
"""
BALANCE = """
    currencyId: String! totalGranted: Float! totalGrantedExact: Decimal! totalConsumed: Float!
    totalConsumedExact: Decimal! currentBalance: Float! currentBalanceExact: Decimal! validUntil: DateTime
"""


def agreed(text: str) -> dict[str, str]:
    """Field names and types as they stand in the contract."""
    return dict(re.findall(r"(\w+): (\S+)", text))


def test_the_committed_schema_is_the_one_that_is_served() -> None:
    assert EXPORTED.read_text() == build_schema().as_str() + "\n", "run scripts/contracts and look at the difference"


@pytest.mark.parametrize(("name", "code_has"), OPENAPI.items())
def test_the_committed_openapi_documents_are_what_the_code_has(name: str, code_has: Callable[[], object]) -> None:
    exported = (CONTRACTS / f"{name}.json").read_text()
    assert exported == json.dumps(code_has(), indent=2) + "\n", "run scripts/contracts and look at the difference"


RULE = """
    id customerId prismaId name targetType allocatedCredits alarmThreshold accountGroups usedCredits percentage
    currencyId
"""
TOLD = RULE.replace("usedCredits percentage", "")


@pytest.mark.parametrize(
    ("name", "fields", "required"),
    [
        ("NewRule", RULE, "name targetType allocatedCredits alarmThreshold accountGroups"),
        ("RuleChange", RULE, ""),
        ("Rule", TOLD, TOLD),
        ("RuleWithUsage", RULE, RULE),
        ("RuleList", "rules pageToken", "rules pageToken"),
        ("ListRequest", "timeRange ruleNames accountGroupIds thresholdFilter limit pageToken", ""),
        ("SummaryRequest", "timeRange", ""),
        ("Summary", "purchased usage", "purchased usage"),
        ("RuleNames", "names", "names"),
        ("Login", "username password", "username password"),
        ("Token", "token", "token"),
        ("Problem", "timestamp status error message path", "timestamp status error message path"),
    ],
)
def test_a_body_has_exactly_the_agreed_fields(name: str, fields: str, required: str) -> None:
    schema = json.loads((CONTRACTS / "openapi.json").read_text())["components"]["schemas"][name]
    assert schema["properties"].keys() == set(fields.split())
    assert set(schema.get("required", [])) == set(required.split())
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("CreditGrant", CREDIT_GRANT),
        ("Money", MONEY),
        ("CreditGrantInvoice", INVOICE),
        ("CreditConsumptionResponse", CONSUMPTION),
        ("CreditRefundResponse", REFUND),
        ("CreditDraw", "creditGrantId: String! grantId: String! amount: Float! amountExact: Decimal!"),
        ("CreditLedgerEntry", ENTRY),
        ("CreditBalance", BALANCE),
        ("CreditBalanceSummary", "customerId: String! resourceId: String balances: [CreditBalance!]!"),
        ("PageInfo", "startCursor: String endCursor: String hasNextPage: Boolean! hasPreviousPage: Boolean!"),
    ],
)
def test_a_type_has_exactly_the_agreed_fields(name: str, fields: str) -> None:
    served = parse_schema(EXPORTED.read_text()).type_map[name]
    assert isinstance(served, GraphQLObjectType)
    assert {field: str(about.type) for field, about in served.fields.items()} == agreed(fields)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("CreditGrantType", "PROMOTIONAL PAID ROLLOVER SUBSCRIPTION"),
        ("CreditGrantStatus", "VOIDED CONSUMED EXPIRED PENDING ACTIVE"),
        ("PaymentCollection", "NOT_REQUIRED PROCESSING FAILED ACTION_REQUIRED"),
        ("CreditGrantInvoiceStatus", "OPEN PAID CANCELED"),
        (
            "CreditLedgerEventType",
            "CREDITS_GRANTED CREDITS_CONSUMED CREDITS_EXPIRED CREDITS_VOIDED CREDITS_UPDATED CREDITS_REFUNDED "
            "CREDITS_ROLLED_OVER",
        ),
    ],
)
def test_an_enumeration_has_exactly_the_agreed_values(name: str, values: str) -> None:
    served = parse_schema(EXPORTED.read_text()).type_map[name]
    assert isinstance(served, GraphQLEnumType)
    assert set(served.values) == set(values.split())


def test_every_field_of_mutations_and_queries_is_nullable() -> None:
    """One failure never hides a neighbour's answer."""
    schema = parse_schema(EXPORTED.read_text())
    assert schema.query_type is not None
    assert schema.mutation_type is not None
    fields = {**schema.query_type.fields, **schema.mutation_type.fields}
    assert [name for name, field in fields.items() if str(field.type).endswith("!")] == []
