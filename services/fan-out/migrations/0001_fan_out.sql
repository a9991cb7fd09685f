-- The fan-out service: who reads which log here, and how far it is in each log.
--
-- Everything is a replica of own logs and can be made again by reading them from their floors. Every
-- key begins with log_shard, the shard of the microblog: a log's followers, cursor, parked row and jobs
-- are in one database, and one transaction moves them.

-- Local persons who read a log. The key is the order in which a large audience is walked through.
CREATE TABLE follower (
  log_shard int2 NOT NULL,
  log_id uuid NOT NULL,
  person_shard int2 NOT NULL,
  person_id uuid NOT NULL,
  via uuid,                                    -- the microblog shown as the follower
  own_number int8 NOT NULL,                    -- the happening in the own log that says so
  CONSTRAINT follower_key PRIMARY KEY (log_shard, log_id, person_shard, person_id)
);

-- Everything up to `number` has had its effect. Moved after the effect, never back.
CREATE TABLE cursor (
  log_shard int2 NOT NULL,
  log_id uuid NOT NULL,
  epoch_no int4 NOT NULL,
  number int8 NOT NULL CHECK (number >= 0),
  CONSTRAINT cursor_key PRIMARY KEY (log_shard, log_id, epoch_no)
);

-- Logs that stand still: (cursor, wanted] is fetched and applied when next_attempt has come.
CREATE TABLE parked (
  log_shard int2 NOT NULL,
  log_id uuid NOT NULL,
  epoch_no int4 NOT NULL,
  number int8 NOT NULL,                        -- the first that could not be taken
  wanted int8 NOT NULL,                        -- the highest that was heard of
  cause text NOT NULL,
  attempts int4 NOT NULL DEFAULT 0,
  next_attempt timestamptz NOT NULL DEFAULT now(),
  since timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT parked_key PRIMARY KEY (log_shard, log_id, epoch_no)
);
CREATE INDEX parked_next ON parked (next_attempt);

-- Ids still to be pushed to a range of a log's followers. Inserted in the transaction that moves the
-- cursor past them, deleted when the range is done; `after` is as far as pushing surely came.
CREATE TABLE job (
  log_shard int2 NOT NULL,
  job_id uuid NOT NULL,
  log_id uuid NOT NULL,
  ids int8[] NOT NULL,                         -- rising
  from_person_shard int2 NOT NULL,
  to_person_shard int2 NOT NULL,               -- inclusive
  after_person_shard int2,
  after_person_id uuid,
  lease uuid,
  leased_until timestamptz NOT NULL DEFAULT '-infinity',
  attempts int4 NOT NULL DEFAULT 0,
  since timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT job_key PRIMARY KEY (log_shard, job_id)
);
CREATE INDEX job_turn ON job (leased_until, since);
