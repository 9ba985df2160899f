"""The schema: what the document docs/contracts/schema.graphql shows, and what every request runs on."""

import strawberry
from graphql import GraphQLError
from strawberry.extensions import MaxTokensLimiter, ParserCache, ValidationCache
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from service.graphql.limits import TOKENS_MAX, Limits
from service.graphql.mutations import Mutation
from service.graphql.queries import Query
from service.graphql.scalars import SCALARS

CACHED_DOCUMENTS_MAX = 500


class LedgerSchema(strawberry.Schema):
    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Nothing here: the door tells refusals to the caller and faults to the log."""


def build_schema() -> LedgerSchema:
    return LedgerSchema(
        query=Query,
        mutation=Mutation,
        config=StrawberryConfig(scalar_map=SCALARS),
        extensions=[
            lambda: MaxTokensLimiter(max_token_count=TOKENS_MAX),
            lambda: ParserCache(maxsize=CACHED_DOCUMENTS_MAX),
            lambda: ValidationCache(maxsize=CACHED_DOCUMENTS_MAX),
            Limits,
        ],
    )
