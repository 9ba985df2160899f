"""Whether this process should be sent requests, and if not, why not."""

import time
from typing import Any, NamedTuple

import psycopg
from psycopg_pool import PoolTimeout

from ledger.application import LedgerUnavailable
from projections.read_model import READ_MODELS
from projections.reading import Progress, progress_of
from projections.status import Overview, overview
from service.parts import Parts

LAG_EVENTS_MAX = 10_000
"""A read model that is farther behind is being made, as is one whose former version is still ahead: it is not live yet.

One that is a little behind is no reason to send nobody here: writes go on, and reads say so."""
LAG_SECONDS_MAX = 30.0
"""An event that is not folded for so long, though nobody paused it: whoever follows does not get on."""
AWAY_SECONDS_MAX = 5.0
"""How long nobody may follow the log: one that starts again, or hands over to another process, takes less. The lag does
not tell: it reads zero until somebody writes."""


class Readiness(NamedTuple):
    """What stands in the way, by what it stands in the way of; ready if nothing does. `progress` is None where the
    database could not be asked."""

    problems: dict[str, str]
    progress: Progress | None

    @property
    def ready(self) -> bool:
        return not self.problems

    def data(self) -> dict[str, Any]:
        """As JSON; positions are text."""
        told: dict[str, Any] = {"ready": self.ready, "problems": self.problems}
        if self.progress is not None:
            told["head"] = str(self.progress.head)
            told["readModels"] = {name: str(position) for name, position in self.progress.positions.items()}
            if self.progress.paused:
                told["paused"] = sorted(self.progress.paused)
        return told


class Probe:
    """Looks whether a process is ready; it remembers since when it has seen nobody follow the log."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._away_since: float | None = None

    async def look(self) -> Readiness:
        try:
            progress, seen = await self._parts.threads.read(self._ask)
        except (psycopg.Error, PoolTimeout, LedgerUnavailable):
            return Readiness(self._problems() | {"database": "the database is not available"}, None)
        if seen.followed:
            self._away_since = None
        elif self._away_since is None:
            self._away_since = time.monotonic()
        return Readiness(self._problems() | self._problems_of(progress, seen), progress)

    def _ask(self) -> tuple[Progress, Overview]:
        with self._parts.reader.connection() as connection:
            return progress_of(connection, READ_MODELS), overview(connection, self._parts.ledger.clock)

    def _problems(self) -> dict[str, str]:
        """What this process finds wrong with itself."""
        problems: dict[str, str] = {}
        if self._parts.ledger.writer.failure is not None:
            problems["writer"] = self._parts.ledger.writer.failure
        if self._parts.runner is not None:
            if not self._parts.runner.alive:
                problems["runner"] = "has ended"
            problems |= self._parts.reactors.problems()
        return problems

    def _problems_of(self, progress: Progress, seen: Overview) -> dict[str, str]:
        problems: dict[str, str] = {}
        if self._away_since is not None and time.monotonic() - self._away_since > AWAY_SECONDS_MAX:
            problems["follower"] = f"nobody has followed the log for more than {AWAY_SECONDS_MAX:.0f} seconds"
        statuses = {(each.name, each.version): each for each in seen.projections}
        for name, position in progress.positions.items():
            status = statuses.get((name, progress.builds[name].build))
            if name in progress.errors:
                problems[f"read model {name}"] = f"stopped behind position {position}: {progress.errors[name]}"
            elif status is not None and status.error is not None:
                problems[f"read model {name}"] = status.error
            elif status is not None and status.lag_seconds > LAG_SECONDS_MAX and name not in progress.paused:
                behind = f"{status.lag_seconds:.0f} seconds behind"
                problems[f"read model {name}"] = f"at position {position} of {progress.head}, {behind}"
            elif progress.head - position > LAG_EVENTS_MAX or name in progress.making:
                problems[f"read model {name}"] = f"at position {position} of {progress.head}"
        return problems
