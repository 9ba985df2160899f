-- No resource is the empty text here: an index can look it up, and no resource has that name.
CREATE TABLE {table} (
    kind     text   NOT NULL,
    holder   text   NOT NULL,
    resource text   NOT NULL,
    currency text   NOT NULL,
    type     text   NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (holder, kind, resource, currency, type, position)
);
