"""What a holder has: his pools as they are booked, and what of them is usable at the instant of the read."""

import re
from urllib.parse import unquote_to_bytes

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ledger.application.inputs import kind_of_credits
from ledger.domain.credits import credits_text
from ledger.domain.instants import instant_text
from ledger.domain.refusals import InvalidArgument
from ledger.domain.values import Kind, text_of
from projections.lots.pools import PoolFigures, pools_of_holder
from projections.read_model import LOTS
from projections.reading import Snapshot
from service.access import Right
from service.callers import at_least_of, authenticated
from service.frame import POSITION, STALE, json_answer, route
from service.parts import Parts
from service.reads import Reads
from service.settling import ask_settled

BEFORE_A_HOLDER = "/v1/balances/"
BALANCES = BEFORE_A_HOLDER + "{holder}"
PARAMETERS = ("kind", "currency", "resource")
POOLS_MAX = 1000


def balance_routes(parts: Parts) -> list[Route]:
    async def get_balances(request: Request) -> Response:
        """A holder's pools, with all that is due for him written first."""
        caller = await authenticated(request, parts)
        caller.require(Right.READ)
        kind, currency, resource = _wanted(request)
        if kind is Kind.EXECUTION_CREDIT:
            parts.execution_rate.let_in(caller.key_id)
        holder = _holder(request)
        caller.require_holder(holder)
        reads = Reads(parts.reader, parts.threads, at_least=at_least_of(request), models=(LOTS,))

        def question(snapshot: Snapshot) -> tuple[list[PoolFigures], Snapshot]:
            pools = pools_of_holder(snapshot, kind, holder, currency=currency, resource=resource, pools_max=POOLS_MAX)
            return pools, snapshot

        try:
            pools, seen = await ask_settled(parts.ledger, reads, question, kind=kind, holder=holder)
        finally:
            await reads.close()
        if len(pools) > POOLS_MAX:
            raise InvalidArgument("resource", f"or currency must be given: there are more than {POOLS_MAX} pools")
        body = {
            "holder": holder,
            "kind": kind,
            "at": instant_text(seen.now),
            "position": str(seen.position),
            "pools": [_pool(pool) for pool in pools],
        }
        headers = {POSITION: str(seen.position)} | ({STALE: "true"} if reads.stale else {})
        return json_answer(body, headers=headers)

    one = route("GET", BALANCES, get_balances)
    one.path_regex = re.compile(f"^{BEFORE_A_HOLDER}(?P<holder>(?s:.+))$")  # a holder may have a slash, encoded
    return [one]


def _wanted(request: Request) -> tuple[Kind, str | None, str | None]:
    """The kind, and the currency and the resource if they are named. Refuses: InvalidArgument."""
    asked = request.query_params
    for name in asked:
        if name not in PARAMETERS:
            raise InvalidArgument(name, f"is not a parameter; there are {', '.join(PARAMETERS)}")
        if len(asked.getlist(name)) > 1:
            raise InvalidArgument(name, "must be given once")
    currency, resource = asked.get("currency"), asked.get("resource")
    return (
        kind_of_credits(asked.get("kind", Kind.CREDIT_GRANT)),
        None if currency is None else text_of(currency, field="currency"),
        text_of(resource, field="resource") if resource else resource,
    )


def _holder(request: Request) -> str:
    """The holder in the path, as it was before it was encoded. Refuses: InvalidArgument."""
    path = unquote_to_bytes(request.scope["raw_path"])  # the framework's own has lost what is no UTF-8
    try:
        holder = path[path.index(BEFORE_A_HOLDER.encode()) + len(BEFORE_A_HOLDER) :].decode()
    except UnicodeDecodeError:
        raise InvalidArgument("holder", "must be UTF-8, encoded by percent signs") from None
    return text_of(holder, field="holder")


def _pool(pool: PoolFigures) -> dict[str, str | None]:
    return {
        "currency": pool.currency,
        "resource": pool.resource,
        "granted": credits_text(pool.granted),
        "used": credits_text(pool.used),
        "voided": credits_text(pool.voided),
        "expired": credits_text(pool.expired),
        "booked": credits_text(pool.booked),
        "available": credits_text(pool.available),
    }
