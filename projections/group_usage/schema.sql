-- One table in four grains: the uses of each UTC day, hour and ten minutes are summed up, and at its own instant each
-- debit or refund has a row for itself, by its position. An index holds all that is asked of the instants; the buckets
-- have one that a change leaves alone.
CREATE TABLE {table} (
    grain     text           NOT NULL,
    bucket_at timestamptz    NOT NULL,
    position  bigint,
    currency  text           NOT NULL,
    group_set uuid           NOT NULL,
    used      numeric(38, 9) NOT NULL
);
CREATE UNIQUE INDEX ON {table} (grain, bucket_at, currency, group_set) WHERE grain <> 'INSTANT';
CREATE INDEX ON {table} (bucket_at) INCLUDE (currency, group_set, used) WHERE grain = 'INSTANT';
