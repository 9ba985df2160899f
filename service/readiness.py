"""Whether this process should be sent requests, and if not, why not."""

from typing import NamedTuple

from projections.reading import Progress
from service.parts import Parts

LAG_EVENTS_MAX = 10_000
"""A read model that is farther behind is being made, as is one whose former version is still ahead: it is not live yet.

One that is a little behind is no reason to send nobody here, even if nobody follows: writes go on, and reads say so."""


class Readiness(NamedTuple):
    """What stands in the way, by what it stands in the way of; ready if nothing does."""

    problems: dict[str, str]
    progress: Progress | None

    @property
    def ready(self) -> bool:
        return not self.problems


def readiness(parts: Parts, progress: Progress | None) -> Readiness:
    """`progress` is None where the database could not be asked."""
    runner = parts.runner
    problems: dict[str, str] = {}
    if parts.ledger.writer.failure is not None:
        problems["writer"] = parts.ledger.writer.failure
    if progress is None:
        problems["database"] = "the database is not available"
        return Readiness(problems, None)
    for name, position in progress.positions.items():
        if name in progress.errors:
            problems[f"read model {name}"] = f"stopped behind position {position}: {progress.errors[name]}"
        elif progress.head - position > LAG_EVENTS_MAX or name in progress.making:
            problems[f"read model {name}"] = f"at position {position} of {progress.head}"
    if runner is not None:
        if not runner.alive:
            problems["runner"] = "has ended"
        problems |= parts.reactors.problems()
    return Readiness(problems, progress)
