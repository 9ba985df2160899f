"""What concerns the log as a whole: positions, the time of recording, and which events belong together."""

from array import array
from collections.abc import Iterable, Set

from ledger.domain.audit.findings import Findings
from ledger.domain.audit.lines import BEHIND_DATA, Line, is_instant, line_of

PARTS = 256


class Order:
    """The log as a whole: every line of it, in order."""

    def __init__(self) -> None:
        self.findings = Findings()
        self.events = 0
        self.transactions = 0
        self.position = 0
        self._recorded_at = b""
        self._transaction_id = b""
        self._open: Line | None = None
        """The first event of a transaction that goes on."""
        self._seen = [array("q") for _ in range(PARTS)]
        """A number for each transaction's id: that one comes again is noticed for 8 bytes each."""

    @property
    def recorded_at(self) -> str:
        """When the last line was recorded, as it says."""
        return self._recorded_at.decode()

    def take(self, lines: Iterable[bytes]) -> None:
        """Look at some lines, as they came. One that is a transaction of its own is looked at as a whole."""
        seen, expected, recorded_before, before = self._seen, self.position + 1, self._recorded_at, self._transaction_id
        for text in lines:
            position, transaction_id, recorded_at, _ = text.split(b"\t", 3)
            last = text.rsplit(b"\t", BEHIND_DATA)[1]
            self.events += 1
            if (
                position == last and int(position) == expected and transaction_id != before
                and self._open is None
                and (recorded_at == recorded_before or _is_later(recorded_at, recorded_before))
            ):  # fmt: skip
                number = hash(transaction_id)
                seen[number % PARTS].append(number)
                self.transactions += 1
                expected, recorded_before, before = expected + 1, recorded_at, transaction_id
            else:
                self.position, self._recorded_at, self._transaction_id = expected - 1, recorded_before, before
                self._take(line_of(text))
                expected, recorded_before, before = self.position + 1, self._recorded_at, self._transaction_id
        self.position, self._recorded_at, self._transaction_id = expected - 1, recorded_before, before

    def finish(self) -> Set[int]:
        """After the last line. Returns the numbers of transactions that may have come more than once."""
        if self._open is not None:
            self._break_off(self._open)
        for name, count in (("positions", self.events), ("time", self.events), ("transactions", self.transactions)):
            self.findings.look(name, count)
        return {number for part in self._seen if len(set(part)) < len(part) for number in _repeated(part)}

    def _take(self, line: Line) -> None:
        position = int(line.position)
        if position != self.position + 1:
            self.findings.fault("positions", line, f"position {position}", f"position {self.position + 1}")
        if line.recorded_at < self.recorded_at or not is_instant(line.recorded_at):
            self.findings.fault("time", line, f"recorded at {line.recorded_at}", f"not before {self.recorded_at}")
        else:
            self._recorded_at = line.recorded_at.encode()
        self._follow_transaction(line, position)
        self.position = position

    def _follow_transaction(self, line: Line, position: int) -> None:
        first, last, transaction_id = self._open, int(line.transaction_last), line.transaction_id.encode()
        if transaction_id != self._transaction_id:
            if first is not None:
                self._break_off(first)
            self._transaction_id = transaction_id
            number = hash(transaction_id)
            self._seen[number % PARTS].append(number)
            self.transactions += 1
        elif first is None:
            fault_repeated(self.findings, line)
        elif _shared(line) != _shared(first):
            self.findings.fault("transactions", line, str(_shared(line)), f"{_shared(first)}, as the one before it")
        if last < position:
            self.findings.fault("transactions", line, f"ends at position {last}", f"not before {position}")
        opened = self._open or line
        self._open = opened if int(opened.transaction_last) > position else None

    def _break_off(self, first: Line) -> None:
        says = f"transaction {first.transaction_id} ends at position {first.transaction_last}"
        self.findings.fault("transactions", first, says, f"position {self.position}, where it does")
        self._open = None


class Repeats:
    """A second look at the log, for transactions that may have come more than once."""

    def __init__(self, findings: Findings, numbers: Set[int]) -> None:
        self._findings = findings
        self._numbers = numbers
        self._ended: set[bytes] = set()
        self._present = b""

    def take(self, lines: Iterable[bytes]) -> None:
        """Name the events of a transaction that had ended."""
        for text in lines:
            transaction_id = text.split(b"\t", 2)[1]
            if transaction_id != self._present:
                if hash(self._present) in self._numbers:
                    self._ended.add(self._present)
                self._present = transaction_id
                if transaction_id in self._ended:
                    fault_repeated(self._findings, line_of(text))


def fault_repeated(findings: Findings, line: Line) -> None:
    findings.fault("transactions", line, f"is of transaction {line.transaction_id}", "another: it has ended")


def _shared(line: Line) -> tuple[str, ...]:
    """What all events of a transaction tell alike."""
    return (
        line.transaction_last, line.recorded_at, line.actor_kind, line.actor_key,
        line.correlation_id, line.causation_id,
    )  # fmt: skip


def _is_later(recorded_at: bytes, before: bytes) -> bool:
    return recorded_at > before and is_instant(recorded_at.decode())


def _repeated(numbers: Iterable[int]) -> Set[int]:
    once: set[int] = set()
    return {number for number in numbers if number in once or once.add(number)}  # type: ignore[func-returns-value]
