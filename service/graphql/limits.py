"""What a GraphQL document may ask for at most: so deep, so many fields, and no page of pages without an end."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, TypeAlias

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
)
from strawberry.extensions import SchemaExtension

from ledger.domain.refusals import InvalidArgument, Refusal
from service.graphql.execution_credits import PAGE_DEFAULT as NUMBERED_PAGE_DEFAULT
from service.graphql.execution_credits import PAGE_MAX as NUMBERED_PAGE_MAX
from service.graphql.paging import PAGE_DEFAULT, PAGE_MAX

DEPTH_MAX = 16
COST_MAX = 30_000
"""A field costs 1, a write 50, and what stands below a page or a list of writes as often as that is long."""
WRITE_COST = 50
TOKENS_MAX = 4_000
INTROSPECTION = frozenset({"__schema", "__type"})
INTROSPECTION_COST_MAX = 100_000
"""The usual query of tools costs two thirds of this. Its depth is bounded by GraphQL's own rule."""
LISTS = {"creditUsage": 1, "series": 50, "points": 32, "grantSchedules": PAGE_MAX, "transactions": 10}
"""About how many items fields have that have no pages."""
COSTS = {"executionCredits": 500}
"""Fields that cost more than 1 for themselves: a count of all there are."""
EXECUTION_FIELDS = frozenset(
    {
        *("executionCredit", "executionCredits", "createExecutionCredit", "updateExecutionCredit"),
        *("deleteExecutionCredit", "debitExecutionCredits", "refundExecutionCredits"),
    }
)
"""The root fields that count as a request about execution credits."""
Fragments: TypeAlias = Mapping[str, SelectionSetNode]
INTROSPECTED_LISTS = {
    "types": 40,
    "fields": 5,
    "inputFields": 2,
    "enumValues": 3,
    "args": 1,
    "directives": 7,
    "possibleTypes": 1,
}
"""About how many items each list of an introspection has."""
DIGITS_MAX = 9


class Limits(SchemaExtension):
    """Refuses, before anything of it is carried out, a document that its key sends too often (RateLimitExceeded) or
    that is too deep or too costly (InvalidArgument)."""

    def on_execute(self) -> Iterator[None]:
        context, request = self.execution_context, self.execution_context.context
        assert context.graphql_document is not None
        try:
            # Not the execution context's operation_name: where none was given, that is the first operation's.
            operation = meant(context.graphql_document, request.operation_name)
            fragments = fragments_of(context.graphql_document)
            if operation is not None:
                if EXECUTION_FIELDS.intersection(root_fields(operation.selection_set, fragments)):
                    request.execution_rate.let_in(request.caller.key_id)
                check(operation, fragments, context.variables or {})
        except Refusal as refusal:
            raise GraphQLError(refusal.message, original_error=refusal) from None
        yield


def meant(document: DocumentNode, operation_name: str | None) -> OperationDefinitionNode | None:
    """The operation of a document that is to be carried out; None where none has that name.

    Refuses: InvalidArgument, where several could be meant.
    """
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    if operation_name is not None:
        operations = [node for node in operations if node.name is not None and node.name.value == operation_name]
    if len(operations) > 1:
        raise InvalidArgument("operationName", "must say which of the document's operations is meant")
    return operations[0] if operations else None


def fragments_of(document: DocumentNode) -> Fragments:
    """The selections of a document's fragments by name. The document is valid, so they make no circle."""
    return {
        node.name.value: node.selection_set for node in document.definitions if isinstance(node, FragmentDefinitionNode)
    }


def root_fields(selections: SelectionSetNode, fragments: Fragments) -> Iterator[str]:
    """The names of the fields that an operation begins with, whatever fragments they are in, and skipped ones too."""
    wanted, spread = [selections], set()
    for each in wanted:
        for node in each.selections:
            match node:
                case FieldNode():
                    yield node.name.value
                case FragmentSpreadNode() if node.name.value not in spread:
                    spread.add(node.name.value)
                    wanted.append(fragments[node.name.value])
                case InlineFragmentNode():
                    wanted.append(node.selection_set)


