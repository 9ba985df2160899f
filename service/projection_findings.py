"""What the doctor finds of the projections: whether they get on, and whether every row is what the log says."""

from typing import NamedTuple

from psycopg import Connection
from psycopg.rows import DictRow

from ledger.domain.refusals import Refusal
from ledger.store.clock import Clock
from projections.read_model import READ_MODELS
from projections.registry import Known, has_table, serving
from projections.status import Overview, ProjectionStatus, State, overview
from projections.verification import verify_serving


class Verdict(NamedTuple):
    """A finding before it bears the name of its check."""

    healthy: bool
    says: str


def projections_get_on(connection: Connection[DictRow], clock: Clock) -> Verdict:
    """The builds that this version of the code reads; what is beside them is told, and is no fault."""
    seen = overview(connection, clock)
    at = {(each.name, each.version): each for each in seen.projections}
    known = {each.model.name: each for each in serving(connection, READ_MODELS)} if at else {}
    told = []
    for model in READ_MODELS:
        build = known.get(model.name)
        if build is None:
            told.append(f"{model.name} not begun")
            continue
        status = at[model.name, build.model.build]
        fault = _fault_of(connection, build, status)
        if fault is not None:
            return Verdict(False, f"Read model {model.name} (version {status.version}) {fault}")
        told.append(f"{model.name} {status.lag_events:,} events behind{_remark(status)}")
    return Verdict(True, f"{len(READ_MODELS)} read models looked at: {', '.join(told)}.{_beside(seen)}")


def rows_are_as_the_log_says(connection: Connection[DictRow], clock: Clock) -> Verdict:
    """Every row that is served, held against a second folding of the log."""
    if not overview(connection, clock).projections:
        return Verdict(True, "No read model was begun.")
    try:
        verified = verify_serving(connection, READ_MODELS)
    except Refusal as refusal:
        return Verdict(False, f"The rows of the read models could not be verified: {refusal.message}.")
    wrong = [each for each in verified if each.first is not None]
    if wrong:
        first, names = wrong[0], " ".join(each.model for each in wrong)
        return Verdict(
            False,
            f"{sum(each.differences for each in wrong):,} rows of the read models are not what the log says, first: "
            f"{first.model} {first.first}. Find out who wrote to the table, then make it again: credit-ledger "
            f"projections rebuild {names}.",
        )
    return Verdict(True, f"{sum(each.rows for each in verified):,} rows looked at: each is what the log says.")


def _fault_of(connection: Connection[DictRow], build: Known, status: ProjectionStatus) -> str | None:
    mend = f"credit-ledger projections rebuild {status.name}"
    if not has_table(connection, build.model):
        return f"has lost its table. Make it again: {mend}."
    if status.error is not None:
        event, leave_out = "", ""
        if status.error_position is not None:
            event = f" before the event at position {status.error_position}"
            skip = f"credit-ledger projections skip {status.name} --position {status.error_position} --reason ..."
            leave_out = f"; if the event is, {skip}"
        return (
            f"has stopped behind position {status.position}{event}: {' '.join(status.error.split())}. Reads answer "
            f"from there. Mend the cause, and it goes on by itself; if the table is wrong, {mend}{leave_out}."
        )
    if status.position > status.head:
        return (
            f"is at position {status.position}, but the log ends at {status.head}: the log went back. "
            f"Find out what was lost before anything is written, then make it again: {mend}."
        )
    return None


def _remark(status: ProjectionStatus) -> str:
    return " (paused)" if status.state is State.PAUSED else ""


def _beside(seen: Overview) -> str:
    """What operators left behind."""
    count = sum(not each.serving for each in seen.projections)
    told = f" {count} builds beside them: credit-ledger projections prune." if count else ""
    return told + (f" {len(seen.skips)} events are left out for good." if seen.skips else "")
