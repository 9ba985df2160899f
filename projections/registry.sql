-- Which versions of which read models there are, and how far each has come. A version is the hash of its two texts.
CREATE TABLE IF NOT EXISTS projections (
    name       text   NOT NULL,
    version    text   NOT NULL,
    schema_sql text   NOT NULL,
    fold_sql   text   NOT NULL,
    position   bigint NOT NULL DEFAULT 0,
    error      text,
    PRIMARY KEY (name, version)
);
