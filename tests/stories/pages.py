"""Runs the pages of examples in docs; `python -m tests.stories.pages` writes the answers of a real run into them.

A step of the page is a request and the JSON block with its answer, which is replaced by the real one:

- a `graphql` block, if need be followed by a JSON block with its variables before the one with the answer, and preceded
  by an `http` block with headers;
- an `http` block that begins with a method and a path, then headers, then an empty line and the body; where no JSON
  block follows it, its answer is empty;
- a `sh` block, run with ADDRESS, KEY and the service's settings in its environment.

`POST /test/clock` sets the test clock. Ids and tokens are new in each run. The page keeps its own: an id of the page
stands for the one that a run gave in the same place of an answer, from there on in requests and answers alike. Errors
of the REST door tell the machine's time, which is another one each time: the page shows TOLD_AT.
"""

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from tests.service.serving import COMMAND, Service, environment, serving

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGES = (DOCS / "credit-grants.md", DOCS / "execution-credits.md", DOCS / "allocation-rules.md")
WIDTH, FIELDS_WIDTH = 105, 90
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LOGIN_TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+")
PAGE_TOKEN = r"\b[\w-]{60,}"
ID = re.compile(
    rf"[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}|\bcg-[0-9a-z]{{12,}}|{LOGIN_TOKEN.pattern}|{PAGE_TOKEN}"
)
SET_CLOCK = re.compile(r'POST /test/clock \{"now": "(.*)"\}\n')
REQUEST_LINE = re.compile(r"(GET|POST|PATCH|DELETE) (/\S*)")
CALL = re.compile(r'\$ADDRESS(/[^"]*)')
PROBLEM = {"timestamp", "status", "error", "message", "path"}
TOLD_AT = "2026-03-10T09:30:00.123Z"


class Block(NamedTuple):
    """A fenced block: its language and its text, and where in the page that stands."""

    language: str
    text: str
    start: int
    end: int


class Step(NamedTuple):
    """A request with its answer; a setting of the clock and what is answered with nothing have none."""

    request: Block
    answer: Block | None = None
    variables: str = "{}"
    headers: str = ""

    @property
    def operation(self) -> tuple[str, str] | None:
        """The method and the path that it asks for; None, where it is no request of that kind."""
        if called := CALL.search(self.request.text):
            return "POST" if " -d " in self.request.text else "GET", called[1]
        line = REQUEST_LINE.match(self.request.text)
        return None if line is None else (line[1], line[2])


@dataclass
class Ids:
    """Which id of a run stands behind each id of the page."""

    live: dict[str, str] = field(default_factory=dict)
    page: dict[str, str] = field(default_factory=dict)

    def meet(self, on_page: Any, live: Any) -> None:
        """Take in the ids that an answer has where the page's answer has one.

        Logins of one second get the same token, so the page has one for all of them: it stands for the last.
        """
        match on_page, live:
            case dict(), dict():
                for name, value in live.items():
                    self.meet(on_page.get(name), value)
            case list(), list():
                for one, other in zip(on_page, live, strict=False):
                    self.meet(one, other)
            case str(), str():
                for one, other in zip(ID.findall(on_page), ID.findall(live), strict=False):
                    if LOGIN_TOKEN.fullmatch(one) or (one not in self.live and other not in self.page):
                        self.live[one], self.page[other] = other, one

    def to_live(self, text: str) -> str:
        return ID.sub(lambda found: self.live[found[0]], text)

    def to_page(self, text: str) -> str:
        """An id that the page does not know yet stays as it is, so that the page learns it."""
        return ID.sub(lambda found: self.page.get(found[0], found[0]), text)


def steps_of(page: str) -> Iterator[Step]:
    """What the page does, in its order."""
    blocks = [Block(found[1], found[2], *found.span(2)) for found in BLOCK.finditer(page)]
    headers = ""
    for number, block in enumerate(blocks):
        if block.language == "http" and not REQUEST_LINE.match(block.text):
            headers = block.text
        elif block.language == "http":
            answered = number + 1 < len(blocks) and blocks[number + 1].language == "json"
            yield Step(block, blocks[number + 1] if answered else None)
        elif block.language in {"graphql", "sh"}:
            following = next(n for n in count(number + 1) if n == len(blocks) or blocks[n].language != "json")
            *variables, answer = blocks[number + 1 : following]
            yield Step(block, answer, variables[0].text if variables else "{}", headers)
            headers = ""


