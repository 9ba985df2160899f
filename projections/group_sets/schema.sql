-- A set never changes, so a row is written once.
CREATE TABLE {table} (
    group_set      uuid   PRIMARY KEY,
    account_groups text[] NOT NULL
);
