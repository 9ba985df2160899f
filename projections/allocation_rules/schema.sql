-- A row for each version of a rule, in force from one position until the next (none: to this day).
CREATE TABLE {table} (
    rule            uuid    NOT NULL,
    from_position   bigint  NOT NULL,
    until_position  bigint,
    name            text    COLLATE "C" NOT NULL,
    account_groups  text[]  NOT NULL,
    allocated       integer NOT NULL,
    alarm_threshold integer NOT NULL,
    currency        text,
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (rule, from_position)
);
CREATE INDEX ON {table} (name, rule) WHERE until_position IS NULL;
CREATE INDEX ON {table} (until_position); -- the rules there were at a position: few of them have ended since