@dataclass
class Run:
    """One run of a page on a service in test mode with these settings, whose ledger is empty at first."""

    service: Service
    settings: dict[str, str]
    ids: Ids = field(default_factory=Ids)
    position: str = "0"
    """Of the last answer. A read waits for it: a busy machine makes the run slower, not its answers older."""

    def answer_to(self, step: Step) -> Any:
        text = self.ids.to_live(step.request.text)
        match step.request.language:
            case "http":
                if setting := SET_CLOCK.fullmatch(text):
                    return self.service.set_clock(setting[1]).raise_for_status().json()
                return self._rest(text, step)
            case "sh":
                given = environment(**self.settings) | {"ADDRESS": self.service.url, "KEY": self.service.key}
                given["PATH"] = f"{COMMAND.parent}{os.pathsep}{given['PATH']}"
                return json.loads(subprocess.check_output(["bash", "-euc", text], env=given, text=True))
            case _:
                return self._graphql(text, step)

    def _rest(self, text: str, step: Step) -> Any:
        head, _, body = text.partition("\n\n")
        line, *lines = head.splitlines()
        headers = {"X-Ledger-At-Least": self.position} | dict(line.split(": ", 1) for line in lines)
        method, path = line.split()
        answer = self.service.http.request(method, path, content=body, headers=headers)
        self.position = max(self.position, answer.headers["X-Ledger-Position"], key=int)
        assert (step.answer is None) == (answer.content == b""), (text, answer.text)
        told = answer.json() if answer.content else {}
        if told.keys() == PROBLEM:
            assert told["status"] == answer.status_code
            return told | {"timestamp": TOLD_AT}
        assert answer.status_code == 200, (text, answer.text)
        return told

    def _graphql(self, text: str, step: Step) -> Any:
        headers = {"X-Ledger-At-Least": self.position}
        headers |= dict(line.split(": ", 1) for line in step.headers.splitlines())
        answer = self.service.graphql(text, headers, **json.loads(self.ids.to_live(step.variables)))
        assert answer.status_code == 200, (text, answer.text)
        self.position = answer.headers["X-Ledger-Position"]
        return answer.json()


def executed(page: str, **settings: str) -> str:
    """The page with the answers of a service with these settings, started for it alone."""
    with serving(cwd=None, test_clock="1", **settings) as service:
        return carried_out(page, Run(service, settings | {"test_clock": "1"}))


def carried_out(page: str, run: Run) -> str:
    parts, end = [], 0
    for step in steps_of(page):
        answer = run.answer_to(step)
        if step.answer is not None:
            if step.answer.text:
                run.ids.meet(json.loads(step.answer.text), answer)
            parts += [page[end : step.answer.start], run.ids.to_page(shown(answer)), "\n"]
            end = step.answer.end
    return "".join([*parts, page[end:]])


def shown(value: Any, taken: int = 0, indent: int = 0) -> str:
    """JSON in few lines; `taken` is how much of the first line is used already, `indent` how far it is indented."""
    flat = json.dumps(value)
    if taken + len(flat) <= WIDTH or not isinstance(value, dict | list):
        return flat
    if isinstance(value, dict) and len(value) == 1:
        ((name, only),) = value.items()
        begin = f'{{"{name}": '
        return begin + shown(only, taken + len(begin), indent) + "}"
    inner = indent + 2
    if isinstance(value, list):
        lines = [shown(item, inner + 1, inner) for item in value]
    else:
        lines = filled([f'"{name}": ' + shown(item, inner + len(name) + 5, inner) for name, item in value.items()])
    begin, end = "[]" if isinstance(value, list) else "{}"
    between = ",\n" + " " * inner
    return f"{begin}\n{' ' * inner}{between.join(lines)}\n{' ' * indent}{end}"


def filled(fields: list[str]) -> list[str]:
    """The fields of an object: as many on a line as fit, but those of many lines by themselves."""
    lines = fields[:1]
    for text in fields[1:]:
        if "\n" in lines[-1] + text or len(lines[-1]) + len(text) > FIELDS_WIDTH:
            lines.append(text)
        else:
            lines[-1] += f", {text}"
    return lines


def main() -> None:
    for path in PAGES:
        with tempfile.TemporaryDirectory(prefix="ledger-page-") as folder:
            Path(folder).chmod(0o755)
            path.write_text(executed(path.read_text(), data_dir=str(Path(folder, "ledger-data"))))


if __name__ == "__main__":
    main()
