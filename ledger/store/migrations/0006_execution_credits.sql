-- An execution credit has a lot for each of its billing periods in one stream, so where the last event about one of them
-- stands, or its definition and its present lot at some version, does not follow from the stream's versions. Events of
-- credit grants are in neither index.
CREATE INDEX events_credit_lot ON events (lot, version) WHERE kind = 'EXECUTION_CREDIT' AND lot IS NOT NULL;
CREATE INDEX events_credit_state ON events (stream_id, type, version)
    WHERE kind = 'EXECUTION_CREDIT' AND type IN ('ledger.execution-credit-defined', 'ledger.granted');
