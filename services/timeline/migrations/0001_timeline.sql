-- The timeline service: what readers told us about their reading. Timelines themselves are kept nowhere
-- durably: they are rebuilt from the logs.

-- How far somebody has read, by person and by the microblog that their token acts as.
CREATE TABLE marker (
  person_shard int2 NOT NULL,
  person_id uuid NOT NULL,
  microblog_id uuid NOT NULL,
  timeline text NOT NULL CHECK (timeline IN ('home', 'notifications')),
  last_read_id int8 NOT NULL CHECK (last_read_id >= 0),
  version int4 NOT NULL DEFAULT 1,
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT marker_key PRIMARY KEY (person_shard, person_id, microblog_id, timeline)
);
