-- Allocation rules, and those who follow the log to tell what comes of it.

-- How far each reactor that must miss nothing has followed the log: all that came of the events up to there is written.
CREATE TABLE followed (
    reactor  text PRIMARY KEY,
    position bigint NOT NULL
);

-- What the tokens of a login and the tokens of pages are signed with, the same in all processes. Never shown to readers.
CREATE TABLE token_secret (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    secret   text NOT NULL DEFAULT gen_random_uuid()::text || gen_random_uuid()::text
);
INSERT INTO token_secret DEFAULT VALUES;

-- The id of a set of account groups: 128 bits of a hash of the sorted ids, as the log has them.
CREATE FUNCTION group_set_of(account_groups text[]) RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
    RETURN encode(substr(sha256(convert_to(account_groups::text, 'UTF8')), 1, 16), 'hex')::uuid;

COMMENT ON TABLE claims IS 'What only one stream may hold: readable ids, live execution credits, parts, remainders, recharges, names of rules, months in which a threshold was reached.';
