"""Every fault that is planted in a table beside the log is found and named."""

from collections.abc import Iterator

import pytest

from ledger.store.database import Database
from projections.read_model import LOTS, READ_MODELS
from tests.service.test_doctor import Fault, lived_ledger

OPEN = "open_lots WHERE kind = 'CREDIT_GRANT'"
LIVING = "open_lots WHERE kind = 'EXECUTION_CREDIT'"
TURNED = "movements WHERE definition ->> 'first_month' <> '0'"
ENDED = "events WHERE type = 'ledger.expired' AND kind = 'CREDIT_GRANT'"
DELETED = "movements WHERE deleted_at IS NOT NULL"
UPDATED = "movements WHERE type = 'ledger.grant-updated'"
CHANGED = f"min(position) FROM {UPDATED}"
PAYMENT = "max(position) FROM movements WHERE type = 'ledger.grant-payment-recorded'"
PLANS = "movements WHERE type = 'ledger.grant-schedule-defined'"
EVENT = "UPDATE events SET {set} WHERE position = {row}"
OF_STREAM = "WHERE stream_id = '{row}'"
CLAIM = "WHERE kind = '{kind}' AND stream_id = '{row}'"
LISTS = ("LIVE_EXECUTION_CREDIT", "SCHEDULED_PART", "AUTO_RECHARGE", "RECHARGE", "THRESHOLD")
"""The kinds of claims that are JSON."""
SOLE = "stream_id FROM claims WHERE kind = '{kind}' GROUP BY stream_id HAVING count(*) = 1"
SECOND_RULE = "stream_id FROM claims WHERE kind = 'THRESHOLD' GROUP BY stream_id HAVING count(*) = 2"
"""A rule that was removed, whose threshold was reached in two months."""
TABLE_OF_LOTS = f"{LOTS.name}_{LOTS.build}"
FIRST_MODEL = f"'Read model {READ_MODELS[0].name} '"
MISSING = "'00000000-0000-0000-0000-000000000000'"


@pytest.fixture(scope="module")
def lived(server_dsn: str) -> Iterator[Database]:
    with lived_ledger(server_dsn) as database:
        yield database


