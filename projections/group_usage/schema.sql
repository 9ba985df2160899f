-- One table in four grains: each use counts in its UTC day, hour and ten minutes, and at its own instant. The instants
-- have an index that holds all there is of them; the buckets have one that a change leaves alone.
CREATE TABLE {table} (
    grain     text           NOT NULL,
    bucket_at timestamptz    NOT NULL,
    currency  text           NOT NULL,
    group_set uuid           NOT NULL,
    used      numeric(38, 9) NOT NULL
);
CREATE UNIQUE INDEX ON {table} (grain, bucket_at, currency, group_set) WHERE grain <> 'INSTANT';
CREATE UNIQUE INDEX ON {table} (bucket_at, currency, group_set) INCLUDE (used) WHERE grain = 'INSTANT';
