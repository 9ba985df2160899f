"""All mutations, put together."""

import strawberry

from service.graphql.consumption_mutations import ConsumptionMutations
from service.graphql.execution_credit_mutations import ExecutionCreditMutations
from service.graphql.grant_mutations import GrantMutations
from service.graphql.recharges import RechargeMutations
from service.graphql.schedules import ScheduleMutations


@strawberry.type
class Mutation(GrantMutations, ConsumptionMutations, ScheduleMutations, RechargeMutations, ExecutionCreditMutations):
    pass
