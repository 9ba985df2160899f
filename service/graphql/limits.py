"""What a GraphQL document may ask for at most: so deep, so many fields, and no page of pages without an end."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

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

from ledger.domain.refusals import InvalidArgument
from service.graphql.paging import PAGE_DEFAULT, PAGE_MAX

DEPTH_MAX = 16
COST_MAX = 30_000
"""A field costs 1, a write 50, and what stands below a page or a list of writes as often as that is long."""
WRITE_COST = 50
TOKENS_MAX = 4_000
INTROSPECTION = frozenset({"__schema", "__type"})
INTROSPECTION_COST_MAX = 100_000
"""The usual query of tools costs two thirds of this. Its depth is bounded by GraphQL's own rule."""
LISTS = {"creditUsage": 1, "series": 50, "points": 32, "grantSchedules": PAGE_MAX}
"""About how many items fields have that have no pages."""
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
    """Refuses (InvalidArgument) a document that is too deep or too costly, before anything of it is carried out."""

    def on_execute(self) -> Iterator[None]:
        context = self.execution_context
        assert context.graphql_document is not None
        try:
            # Not the execution context's operation_name: where none was given, that is the first operation's.
            check(context.graphql_document, context.context.operation_name, context.variables or {})
        except InvalidArgument as refusal:
            raise GraphQLError(refusal.message, original_error=refusal) from None
        yield


def check(document: DocumentNode, operation_name: str | None, variables: Mapping[str, Any]) -> None:
    """Refuses: InvalidArgument. The document is valid, so its fragments make no circle."""
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    if operation_name is None and len(operations) > 1:
        raise InvalidArgument("operationName", "must say which of the document's operations is meant")
    fragments = {
        node.name.value: node.selection_set for node in document.definitions if isinstance(node, FragmentDefinitionNode)
    }
    for operation in operations:
        if operation_name is None or (operation.name is not None and operation.name.value == operation_name):
            defaults = {node.variable.name.value: node.default_value for node in operation.variable_definitions or ()}
            budget = Budget(fragments, {**defaults, **variables})
            budget.spend(operation.selection_set, 1, 1)
            if operation.operation.value == "mutation":
                budget.pay(WRITE_COST * len(operation.selection_set.selections))


class Budget:
    """What one operation has cost so far; it stops counting as soon as it is too much."""

    cost_max = COST_MAX

    def __init__(self, fragments: Mapping[str, SelectionSetNode], variables: Mapping[str, Any]) -> None:
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
                    self.pay(times)
                    if node.selection_set is not None:
                        self.spend(node.selection_set, depth + 1, times * self.items_of(node))
                case FragmentSpreadNode():
                    self.pay(1)  # a fragment may be empty of fields and spread over and over
                    self.spend(self._fragments[node.name.value], depth, times)
                case InlineFragmentNode():
                    self.spend(node.selection_set, depth, times)

    def items_of(self, node: FieldNode) -> int:
        """How many items a field asks for; 1 for what is no list."""
        if node.name.value in LISTS:
            return LISTS[node.name.value]
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
