-- One row for each credit there ever was; `lot` is its present billing period, as far as that is recorded.
CREATE TABLE {table} (
    credit           uuid           PRIMARY KEY,
    company          text           NOT NULL,
    credit_type      text           NOT NULL,
    rollup_type      text           NOT NULL,
    next_rollup_type text,
    credits          numeric(38, 9) NOT NULL,
    anchor_at        timestamptz    NOT NULL,
    first_month      integer        NOT NULL,
    created_at       timestamptz    NOT NULL,
    updated_at       timestamptz    NOT NULL,
    deleted_at       timestamptz,
    document_id      uuid,
    lot              uuid           NOT NULL,
    ends_at          timestamptz,
    used             numeric(38, 9) NOT NULL CHECK (used >= 0),
    version          integer        NOT NULL
);
CREATE INDEX ON {table} (created_at, credit) WHERE deleted_at IS NULL;
CREATE INDEX ON {table} (company, created_at, credit) WHERE deleted_at IS NULL;
