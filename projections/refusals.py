"""What is told to an operator whose command cannot be carried out on a projection."""

from dataclasses import dataclass

from ledger.domain.refusals import Refusal
from projections.read_model import READ_MODELS

SWAP_SECONDS_MAX = 30.0
"""How long a swap is tried again while the runner holds its turn, or writers are faster than the tail is folded."""
READERS_SECONDS_MAX = 60.0
"""How long transactions are waited for that may have begun to read a build before it was replaced."""


@dataclass(eq=False)
class BeingRebuilt(Refusal):
    """Another process rebuilds this read model, swaps it or prunes it."""

    code = "ProjectionBeingRebuilt"
    name: str

    @property
    def message(self) -> str:
        return f"{self.name} is being rebuilt by another process"


@dataclass(eq=False)
class CannotBeFolded(Refusal):
    """The log has an event that this read model cannot fold."""

    code = "ProjectionFailed"
    name: str
    position: int | None
    error: str

    @property
    def message(self) -> str:
        where = "" if self.position is None else f" the event at position {self.position}"
        return f"{self.name} cannot fold{where}: {self.error}"


@dataclass(eq=False)
class SwapNotReached(Refusal):
    """The runner did not give up its turn, or the log grew too fast. Nothing has changed."""

    code = "SwapNotReached"
    name: str

    @property
    def message(self) -> str:
        return (
            f"{self.name} could not be swapped in {SWAP_SECONDS_MAX:.0f} seconds; begin again, it goes on where it was"
        )


@dataclass(eq=False)
class NothingKept(Refusal):
    """There is no build to go back to."""

    code = "NothingKept"
    name: str

    @property
    def message(self) -> str:
        return f"of {self.name} nothing is kept that it could go back to"


@dataclass(eq=False)
class ProjectionNotFound(Refusal):
    """There is no read model of this name."""

    code = "ProjectionNotFound"
    name: str

    @property
    def message(self) -> str:
        return f"there is no projection {self.name!r}; there are {', '.join(model.name for model in READ_MODELS)}"


@dataclass(eq=False)
class NotFailedThere(Refusal):
    """Only an event that cannot be folded may be left out."""

    code = "NotFailedThere"
    name: str
    position: int

    @property
    def message(self) -> str:
        return f"{self.name} has not failed at position {self.position}: only an event that cannot be folded is skipped"


@dataclass(eq=False)
class TableMissing(Refusal):
    """The registry has a build whose table is gone."""

    code = "ProjectionTableMissing"
    name: str

    @property
    def message(self) -> str:
        return f"the table of {self.name} is missing: rebuild it"


@dataclass(eq=False)
class StillRead(Refusal):
    """A transaction is open that may have begun to read what is to be dropped. Of this read model nothing was."""

    code = "ProjectionStillRead"
    pid: int

    @property
    def message(self) -> str:
        return f"a transaction of session {self.pid} has been open for more than {READERS_SECONDS_MAX:.0f} seconds"


@dataclass(eq=False)
class CannotBeReplayed(Refusal):
    """The second folding fails somewhere in a stretch of the log: there is an event that no ledger writes."""

    code = "ProjectionReplayFailed"
    name: str
    first: int
    last: int
    error: str

    @property
    def message(self) -> str:
        return f"an event of positions {self.first} to {self.last} cannot be replayed into {self.name}: {self.error}"


@dataclass(eq=False)
class TooManyRows(Refusal):
    """A report is longer than whoever asks can be given at once."""

    code = "TooManyRows"
    rows_max: int

    @property
    def message(self) -> str:
        return (
            f"the report has more than {self.rows_max:,} rows: ask for a shorter period or fewer holders, or export it "
            f"from the command line, which has no such bound"
        )
