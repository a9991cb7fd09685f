-- Logs that are merged when reading: their entries move the cursor and are not pushed. Written after microblog knows
-- it, and before the first cursor that moves without a push.
CREATE TABLE merged (
  log_shard int2 NOT NULL,
  log_id uuid NOT NULL,
  since timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT merged_key PRIMARY KEY (log_shard, log_id)
);
