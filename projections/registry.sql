-- Which builds of which read models there are, and how far each has come. A version is the hash of a read model's two
-- texts; the first build of a version is called by it alone, a later one by it and a number. Of each version one build
-- serves; a shadow is being made beside it, and what served before is kept until somebody prunes it.
-- No column is added that would make the table be written anew: readers of a former version may be waiting.
CREATE TABLE IF NOT EXISTS projections (
    name       text   NOT NULL,
    version    text   NOT NULL,
    schema_sql text   NOT NULL,
    fold_sql   text   NOT NULL,
    position   bigint NOT NULL DEFAULT 0,
    error      text,
    PRIMARY KEY (name, version)
);
ALTER TABLE projections
    ADD COLUMN IF NOT EXISTS number integer NOT NULL DEFAULT 1,
    ADD COLUMN IF NOT EXISTS stage text NOT NULL DEFAULT 'serving' CHECK (stage IN ('serving', 'shadow', 'kept')),
    ADD COLUMN IF NOT EXISTS replaced_by text,
    ADD COLUMN IF NOT EXISTS error_position bigint,
    ADD COLUMN IF NOT EXISTS events_per_second double precision;
CREATE UNIQUE INDEX IF NOT EXISTS projections_serving ON projections (name, split_part(version, '_', 1))
    WHERE stage = 'serving';

-- The read models that nobody follows or rebuilds until they are resumed.
CREATE TABLE IF NOT EXISTS projection_pauses (
    name      text PRIMARY KEY,
    paused_at timestamptz NOT NULL,
    paused_by text        NOT NULL
);

-- The events that a read model leaves out, for ever: every fold and every verification does.
CREATE TABLE IF NOT EXISTS projection_skips (
    name       text,
    position   bigint,
    reason     text        NOT NULL,
    skipped_at timestamptz NOT NULL,
    skipped_by text        NOT NULL,
    PRIMARY KEY (name, position)
);