def check(operation: OperationDefinitionNode, fragments: Fragments, variables: Mapping[str, Any]) -> None:
    """Refuses: InvalidArgument."""
    defaults = {node.variable.name.value: node.default_value for node in operation.variable_definitions or ()}
    budget = Budget(fragments, {**defaults, **variables})
    budget.spend(operation.selection_set, 1, 1)
    if operation.operation.value == "mutation":
        budget.pay(WRITE_COST * len(operation.selection_set.selections))


class Budget:
    """What one operation has cost so far; it stops counting as soon as it is too much."""

    cost_max = COST_MAX

    def __init__(self, fragments: Fragments, variables: Mapping[str, Any]) -> None:
        self._fragments = fragments
        self._variables = variables
        self._cost = 0

    @cached_property
    def introspection(self) -> "Budget":
        """Counted apart: for the whole operation, however often it begins anew."""
        return IntrospectionBudget(self._fragments, self._variables)

    def pay(self, cost: int) -> None:
        self._cost += cost
        if self._cost > self.cost_max:
            raise InvalidArgument("query", f"must cost at most {self.cost_max}: ask for fewer fields or smaller pages")

    def spend(self, selections: SelectionSetNode, depth: int, times: int) -> None:
        if depth > DEPTH_MAX:
            raise InvalidArgument("query", f"must be at most {DEPTH_MAX} fields deep")
        for node in selections.selections:
            match node:
                case FieldNode() if node.name.value in INTROSPECTION and node.selection_set is not None:
                    self.introspection.spend(node.selection_set, 1, 1)
                case FieldNode():
                    self.pay(times * COSTS.get(node.name.value, 1))
                    if node.selection_set is not None:
                        self.spend(node.selection_set, depth + 1, times * self.items_of(node))
                case FragmentSpreadNode():
                    self.pay(1)  # a fragment may be empty of fields and spread over and over
                    self.spend(self._fragments[node.name.value], depth, times)
                case InlineFragmentNode():
                    self.pay(1)
                    self.spend(node.selection_set, depth, times)

    def items_of(self, node: FieldNode) -> int:
        """How many items a field asks for; 1 for what is no list."""
        if node.name.value in LISTS:
            return LISTS[node.name.value]
        if node.name.value == "executionCredits":
            return self._numbered_page(node)
        for argument in node.arguments or ():
            if argument.name.value == "input":
                writes = self._value(argument.value, "consumptions")
                if writes is not None:
                    return self._length(writes)
                paging = self._value(argument.value, "paging")
                asked = [self._value(paging, name) for name in ("first", "last")]
                sizes = [int(size) for size in asked if isinstance(size, int | float) and 0 <= size <= PAGE_MAX]
                return min(max(sizes, default=PAGE_DEFAULT), PAGE_MAX)
        return 1

    def _numbered_page(self, node: FieldNode) -> int:
        """How many items a page asks for that is given by its number, in either style."""
        given = {argument.name.value: self._given(argument.value) for argument in node.arguments or ()}
        asked = [given.get("limit"), self._value(given.get("pagination"), "perPage")]
        sizes = [int(size) for size in asked if isinstance(size, int | float) and 0 < size <= NUMBERED_PAGE_MAX]
        return max(sizes, default=NUMBERED_PAGE_DEFAULT)

    def _length(self, value: Any) -> int:
        """How long a list of an input is; GraphQL takes a single item for a list of one."""
        if isinstance(value, ListValueNode):
            return len(value.values)
        return len(value) if isinstance(value, list) else 1

    def _value(self, value: Any, name: str) -> Any:
        """A field of an input: written out in the document, or given in a variable or as its default."""
        value = self._given(value)
        if isinstance(value, ObjectValueNode):
            found = next((field for field in value.fields if field.name.value == name), None)
            return None if found is None else self._given(found.value)
        return value.get(name) if isinstance(value, Mapping) else None

    def _given(self, value: Any) -> Any:
        if isinstance(value, VariableNode):
            value = self._variables.get(value.name.value)
        if isinstance(value, IntValueNode):
            return int(value.value) if len(value.value) <= DIGITS_MAX else PAGE_MAX
        return value


class IntrospectionBudget(Budget):
    """The same for what stands below __schema and __type, whose lists have no pages."""

    cost_max = INTROSPECTION_COST_MAX

    def items_of(self, node: FieldNode) -> int:
        return INTROSPECTED_LISTS.get(node.name.value, 1)
