"""Measure the ledger beside this machine's own yardsticks of the same run, and print a report.

Without a name: debits (with a hot pool and a long history), HTTP, the way of an event from commit to subscriber,
rebuilds, and rules with their usage; half an hour on two cores. By its name, a section measures more: `events` also
200 subscribers while the service is restarted, `rebuild` also what writers and readers notice of it; `replay` is
measured by its name only. A target is met where every run meets it. Exit code: 0 when every must of the sections that
were measured is met, 1 when one is not, 2 for what could not be measured or an option that is none, 130 after Ctrl-C.
"""

import argparse
import json
import os
import signal
import sys
from pathlib import Path

import psycopg

from ledger.application import LedgerUnavailable
from scripts.benchmark import report
from scripts.benchmark.measure import progress
from scripts.benchmark.places import NotDurable, place
from scripts.benchmark.report import Section
from scripts.benchmark.sections import ORDER, WHOLE, measure, size


def main() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends it finds nothing left behind
    try:
        code = _measure(_options())
    except KeyboardInterrupt:
        code = 130
        print("ended before it was measured", file=sys.stderr)
    except (NotDurable, psycopg.Error, LedgerUnavailable, OSError) as error:
        code = 2
        print(f"could not be measured: {error}", file=sys.stderr)
    sys.exit(code)


def _measure(options: argparse.Namespace) -> int:
    """Measure, print, and return the exit code."""
    alone = options.what is not None
    asked = size(
        alone=alone,
        quick=options.quick,
        runs=options.runs,
        seconds=options.seconds,
        history=options.history,
        events=options.events,
    )
    sections: list[Section] = []
    version = ""
    for name in (options.what,) if alone else WHOLE:
        progress(f"section: {name}")
        with place(options.dsn) as where:
            if not sections and not options.json:
                print(report.heading(asked.runs, where.version, quick=options.quick))
            version = where.version
            sections.append(measure(name, where, asked))
        if not options.json:
            print(f"\n{report.as_markdown(sections[-1])}", flush=True)
        if name == "debits" and options.plot is not None:
            _draw(sections[-1], version, options.plot)
    data = json.dumps(report.as_data(sections, version, quick=options.quick), indent=2)
    print(data if options.json else f"\n{report.closing(sections)}")
    if options.json_file is not None:
        options.json_file.write_text(data + "\n")
    return report.exit_code(sections)


def _draw(section: Section, version: str, file: Path) -> None:
    from scripts.benchmark.debit_rows import picture
    from scripts.benchmark.plot import as_svg

    title = f"credit ledger, {report.today()}, {report.machine()}, PostgreSQL {version}, durable commits"
    file.write_text(as_svg(title, picture(section)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", choices=ORDER, help="the one section to measure")
    parser.add_argument("--dsn", help="a PostgreSQL 15 or later that syncs; default: an embedded one")
    parser.add_argument("--quick", action="store_true", help="a smoke run of a few minutes, little of everything")
    parser.add_argument("--runs", type=_count, help="runs of each row; the table shows medians (default 3)")
    parser.add_argument("--seconds", type=_seconds, help="length of a run of one row of debits (default 3)")
    parser.add_argument("--history", type=_count, help="debits on one lot before the last row (default 1,000,000)")
    parser.add_argument(
        "--events",
        type=_count,
        help="how many, of rules (default 10,000,000), rebuild (5,000,000; 3,000,000 among the others), "
        "replay (2,000,000) or events (50,000)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with every run, instead of Markdown")
    parser.add_argument("--json-file", type=Path, metavar="FILE.json", help="write the JSON too")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw the debits by callers and by history")
    options = parser.parse_args()
    if options.plot is not None and options.what not in (None, "debits"):
        parser.error("--plot draws what the section debits measures")
    if options.events is not None and options.what not in ("rules", "rebuild", "replay", "events"):
        parser.error("--events needs the name of the section that has so many")
    for file in (options.plot, options.json_file):
        if file is not None and not os.access(file.parent, os.W_OK):
            parser.error(f"{file} cannot be written")
    if options.dsn == "":
        parser.error("--dsn needs the address of a server")
    return options


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError("more than 0, at most 3600")
    return seconds


if __name__ == "__main__":
    main()
