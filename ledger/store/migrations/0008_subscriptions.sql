-- What downstream services subscribe by: the epochs of the log, and the webhooks they are called at.

-- Every epoch there was, in their order. An epoch holds the events after `began_after`, up to where the next one begins;
-- what a former epoch had beyond that is gone. The last one is that of log_meta.
CREATE TABLE epochs (
    number      integer PRIMARY KEY CHECK (number > 0),
    epoch       uuid        NOT NULL UNIQUE,
    began_after bigint      NOT NULL CHECK (began_after >= 0),
    began_at    timestamptz,
    began_by    text,
    reason      text
);
INSERT INTO epochs (number, epoch, began_after) SELECT 1, epoch, 0 FROM log_meta;

COMMENT ON COLUMN epochs.began_at IS 'When and by whom it was begun; not known of a ledger''s first one.';

-- Where subscribers want to be called. The types, holders and currencies it is called for; none: all. `position`: up to
-- there the log has been looked through for it.
CREATE TABLE webhook_endpoints (
    id           text COLLATE "C" PRIMARY KEY,
    url          text        NOT NULL,
    description  text        NOT NULL,
    types        text[]      NOT NULL,
    holders      text[]      NOT NULL,
    currencies   text[]      NOT NULL,
    position     bigint      NOT NULL,
    created_at   timestamptz NOT NULL,
    disabled_at  timestamptz,
    disabled_why text,
    revision     integer     NOT NULL DEFAULT 1
);
COMMENT ON COLUMN webhook_endpoints.revision IS 'Changes whenever anything about it is changed; who delivers begins anew then.';

-- What its messages are signed with: the newest, and those it replaced until they are good no more.
CREATE TABLE webhook_secrets (
    endpoint_id text        NOT NULL REFERENCES webhook_endpoints ON DELETE CASCADE,
    secret      text        NOT NULL,
    created_at  timestamptz NOT NULL,
    good_until  timestamptz,
    PRIMARY KEY (endpoint_id, secret)
);

-- Messages that wait to be delivered, in order for each holder, and those that were given up: parked.
CREATE TABLE webhook_messages (
    endpoint_id text    NOT NULL REFERENCES webhook_endpoints ON DELETE CASCADE,
    position    bigint  NOT NULL,
    holder      text    NOT NULL,
    attempts    integer NOT NULL DEFAULT 0,
    parked_at   timestamptz,
    error       text,
    PRIMARY KEY (endpoint_id, position)
);
CREATE INDEX webhook_messages_parked ON webhook_messages (endpoint_id, position) WHERE parked_at IS NOT NULL;

-- The holders whose messages an endpoint does not take at present: how often it was tried since it took one, and for how
-- long, by the machine's monotonic clock while somebody delivered.
CREATE TABLE webhook_troubles (
    endpoint_id     text             NOT NULL REFERENCES webhook_endpoints ON DELETE CASCADE,
    holder          text             NOT NULL,
    attempts        integer          NOT NULL,
    failing_seconds double precision NOT NULL,
    error           text             NOT NULL,
    PRIMARY KEY (endpoint_id, holder)
);

-- The attempts of the last days. `attempt` counts those of one message. `status` is what the endpoint answered; none: it
-- did not answer, and `error` says why.
CREATE TABLE webhook_attempts (
    number       bigint GENERATED ALWAYS AS IDENTITY,
    endpoint_id  text        NOT NULL REFERENCES webhook_endpoints ON DELETE CASCADE,
    position     bigint      NOT NULL,
    attempt      integer     NOT NULL,
    attempted_at timestamptz NOT NULL,
    milliseconds integer     NOT NULL,
    status       smallint,
    error        text,
    PRIMARY KEY (endpoint_id, number)
);
