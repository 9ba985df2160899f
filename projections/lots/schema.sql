CREATE TABLE {table} (
    lot              uuid PRIMARY KEY,
    stream_id        uuid NOT NULL,
    kind             text NOT NULL,
    holder           text NOT NULL,
    currency         text NOT NULL,
    resource         text,
    grant_type       text,
    readable_id      text,
    cost_amount      numeric(38, 9),
    cost_currency    text,
    document_id      uuid,
    effective_at     timestamptz NOT NULL,
    expires_at       timestamptz,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    priority         numeric(38, 9) NOT NULL,
    awaiting_payment boolean NOT NULL,
    granted          numeric(38, 9) NOT NULL,
    used             numeric(38, 9) NOT NULL,
    voided           numeric(38, 9) NOT NULL,
    expired          numeric(38, 9) NOT NULL,
    balance          numeric(38, 9) NOT NULL,
    voided_at        timestamptz,
    lowered          numeric(38, 9) NOT NULL, -- of what is void, what a smaller allotment took
    opened_at        timestamptz, -- when an awaited payment was recorded; none: none was ever awaited
    details          jsonb,
    rolled_over_to   uuid,
    first_position   bigint NOT NULL,
    last_position    bigint NOT NULL,
    CHECK (granted - used - voided - expired = balance AND balance >= 0)
);
CREATE INDEX ON {table} (holder, kind, first_position);
CREATE UNIQUE INDEX ON {table} (readable_id) WHERE readable_id IS NOT NULL;
