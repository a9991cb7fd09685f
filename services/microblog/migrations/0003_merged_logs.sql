-- Logs with so many readers here that their posts are not written into each timeline but merged when one is
-- read. Fan-out says so (microblog.merge-log); a log stays in it.
CREATE TABLE merged_log (
  log_shard int2 NOT NULL,
  log_id uuid NOT NULL,
  since timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT merged_log_key PRIMARY KEY (log_shard, log_id)
);
