CREATE TABLE {table} (
    schedule    uuid   PRIMARY KEY,
    holder      text   NOT NULL,
    currency    text   NOT NULL,
    resource    text,
    plan        jsonb  NOT NULL,
    document_id uuid,
    position    bigint NOT NULL
);
CREATE INDEX ON {table} (holder, position);
