"""The README's story, pasted into an empty folder and run as a new user would."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

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


def test_the_readme_can_be_read_in_one_sitting() -> None:
    assert len(README.splitlines()) <= 200


def test_every_file_that_the_readme_names_is_there() -> None:
    named = re.findall(r"`((?:scripts|ledger|projections|service|docs)/?[\w./-]*)`|\]\(([\w./-]+)\)", README)
    missing = [name for pair in named for name in pair if name and not (ROOT / name).exists()]
    assert missing == []
