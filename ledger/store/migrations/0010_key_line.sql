-- An accepted key as a writer sends it: the columns of `idempotency` in their order, for the reason that `event_line` has.
CREATE TYPE key_line AS (
    holder             text,
    key                text,
    operation          text,
    kind               text,
    body               text,
    normaliser_version smallint,
    transaction_id     uuid,
    position           bigint
);
