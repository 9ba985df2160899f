"""What operators are told of the projections, the same through every door."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ledger.domain.instants import instant_text
from projections.status import Overview, ProjectionStatus
from service.access import Right
from service.callers import authenticated
from service.frame import json_answer, route
from service.parts import Parts


def overview_data(seen: Overview) -> dict[str, Any]:
    """As JSON; seconds and rates are numbers, instants are text."""
    return {
        "head": seen.head,
        "followed": seen.followed,
        "projections": [_projection(each) for each in seen.projections],
        "skips": [
            {
                "name": each.name,
                "position": each.position,
                "reason": each.reason,
                "skippedAt": instant_text(each.skipped_at),
                "skippedBy": each.skipped_by,
            }
            for each in seen.skips
        ],
    }


def operation_routes(parts: Parts) -> list[Route]:
    async def get_projections(request: Request) -> Response:
        """How every projection is getting on, for keys that may operate."""
        (await authenticated(request, parts)).require(Right.OPERATE)

        return json_answer(overview_data(await parts.threads.read(parts.overview)))

    return [route("GET", "/ops/projections", get_projections)]


def _projection(status: ProjectionStatus) -> dict[str, Any]:
    error = None if status.error is None else {"message": status.error, "position": status.error_position}
    return {
        "name": status.name,
        "version": status.version,
        "state": status.state.value,
        "serving": status.serving,
        "position": status.position,
        "head": status.head,
        "lagEvents": status.lag_events,
        "lagSeconds": round(status.lag_seconds, 3),
        "eventsPerSecond": _rounded(status.events_per_second),
        "etaSeconds": _rounded(status.eta_seconds),
        "error": error,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
