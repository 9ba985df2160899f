-- Who may use the doors. A key's secret is random and kept as its hash alone; a revoked key stays, for the record.

CREATE TABLE api_keys (
    id         text COLLATE "C" PRIMARY KEY,
    name       text        NOT NULL,
    role       text        NOT NULL CHECK (role IN ('admin', 'writer', 'reader', 'auditor')),
    holders    text[],
    sha256     text        NOT NULL UNIQUE,
    created_at timestamptz NOT NULL,
    revoked_at timestamptz,
    CHECK (holders IS NULL OR cardinality(holders) > 0)
);

COMMENT ON COLUMN api_keys.holders IS 'The customers and companies this key may see and act for; none: all.';
