"""The commands of finance: reports, figures and what they are made of, the replay, and exports."""

import click

from service.audit.question import TRACE
from service.cli.export_events import export_events_command, verify_export_command
from service.cli.frame import ExampledGroup
from service.cli.replay import replay_command
from service.cli.reports import add_questions


@click.group("report", cls=ExampledGroup, example="credit-ledger report rollforward --from 2026-03-01T00:00:00Z")
def report_group() -> None:
    """Reports of periods, folded from the log: the same question at the same two clocks has the same answer."""


@click.group("audit", cls=ExampledGroup, example="credit-ledger audit replay")
def audit_group() -> None:
    """What an auditor asks: figures as of two clocks, what they are made of, and whether the log keeps its laws."""


@audit_group.group("trace", cls=ExampledGroup, example="credit-ledger audit trace balance --customer acme")
def trace_group() -> None:
    """From any figure down to the events that it is made of; the leaves add up to it."""


@audit_group.group("export", cls=ExampledGroup, example="credit-ledger audit export events --out log --format parquet")
def export_group() -> None:
    """The log as a file with a manifest, and whether an export is what its manifest says."""


add_questions(report_group, "report")
add_questions(audit_group, "audit")
add_questions(trace_group, TRACE)
audit_group.add_command(replay_command)
export_group.add_command(export_events_command)
export_group.add_command(verify_export_command)
