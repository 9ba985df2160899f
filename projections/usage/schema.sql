-- One table in three grains: each use counts in its UTC day, in its UTC hour and at its own instant. A sum over any
-- window reads whole days, whole hours at the two edges, and single instants in the two hours that are cut.
-- No resource is the empty text here, and no dimensions are the nil UUID: an index can look them up.
CREATE TABLE {table} (
    kind          text           NOT NULL,
    holder        text           NOT NULL,
    resource      text           NOT NULL,
    grain         text           NOT NULL,
    bucket_at     timestamptz    NOT NULL,
    currency      text           NOT NULL,
    dimension_set uuid           NOT NULL,
    used          numeric(38, 9) NOT NULL CHECK (used >= 0),
    PRIMARY KEY (holder, kind, resource, grain, bucket_at, currency, dimension_set)
);
