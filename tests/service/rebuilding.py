"""A rebuild in a process of its own that can be killed after any of its steps."""

from contextlib import suppress
from multiprocessing.connection import Connection as Pipe
from typing import NamedTuple

import projections.rebuild as work
from ledger.store.database import Database
from projections.read_model import ReadModel
from projections.refusals import BeingRebuilt

WINDOW_EVENTS = 500


class Seen(NamedTuple):
    phase: str
    position: int


def rebuild_told(database: Database, model: ReadModel, steps: "Pipe[Seen, None]") -> None:
    """Rebuild in small windows and tell each step."""
    work.WINDOW_EVENTS = WINDOW_EVENTS
    while True:
        with suppress(BeingRebuilt):  # the server has not noticed yet that the last one was killed
            work.rebuild(database, model, lambda step: steps.send(Seen(step.phase, step.position)))
            return
