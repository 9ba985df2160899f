CREATE TABLE {table} (
    configuration uuid PRIMARY KEY,
    holder        text        NOT NULL,
    currency      text        NOT NULL,
    settings      jsonb       NOT NULL,
    done          jsonb       NOT NULL,
    created_at    timestamptz NOT NULL,
    saved_at      timestamptz NOT NULL,
    UNIQUE (holder, currency)
);
