"""What the auditor's door turns down, besides what the ledger itself does."""

from dataclasses import dataclass

from ledger.domain.refusals import Refusal


@dataclass(eq=False)
class FigureNotFound(Refusal):
    """There is no such figure: no such row, or no such lot, as of the clocks that were asked for."""

    code = "FigureNotFound"
    what: str

    @property
    def message(self) -> str:
        return f"there is no {self.what} as of these clocks"


@dataclass(eq=False)
class TooManyReports(Refusal):
    code = "TooManyReports"
    reports_max: int

    @property
    def message(self) -> str:
        return f"{self.reports_max} reports are being made already; ask again"
