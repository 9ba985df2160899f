CREATE TABLE {table} (
    kind     text NOT NULL,
    holder   text NOT NULL,
    currency text NOT NULL,
    resource text,
    granted  numeric(38, 9) NOT NULL,
    debited  numeric(38, 9) NOT NULL,
    refunded numeric(38, 9) NOT NULL,
    voided   numeric(38, 9) NOT NULL,
    expired  numeric(38, 9) NOT NULL,
    balance  numeric(38, 9) NOT NULL,
    position bigint NOT NULL,
    UNIQUE NULLS NOT DISTINCT (holder, currency, kind, resource),
    CHECK (granted - debited + refunded - voided - expired = balance AND balance >= 0)
);
