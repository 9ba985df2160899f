"""The README's story, pasted into an empty folder and run as a new user would."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

import httpx

from tests.service.load import eventually
from tests.service.serving import environment, serving

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()


def block(language: str, after: str) -> str:
    """The first fenced block of a language behind some words of the README."""
    found = re.search(rf"```{language}\n(.*?)```", README[README.index(after) :], re.DOTALL)
    assert found is not None
    return found.group(1)


def test_the_story_prints_what_the_readme_says() -> None:
    with tempfile.TemporaryDirectory(prefix="ledger-story-") as folder:
        Path(folder).chmod(0o755)
        Path(folder, "story.py").write_text(block("python", "## One customer's month"))
        done = subprocess.run(
            [sys.executable, "story.py"],
            cwd=folder,
            env={"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.stderr == ""
    assert done.stdout == block("", "It prints:")


def test_the_requests_of_the_readme_are_answered_as_it_says() -> None:
    with tempfile.TemporaryDirectory(prefix="ledger-story-") as folder:
        Path(folder).chmod(0o755)
        with serving(data_dir=str(Path(folder, "ledger-data"))) as service:
            done = subprocess.run(
                ["bash", "-euc", block("sh", "With the address and the key")],
                env={"PATH": os.environ["PATH"], "ADDRESS": service.url, "KEY": service.key},
                capture_output=True,
                text=True,
                check=False,
            )
    assert done.stderr == ""
    assert done.stdout == block("", "answers:")


def test_the_run_command_of_the_readme_prints_a_request_that_works_when_pasted() -> None:
    """`scripts/run` in an empty folder's ledger, killed with -9: nothing stays behind, nothing answered is lost."""
    assert block("sh", "## Start it").strip() == "scripts/run"
    with tempfile.TemporaryDirectory(prefix="ledger-story-") as folder:
        Path(folder).chmod(0o755)
        settings = environment(data_dir=str(Path(folder, "ledger-data")), port="0")
        for granted in (1, 2):
            with subprocess.Popen(
                [ROOT / "scripts" / "run"], env=settings, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            ) as run:
                assert run.stdout is not None
                said = dict(line.strip().split(":", 1) for line in islice(run.stdout, 3))
                pasted = subprocess.run(["bash", "-euc", said["try"]], capture_output=True, text=True, check=False)
                assert '"status": "ACTIVE", "amount": 100.0' in pasted.stdout, pasted
                found = httpx.post(
                    said["address"].strip() + "/graphql",
                    headers={"X-API-KEY": said["key"].strip()},
                    json={"query": '{ creditGrants(input: {customerId: "acme"}) { totalCount } }'},
                )
                assert found.json() == {"data": {"creditGrants": {"totalCount": granted}}}
                run.kill()
            assert eventually(lambda: not works_in(Path(folder)), 60)  # its server ends with it; then the folder can go


def works_in(folder: Path) -> bool:
    """Whether a process works in this folder."""
    return any(place.is_relative_to(folder) for place in working_folders())


def working_folders() -> Iterator[Path]:
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            yield (process / "cwd").readlink()


def test_the_readme_can_be_read_in_one_sitting() -> None:
    assert len(README.splitlines()) <= 200


def test_every_file_that_the_readme_names_is_there() -> None:
    named = re.findall(r"`((?:scripts|ledger|projections|service|docs)(?:/[\w./-]*)?)`|\]\(([\w./-]+)\)", README)
    missing = [name for pair in named for name in pair if name and not (ROOT / name).exists()]
    assert missing == []
