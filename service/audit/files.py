"""Files of an export: written beside, hashed on the way, and given their names when all of them are whole."""

import hashlib
import io
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from service.audit.export_refusals import ExportExists
from service.audit.manifest import Written

BUFFER_BYTES = 1_048_576
Fill: TypeAlias = Callable[[BinaryIO], object]
"""Writes all that a file is to hold."""


def write(name: str, target: BinaryIO, fill: Fill) -> Written:
    """Write a file of this name into a target that is open."""
    hashed = _Hashed(target)
    with io.BufferedWriter(hashed, BUFFER_BYTES) as out:
        fill(out)
    return Written(name, hashed.size, hashed.sha256.hexdigest())


class Folder:
    """Files on their way into a folder; `beside` is where they wait until all of them are whole."""

    def __init__(self, folder: Path, beside: Path) -> None:
        self._folder = folder
        self._beside = beside
        self._names: list[str] = []

    def write(self, name: str, fill: Fill) -> Written:
        """Write one; they get their names in this order."""
        with (self._beside / name).open("wb") as target:
            written = write(name, target, fill)
            target.flush()
            os.fsync(target.fileno())
        self._names.append(name)
        return written

    def keep(self) -> None:
        """Refuses: ExportExists. One that is there already with the same bytes stays as it is."""
        new = [name for name in self._names if not _same(self._folder / name, self._beside / name)]
        for name in new:
            if (self._folder / name).exists():
                raise ExportExists(name)
        for name in new:
            (self._beside / name).rename(self._folder / name)


@contextmanager
def into(folder: Path) -> Iterator[Folder]:
    """Files that the folder, made if there is none, has when the block has ended well; else it has none of them.

    Refuses: ExportExists.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=folder) as beside:
        files = Folder(folder, Path(beside))
        yield files
        files.keep()


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Hashed(io.RawIOBase):
    """Lets bytes through to a file, and knows how many they were and their SHA-256."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self.sha256 = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._target.write(data)
        self.sha256.update(data)
        size = memoryview(data).nbytes
        self.size += size
        return size


def _same(path: Path, other: Path) -> bool:
    return path.is_file() and path.stat().st_size == other.stat().st_size and sha256_of(path) == sha256_of(other)
