-- Hashtags of public posts: a projection of our own consumer, moved with its cursor. Whether a post is
-- shown is decided when reading; a row here only says where to look. Posts of before are not in it.
CREATE TABLE tagging (
  log_shard int2 NOT NULL,
  id int8 NOT NULL,                            -- of the post
  tag text NOT NULL,                           -- folded, without #
  CONSTRAINT tagging_key PRIMARY KEY (log_shard, id, tag)
);
CREATE INDEX tagging_recent ON tagging (tag text_pattern_ops, id);
