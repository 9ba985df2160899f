"""An export of all events, and one whose manifest was made to fit what became of its file."""

import hashlib
import json
from pathlib import Path

from ledger.store.clock import settable_clock
from ledger.store.database import Database, Role
from projections.reports.as_of import as_of
from service.audit import event_exports
from service.audit.manifest import MANIFEST, Form

FORMATS = tuple(f".{form}" for form in Form)


def export_events(database: Database, path: Path) -> Path:
    """Write all events to a file, and what it is to its manifest."""
    with database.connect(Role.READER) as connection:
        clocks = as_of(connection, settable_clock(), None, None)
    event_exports.export_events(
        database, path.parent, Form(path.suffix.removeprefix(".")), after=0, as_of=clocks, parameters={}
    )
    return path


def fit_manifest(path: Path) -> None:
    manifest = path.parent / MANIFEST
    told = json.loads(manifest.read_text()) | {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    manifest.write_text(json.dumps(told))
