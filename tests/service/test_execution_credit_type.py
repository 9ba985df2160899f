"""The served types of execution credits against their contract, asked by introspection.

The tables are written out from the contract, marks and all: a name that is missing, renamed or added, another type or
another nullability fails here. What the service knows of its root fields is in the tables of all queries and mutations.
"""

import pytest

from tests.service.serving import Service
from tests.service.test_graphql_grant_type import MUTATIONS, QUERIES, about, agreed, text_of, types_of

EXECUTION_CREDIT = """
    id: ID!
    company: Company!
    companyId: ID!
    creditType: ExecutionCreditTypeEnum!
    rollupType: ExecutionCreditRollupTypeEnum!
    credits: Int!
    usedCredits: Int!
    transactions: [ExecutionCreditTransaction!]!
    createdAt: ISO8601DateTime!
    updatedAt: ISO8601DateTime!
    deletedAt: ISO8601DateTime
"""
TRANSACTION = """
    id: ID!
    transactionId: ID!
    executionCredit: ExecutionCredit!
    executionCreditId: ID!
    transactionType: ExecutionCreditTransactionTypeEnum!
    credits: Int!
    projectId: ID
    createdAt: ISO8601DateTime!
    updatedAt: ISO8601DateTime!
"""
WITH_CREDIT = "clientMutationId: String executionCredit: ExecutionCredit errors: [String!]"
WITH_TRANSACTIONS = """
    clientMutationId: String
    transactionId: ID
    transactions: [ExecutionCreditTransaction!]
    errors: [String!]
    position: String
"""
OBJECTS = {
    "ExecutionCredit": EXECUTION_CREDIT,
    "Company": "id: ID! label: String!",
    "ExecutionCreditTransaction": TRANSACTION,
    "ExecutionCreditCollection": "collection: [ExecutionCredit!]! metadata: CollectionMetadata!",
    "CollectionMetadata": "currentPage: Int! limitValue: Int! totalCount: Int! totalPages: Int!",
    "CreateExecutionCreditPayload": WITH_CREDIT,
    "UpdateExecutionCreditPayload": WITH_CREDIT,
    "DeleteExecutionCreditPayload": "clientMutationId: String deletedId: ID errors: [String!]",
    "DebitExecutionCreditsPayload": WITH_TRANSACTIONS,
    "RefundExecutionCreditsPayload": WITH_TRANSACTIONS,
}
INPUTS = {
    "CreateExecutionCreditInput": """
        companyId: ID! companyLabel: String creditType: ExecutionCreditTypeEnum! credits: Int!
        rollupType: ExecutionCreditRollupTypeEnum! periodAnchor: ISO8601DateTime idempotencyKey: String
        clientMutationId: String
    """,
    "UpdateExecutionCreditInput": """
        id: ID! credits: Int rollupType: ExecutionCreditRollupTypeEnum idempotencyKey: String clientMutationId: String
    """,
    "DeleteExecutionCreditInput": "id: ID! idempotencyKey: String clientMutationId: String",
    "DebitExecutionCreditsInput": """
        companyId: ID! creditType: ExecutionCreditTypeEnum! credits: Int! projectId: ID accountGroupIds: [ID!]
        idempotencyKey: String! clientMutationId: String
    """,
    "RefundExecutionCreditsInput": """
        transactionId: ID! credits: Int idempotencyKey: String! clientMutationId: String
    """,
    "PaginationInput": "page: Int perPage: Int",
}
ENUMERATIONS = {
    "ExecutionCreditTypeEnum": "AI_PENTEST DAST",
    "ExecutionCreditRollupTypeEnum": "MONTHLY QUARTERLY SEMIANNUAL YEARLY ADDON",
    "ExecutionCreditTransactionTypeEnum": "DEBIT REFUND",
}
ARGUMENTS = {("ExecutionCredit", "transactions"): "page: Int limit: Int"}
"""All arguments below the root fields; each may be left out, so that who knows the contract alone asks as it says."""
ROOT_FIELDS = """
    executionCredit executionCredits createExecutionCredit updateExecutionCredit deleteExecutionCredit
    debitExecutionCredits refundExecutionCredits
"""


@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_has_exactly_the_fields_of_the_contract(service: Service, name: str) -> None:
    found = about(service, name)
    assert (found["kind"], types_of(found["fields"])) == ("OBJECT", agreed(OBJECTS[name]))


@pytest.mark.parametrize("name", OBJECTS)
def test_a_field_of_an_object_needs_no_argument(service: Service, name: str) -> None:
    for field in about(service, name)["fields"]:
        assert types_of(field["args"]) == agreed(ARGUMENTS.get((name, field["name"]), "")), field["name"]


@pytest.mark.parametrize("name", INPUTS)
def test_an_input_takes_exactly_what_the_contract_names(service: Service, name: str) -> None:
    found = about(service, name)
    assert (found["kind"], types_of(found["inputFields"])) == ("INPUT_OBJECT", agreed(INPUTS[name]))


@pytest.mark.parametrize("name", ENUMERATIONS)
def test_an_enumeration_has_exactly_the_values_of_the_contract(service: Service, name: str) -> None:
    found = about(service, name)
    values = [value["name"] for value in found["enumValues"]]
    assert (found["kind"], values) == ("ENUM", ENUMERATIONS[name].split())


def test_an_instant_is_a_scalar_of_the_contracts_name(service: Service) -> None:
    assert about(service, "ISO8601DateTime")["kind"] == "SCALAR"


def test_all_that_is_asked_of_execution_credits_begins_with_these_fields(service: Service) -> None:
    """The contract's two queries and five mutations, whose types the tables of all root fields tell."""
    served = [field["name"] for root in ("Query", "Mutation") for field in about(service, root)["fields"]]
    assert {name for name in served if "xecutionCredit" in name} == set(ROOT_FIELDS.split())
    assert set(ROOT_FIELDS.split()) <= QUERIES.keys() | MUTATIONS.keys()


@pytest.mark.parametrize("name", [name for name in MUTATIONS if "xecutionCredit" in name])
def test_a_mutation_is_named_like_its_input_and_its_payload_and_gives_the_clients_id_back(
    service: Service, name: str
) -> None:
    title = name[0].upper() + name[1:]
    field = next(field for field in about(service, "Mutation")["fields"] if field["name"] == name)
    assert (types_of(field["args"]), text_of(field["type"])) == ({"input": f"{title}Input!"}, f"{title}Payload")
    assert types_of(about(service, f"{title}Input")["inputFields"])["clientMutationId"] == "String"
    assert types_of(about(service, f"{title}Payload")["fields"])["clientMutationId"] == "String"
