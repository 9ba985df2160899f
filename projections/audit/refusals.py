"""What a replay is turned down for."""

from dataclasses import dataclass

from ledger.domain.refusals import Refusal


@dataclass(eq=False)
class ExportDamaged(Refusal):
    """An export is not what its manifest says, or nothing that a log can be read from."""

    code = "ExportDamaged"
    file: str
    reason: str

    @property
    def message(self) -> str:
        return f"{self.file} {self.reason}"
