"""The questions of finance from the command line: a command for each of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from ledger.domain.instants import instant_text
from ledger.domain.refusals import Refusal
from ledger.store.epochs import identity
from ledger.store.migrate import check_migrated
from projections.reading import Reader
from projections.reports.report import AsOf, Of, Report, told
from service.audit.exports import write_export
from service.audit.manifest import Form
from service.audit.question import Answer, Question
from service.audit.questions import QUESTIONS
from service.cli.export_events import lines_of_export
from service.cli.frame import WithExample, database_here, ledger_here, show, table
from service.cli.progress import Progress
from service.cli.trees import lines_of_tree
from service.refusals import in_words
from service.settings import read_settings

TO_THE_RIGHT = (Of.CREDITS, Of.MONEY, Of.NUMBER)


def add_questions(group: click.Group, path: str) -> None:
    """Put the commands of a group's questions into it."""
    for question in QUESTIONS:
        if question.group == path:
            group.add_command(_command(question))


def _command(question: Question[Answer]) -> click.Command:
    def run(as_json: bool, export: Path | None = None, form: str | None = None, **given: str | None) -> None:
        if form is not None and export is None:
            raise click.UsageError("--format is of the file that --export writes")
        texts = {name: text for name, text in given.items() if text is not None}
        try:
            with reader_here(settling=question.settles(texts)) as reader:
                answer = _asked(reader, question, texts, quiet=as_json)
                if export is None:
                    show(answer.data(), as_json, lambda: lines_of(answer))
                else:
                    _export(reader, answer, export, Form(form or Form.CSV), as_json=as_json)
        except Refusal as refusal:
            raise in_words(refusal, words) from None

    words = {each.name: each.option for each in question.parameters} | {
        name: name.upper() for name in question.arguments
    }
    options: list[click.Parameter] = [click.Argument([name]) for name in question.arguments]
    options += [
        click.Option(
            [each.option, each.name],
            type=None if each.choices is None else click.Choice(each.choices),
            required=each.required,
            help=each.help,
        )
        for each in question.parameters
        if each.name not in question.arguments
    ]
    if question.tabular:
        folder = click.Path(file_okay=False, path_type=Path)
        options.append(click.Option(["--export"], type=folder, metavar="FOLDER", help="Write a file and its manifest."))
        forms = click.Choice([form.value for form in Form])
        options.append(click.Option(["--format", "form"], type=forms, help="Of the file; default: csv."))
    options.append(click.Option(["--json", "as_json"], is_flag=True, help="Print JSON."))
    return WithExample(question.name, callback=run, params=options, help=question.help, example=question.example)


@contextmanager
def reader_here(*, settling: bool) -> Iterator[Reader]:
    """A reader of the settings' ledger; with `settling`, what is due is written first. Without, it takes the rights of
    a reader alone."""
    settings = read_settings()
    if settling or settings.database_url is None:
        with ledger_here() as running:
            while settling and running.blocking.settle_due():
                pass
            yield running.reader
        return
    with database_here(settings) as database, Reader(database, clock=settings.clock()) as reader:
        check_migrated(database)
        yield reader


def _asked(reader: Reader, question: Question[Answer], texts: dict[str, str], *, quiet: bool) -> Answer:
    progress = Progress(quiet=quiet)
    try:
        return question.ask(
            reader, texts, told=lambda done, total: progress.tell(question.name, "reading", done, total)
        )
    finally:
        progress.clear()


def _export(reader: Reader, answer: Answer, folder: Path, form: Form, *, as_json: bool) -> None:
    assert isinstance(answer, Report)
    with reader.connection() as connection:
        ledger = identity(connection)
    manifest = write_export(answer, folder, form, ledger=ledger)
    show(manifest.data(), as_json, lambda: lines_of_export(manifest, folder))


def lines_of(answer: Answer) -> Iterator[str]:
    """An answer for people: its clocks, its table or its tree, the notes."""
    yield _clocks(answer.as_of)
    if isinstance(answer, Report):
        yield from _lines_of_table(answer)
    else:
        yield from lines_of_tree(answer)
    yield from answer.notes


def _clocks(as_of: AsOf) -> str:
    recorded = "" if as_of.recorded_at is None else f" ({instant_text(as_of.recorded_at)})"
    final = "final" if as_of.final else "not final: more may be recorded"
    effective = instant_text(as_of.effective_at)
    return f"effective as of {effective}, recorded as of position {as_of.position}{recorded}, {final}"


def _lines_of_table(report: Report) -> Iterator[str]:
    """Columns that have no value in any row are left out."""
    told_rows = [[told(column, cell) for column, cell in zip(report.columns, row, strict=True)] for row in report.rows]
    every = range(len(report.columns))
    shown = [place for place in every if any(row[place] is not None for row in told_rows)] or every
    columns = [report.columns[place] for place in shown]
    titles = [column.name.replace("_", " ") for column in columns]
    right = [title for title, column in zip(titles, columns, strict=True) if column.of in TO_THE_RIGHT]
    yield from table(titles, [[row[place] for place in shown] for row in told_rows], right=right)
