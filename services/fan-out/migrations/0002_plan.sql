-- What has been delivered within the last hour, so that it can be pushed again to a store that lost its
-- last writes; and jobs in turns.

-- Written by the transaction that moves the cursor past the entries (or ends the job) that were pushed.
CREATE TABLE plan (
  log_shard int2 NOT NULL,
  plan_id uuid NOT NULL DEFAULT gen_random_uuid(),
  log_id uuid NOT NULL,
  number int8,                                 -- of the last entry; NULL: by a job
  lane int2 NOT NULL,                          -- delivery lane
  position int8 NOT NULL,                      -- of the last push in that lane: Unix ms * 2^20, and a count
  ids int8[] NOT NULL,                         -- what was pushed, rising
  from_person_shard int2 NOT NULL DEFAULT 0,
  to_person_shard int2 NOT NULL DEFAULT 1023,  -- inclusive
  persons uuid[] NOT NULL DEFAULT '{}',        -- whose timelines were removed
  CONSTRAINT plan_key PRIMARY KEY (log_shard, plan_id)
);
CREATE INDEX plan_position ON plan (position);

-- Rows come and go all the time.
ALTER TABLE plan SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
ALTER TABLE job SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, fillfactor = 50);
