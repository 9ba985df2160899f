-- The log: one row for each event, in commit order. Rows are never changed; see 0002 for who may do what.
-- Typed columns hold every fact that a fold needs; `data` holds only what has no column.

CREATE TABLE events (
    position         bigint      NOT NULL,
    transaction_last bigint      NOT NULL,
    stream_id        uuid        NOT NULL,
    version          integer     NOT NULL,
    type             text        NOT NULL,
    schema_version   smallint    NOT NULL,
    transaction_id   uuid        NOT NULL,
    recorded_at      timestamptz NOT NULL,
    actor_kind       text        NOT NULL,
    actor_key        text        NOT NULL,
    correlation_id   text,
    causation_id     text,
    effective_at     timestamptz,
    use_at           timestamptz,
    cause            text,
    kind             text,
    holder           text,
    currency         text,
    resource         text,
    grant_type       text,
    lot              uuid,
    amount           numeric(38, 9),
    debit_id         uuid,
    account_groups   text[],
    terms_version    integer,
    lot_granted      numeric(38, 9),
    lot_used         numeric(38, 9),
    lot_balance      numeric(38, 9),
    pool_balance     numeric(38, 9),
    data             jsonb       NOT NULL,
    CONSTRAINT events_position PRIMARY KEY (position),
    CONSTRAINT events_stream UNIQUE (stream_id, version),
    CONSTRAINT events_transaction_last CHECK (transaction_last >= position),
    CONSTRAINT events_lot_law CHECK (
        lot_balance >= 0 AND lot_used >= 0 AND pool_balance >= lot_balance AND lot_used + lot_balance <= lot_granted
    )
);

CREATE INDEX events_debit ON events (debit_id) WHERE debit_id IS NOT NULL;

COMMENT ON TABLE events IS 'The log of the ledger: append-only, one row for each event, gapless positions in commit order.';
COMMENT ON COLUMN events.transaction_last IS 'Position of the last event of the same transaction: a window of the log ends here, never inside.';
COMMENT ON COLUMN events.terms_version IS 'The version in this stream whose event holds the terms of this lot in force.';
COMMENT ON COLUMN events.amount IS 'Signed credits: + Granted, Refunded; - Debited, Voided, Expired.';

-- Free text and metadata. Events carry id and hash; a document can be erased, and every law and hash still holds.
CREATE TABLE documents (
    id     uuid PRIMARY KEY,
    body   text NOT NULL,
    sha256 text NOT NULL
);

-- Values that only one stream may hold: readable ids of grants, the live credit of a company and type.
CREATE TABLE claims (
    kind      text COLLATE "C" NOT NULL,
    value     text COLLATE "C" NOT NULL,
    stream_id uuid NOT NULL,
    PRIMARY KEY (kind, value)
);

-- The lot of each stream that may still pay: a grant's while it has a balance, an execution credit's present one while
-- the credit lives. An ordinary debit touches no row here.
CREATE TABLE open_lots (
    stream_id          uuid PRIMARY KEY,
    lot                uuid NOT NULL,
    kind               text NOT NULL,
    holder             text NOT NULL,
    currency           text NOT NULL,
    resource           text,
    definition_version integer
);
CREATE INDEX open_lots_pool ON open_lots (holder, currency, kind);

-- What will fall due when: the end of an open grant, the renewal of an execution credit.
CREATE TABLE due (
    stream_id uuid NOT NULL,
    act       text NOT NULL,
    due_at    timestamptz NOT NULL,
    kind      text NOT NULL,
    holder    text NOT NULL,
    currency  text NOT NULL,
    resource  text,
    PRIMARY KEY (stream_id, act)
);
CREATE INDEX due_by_instant ON due (due_at);

-- Which command was accepted under which key, with the body it had; the answer is read from the log at `position`.
CREATE TABLE idempotency (
    holder             text COLLATE "C" NOT NULL,
    key                text COLLATE "C" NOT NULL,
    operation          text COLLATE "C" NOT NULL,
    kind               text COLLATE "C" NOT NULL,
    body               text NOT NULL,
    normaliser_version smallint NOT NULL,
    transaction_id     uuid NOT NULL,
    position           bigint NOT NULL,
    CONSTRAINT idempotency_key PRIMARY KEY (holder, key, operation, kind)
);

-- One row: which ledger this is, and which epoch of it. A restore makes a new epoch.
CREATE TABLE log_meta (
    only_row  boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    ledger_id uuid NOT NULL DEFAULT gen_random_uuid(),
    epoch     uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO log_meta DEFAULT VALUES;

-- The instant of the test clock, shared by all processes. Read only in test mode; no row: the real time.
CREATE TABLE test_clock (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    instant  timestamptz NOT NULL
);