FAULTS = [
    *(
        Fault(
            "open-lots", "open_lots", f"stream_id FROM {one}", f"DELETE FROM open_lots {OF_STREAM}",
            "'open_lots lacks the row of stream {row}'",
        )
        for one in (OPEN, LIVING)
    ),
    *(
        Fault(
            "open-lots", "open_lots", f"stream_id FROM {one}",
            "INSERT INTO open_lots SELECT stream_id, lot, kind, holder, currency, resource, 1 FROM events"
            f" {OF_STREAM} AND lot IS NOT NULL LIMIT 1",
            "'open_lots has a row for stream {row}, which'",
        )
        for one in (ENDED, DELETED)
    ),
    *(
        Fault(
            "open-lots", "open_lots", f"stream_id FROM {one}", f"UPDATE open_lots SET {to} {OF_STREAM}",
            "'open_lots has another row for stream {row} than'",
        )
        for one, to in [
            (OPEN, f"lot = {MISSING}"),
            (OPEN, "holder = 'else'"),
            (OPEN, "resource = 'else'"),
            (LIVING, "definition_version = definition_version + 1"),
            (LIVING, "definition_version = NULL"),
            (TURNED, "definition_version = definition_version - 2"),  # the one that asked for the turn
        ]
    ),
    *(
        Fault(
            "open-lots", "due", f"stream_id FROM due WHERE act = '{act}'", f"DELETE FROM due {OF_STREAM}",
            f"'due lacks the {act} of stream {{row}}'",
        )
        for act in ("EXPIRY", "RENEWAL", "SCHEDULE")
    ),
    *(
        Fault(
            "open-lots", "due", f"stream_id FROM {which}",
            f"INSERT INTO due SELECT '{{row}}', '{act}', due_at, kind, holder, currency FROM due LIMIT 1",
            f"'due has the {act} of stream {{row}}, which'",
        )
        for act, which in [
            ("EXPIRY", f"{UPDATED} AND lot_expires_at IS NULL"),
            ("SCHEDULE", f"{PLANS} AND version = 2"),
        ]
    ),
    Fault(
        "open-lots", "due", f"stream_id FROM {UPDATED} AND lot_expires_at > '2026-08-01'",
        "UPDATE due SET due_at = (SELECT lot_expires_at FROM movements WHERE stream_id = '{row}' AND version = 1)"
        f" {OF_STREAM}",
        "'due has another EXPIRY for stream {row} than'",
    ),
    *(
        Fault(
            "open-lots", "due", f"stream_id FROM {PLANS} AND {which}",
            f"UPDATE due SET due_at = due_at + interval '{late}' {OF_STREAM}",
            f"'due has another SCHEDULE for stream {{row}} than the log, which says: at ' || '{at}'::timestamptz",
        )
        for which, late, at in [
            ("definition #>> '{plan,cadence}' = 'MONTHLY'", "1 microsecond", "2026-06-30T00:00Z"),
            ("definition #>> '{plan,anchor_at}' LIKE '2024%'", "1 day", "2027-02-28T00:00Z"),
        ]
    ),
    Fault(
        "open-lots", "due", f"stream_id FROM {ENDED}",
        "INSERT INTO due SELECT '{row}', 'EXPIRY', due_at, kind, holder, currency FROM due LIMIT 1",
        "'due has the EXPIRY of stream {row}, which'",
    ),
    *(
        Fault(
            "open-lots", "due", "stream_id FROM due WHERE act = 'EXPIRY'", f"UPDATE due SET {to} {OF_STREAM}",
            f"'due has {said}'",
        )
        for to, said in (
            ("due_at = due_at + interval '1 microsecond'", "another EXPIRY for stream {row} than"),
            ("holder = 'else'", "another EXPIRY for stream {row} than"),
            ("act = 'ELSE'", "the ELSE of stream {row}, which"),
        )
    ),
    *(
        Fault(
            "claims", "claims", SOLE.replace("{kind}", kind), harm.replace("{kind}", kind),
            f"'claims {said} the {kind} of stream ' || {whose}",
        )
        for kind in ("GRANT_READABLE_ID", "ROLLED_OVER", "RULE_NAME", *LISTS)
        for harm, said, whose in [
            (f"DELETE FROM claims {CLAIM}", "lacks", "'{row}'"),
            (f"UPDATE claims SET value = 'else' {CLAIM}", "has", "'{row}, else, which'"),
            (f"UPDATE claims SET value = value || ' ' {CLAIM}", "has", "'{row}'"),
            ("INSERT INTO claims VALUES ('{kind}', '[\"else\", \"DAST\", \"ADDON\"]', '{row}')", "has", "'{row}'"),
            (f"INSERT INTO claims SELECT kind, value || ' ', {MISSING} FROM claims {CLAIM}", "has", MISSING),
        ]
    ),
    *(
        Fault(
            "claims", "claims", SOLE.replace("{kind}", kind),
            f"UPDATE claims SET value = E'{value}' {CLAIM}".replace("{kind}", kind),
            f"'claims has the {kind} of stream {{row}}, ' || E'{value}' || ', which'",
        )
        for kind in LISTS
        for value in (
            *('["\\\\u0000", 1]', '["\\\\ud83d", 1]', '["\\\\udc3b", 1]', '["\\n", 1]', '["\\\\x", 1]', '["a", 01]'),
            *('["a", 1', '["a"; 1]', "[]", "", '["a" 1]', '{{"a": 1}}', '["a", 1e999999]'),
        )
    ),
    Fault(
        "claims", "claims", SECOND_RULE, "DELETE FROM claims WHERE stream_id = '{row}' AND value LIKE '%2025-12%'",
        "'claims lacks the THRESHOLD of stream {row}, [\"{row}\", \"2025-12\"]'",
    ),
    Fault(
        "claims", "claims", SECOND_RULE,
        "UPDATE claims SET value = replace(value, '2026-01', '2026-02') WHERE stream_id = '{row}'",
        "'claims has the THRESHOLD of stream {row}, [\"{row}\", \"2026-02\"], which by the log it does not hold'",
    ),
    Fault(
        "claims", "claims", SECOND_RULE, "INSERT INTO claims VALUES ('RULE_NAME', 'former name', '{row}')",
        "'claims has the RULE_NAME of stream {row}, former name, which by the log it does not hold'",
    ),
    Fault(
        "claims", "claims", "stream_id FROM claims", "INSERT INTO claims VALUES ('ELSE', 'else', '{row}')",
        "'claims has the ELSE of stream {row}, else, which'",
    ),
    Fault(
        "claims", "claims", f"stream_id FROM {DELETED}",
        "INSERT INTO claims VALUES ('LIVE_EXECUTION_CREDIT', '[\"acme\", \"DAST\", \"ADDON\"]', '{row}')", "'{row}'",
    ),
    *(
        Fault(
            "idempotency", "idempotency", "key FROM idempotency WHERE key = 'open'",
            f"UPDATE idempotency SET {change} WHERE key = '{{row}}'", "'key {row} of open_execution_credit, '",
        )
        for change in (
            "position = 1000000", "position = position + 1", f"transaction_id = {MISSING}", "kind = 'CREDIT_GRANT'"
        )
    ),
    *(
        Fault(
            "documents", "documents", "id FROM documents", f"{harm} WHERE id = '{{row}}'",
            "(SELECT 'document {row} of position ' || position FROM movements WHERE document_id = '{row}' "
            f"ORDER BY position LIMIT 1) || '{said}'",
        )
        for harm, said in (
            ("DELETE FROM documents", " is missing"),
            ("UPDATE documents SET body = body || ' '", " has another text than its hash says"),
        )
    ),
    Fault(
        "documents", "documents", "id FROM documents",
        "UPDATE documents SET body = '', sha256 = encode(sha256(''), 'hex') WHERE id = '{row}'",
        "'document {row} has another hash than position '",
    ),
    *(
        Fault("documents", "events", where, EVENT.replace("{set}", f"data = jsonb_set(data, '{path}', {to})"), named)
        for where, path in [
            (CHANGED, "{{grant,texts,0}}"),
            (PAYMENT, "{{grant,texts,0}}"),
            (PAYMENT, "{{grant,payment,invoice,texts,0}}"),
        ]
        for to, named in [
            (f"to_jsonb({MISSING}::text)", f"'document ' || {MISSING} || ' of position ' || {{row}} || ' is missing'"),
            (
                "(SELECT to_jsonb(document_id) FROM movements WHERE document_id IS NOT NULL"
                " ORDER BY position DESC LIMIT 1)",
                "' is named by position ' || {row} || ', which no transaction up to there brought'",
            ),
        ]
    ),
    *(
        Fault(
            "documents", "events", where, EVENT.replace("{set}", f"data = jsonb_set(data, '{path}', '\"else\"')"),
            "' has another hash than position '",
        )
        for where, path in [
            (PAYMENT, "{{grant,texts,1}}"),
            (PAYMENT, "{{grant,payment,invoice,texts,1}}"),
        ]
    ),
    Fault(
        "documents", "documents", "gen_random_uuid()",
        "INSERT INTO documents VALUES ('{row}', '', encode(sha256(''), 'hex'))", "'{row}'",
    ),
    Fault(
        "documents", "events", "position FROM movements WHERE document_id IS NOT NULL",
        EVENT.replace("{set}", "data = jsonb_set(data, '{{document,sha256}}', '\"else\"')"),
        "(SELECT document_id FROM movements WHERE position = {row})",
    ),
    *(
        Fault("read-models", "projections", "name FROM projections", f"UPDATE projections SET {change}", FIRST_MODEL)
        for change in ("error = 'division by zero'", "position = position + 1")
    ),
    Fault(
        "read-model-rows", TABLE_OF_LOTS, f"lot FROM {TABLE_OF_LOTS}",
        f"UPDATE {TABLE_OF_LOTS} SET granted = granted + 1, used = used + 1 WHERE lot = '{{row}}'",
        "'lot={row}: granted is '",
    ),
    Fault(
        "read-model-rows", TABLE_OF_LOTS, f"lot FROM {TABLE_OF_LOTS}",
        f"DELETE FROM {TABLE_OF_LOTS} WHERE lot = '{{row}}'", "'lot={row} is missing'",
    ),
    Fault(
        "clock", "test_clock", "max(position) FROM events",
        "UPDATE test_clock SET instant = instant - interval '6 seconds'", "'position ' || {row} || ', was recorded'",
    ),
    Fault(
        "epochs", "log_meta", "gen_random_uuid()", "UPDATE log_meta SET epoch = '{row}'",
        "'the log is of epoch {row}, which is not the last one'",
    ),
    Fault(
        "epochs", "epochs", "max(position) + 1 FROM events", "UPDATE epochs SET began_after = {row}",
        "'epoch 1 began after position {row}, but the log ends at ' || {row} - 1",
    ),
    Fault(
        "migrations", "migrations", "max(name) FROM migrations", "DELETE FROM migrations WHERE name = '{row}'",
        "'{row} has not been applied'",
    ),
    Fault(
        "migrations", "migrations", "max(name) FROM migrations",
        "UPDATE migrations SET sha256 = 'else' WHERE name = '{row}'", "'{row} was applied with another text'",
    ),
    Fault(
        "migrations", "migrations", "'9999_later.sql'", "INSERT INTO migrations SELECT '{row}', '', now()",
        "'{row} was applied, and this version does not know it'",
    ),
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=[f"{fault.check}-{place}" for place, fault in enumerate(FAULTS)])
def test_a_fault_in_a_table_is_found_and_named(lived: Database, fault: Fault) -> None:
    fault.is_found_in(lived)
