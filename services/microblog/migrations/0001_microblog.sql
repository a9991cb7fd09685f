-- The microblog service: microblogs, their logs, who may read them, and what follows from both.
--
-- Every primary and unique key begins with its shard (one of 1,024), so that the same tables run on
-- one Postgres, on several, or sharded by any tool; no statement and no transaction crosses shards.
-- log_shard is the shard of the microblog id for all its logs; person_shard that of the person id.
-- Numbers, ids and hashes are permanent from the first row on; see libs/protocol/SPEC.md.

-- Who has which handle. A directory row: it lives at the hash of its own key, since (domain, handle)
-- must be unique over all shards. A handle that was used is never given again.
CREATE TABLE handle (
  handle_shard int2 NOT NULL,
  domain_id uuid NOT NULL,
  handle text NOT NULL,
  state text NOT NULL CHECK (state IN ('reserved', 'confirmed', 'retired')),
  reservation text,
  reserved_until timestamptz,
  microblog_id uuid,
  CONSTRAINT handle_key PRIMARY KEY (handle_shard, domain_id, handle)
);

CREATE TABLE microblog (
  log_shard int2 NOT NULL,
  microblog_id uuid NOT NULL,
  domain_id uuid NOT NULL,
  domain text NOT NULL,                        -- A-label (and port under localhost)
  handle text NOT NULL,
  account_id int8 NOT NULL,                    -- the id in the client API: same form as post ids
  kind text NOT NULL CHECK (kind IN ('personal', 'group')),
  personal_of uuid,                            -- the person, for a personal one; private
  title text NOT NULL DEFAULT '',
  summary text NOT NULL DEFAULT '',            -- plain text; HTML is made when presenting
  fields jsonb NOT NULL DEFAULT '[]',
  locked boolean NOT NULL DEFAULT false,       -- follows are asked, not taken
  discoverable boolean NOT NULL DEFAULT true,
  private_to text NOT NULL DEFAULT 'all-followers' CHECK (private_to IN ('all-followers', 'approved')),
  history text NOT NULL DEFAULT 'all' CHECK (history IN ('all', 'since-accept')),
  servers text NOT NULL DEFAULT 'any' CHECK (servers IN ('any', 'this', 'list')),
  default_visibility text NOT NULL DEFAULT 'public' CHECK (default_visibility IN ('public', 'unlisted', 'private', 'direct')),
  default_sensitive boolean NOT NULL DEFAULT false,
  default_language text,
  state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'suspended', 'closed')),
  created timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT microblog_key PRIMARY KEY (log_shard, microblog_id)
);
CREATE UNIQUE INDEX microblog_account ON microblog (log_shard, account_id);
CREATE INDEX microblog_handle ON microblog (domain_id, handle text_pattern_ops);

-- Changed only together with an entry of the microblog's own log, in one transaction.
CREATE TABLE contributor (
  log_shard int2 NOT NULL,
  microblog_id uuid NOT NULL,
  person_id uuid NOT NULL,
  person_shard int2 NOT NULL,
  role text NOT NULL CHECK (role IN ('owner', 'editor', 'author')),
  attributed boolean NOT NULL DEFAULT false,
  since timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT contributor_key PRIMARY KEY (log_shard, microblog_id, person_id)
);
-- The same by person: a projection of our own consumer (and written at sign-up at once).
CREATE TABLE contribution (
  person_shard int2 NOT NULL,
  person_id uuid NOT NULL,
  microblog_id uuid NOT NULL,
  log_shard int2 NOT NULL,
  role text NOT NULL CHECK (role IN ('owner', 'editor', 'author')),
  personal boolean NOT NULL,
  CONSTRAINT contribution_key PRIMARY KEY (person_shard, person_id, microblog_id)
);

-- Who may see which facet of a microblog. No row: nobody.
CREATE TABLE access (
  log_shard int2 NOT NULL,
  microblog_id uuid NOT NULL,
  facet text NOT NULL,
  audience text NOT NULL CHECK (audience IN ('everybody', 'signed-in', 'followers', 'contributors', 'nobody')),
  CONSTRAINT access_key PRIMARY KEY (log_shard, microblog_id, facet)
);

CREATE TABLE log (
  log_shard int2 NOT NULL,
  log_id uuid NOT NULL,                        -- ours; an alias of ours for a replica
  origin_log_id uuid NOT NULL,                 -- drawn by the origin: address, wire, first hash
  domain_id uuid NOT NULL,
  microblog_id uuid,
  from_domain uuid,
  to_domain uuid,
  audience text NOT NULL CHECK (audience IN ('public', 'followers', 'direct', 'own', 'mail')),
  epoch_no int4 NOT NULL DEFAULT 1,            -- the current epoch
  floor int8 NOT NULL DEFAULT 0,
  state text NOT NULL DEFAULT 'ours' CHECK (state IN ('ours', 'replica', 'frozen', 'closed')),
  CONSTRAINT log_key PRIMARY KEY (log_shard, log_id)
);
CREATE UNIQUE INDEX log_of_microblog ON log (log_shard, microblog_id, audience) WHERE microblog_id IS NOT NULL;

CREATE TABLE epoch (
  log_shard int2 NOT NULL,
  log_id uuid NOT NULL,
  epoch_no int4 NOT NULL,
  epoch uuid NOT NULL,                         -- 128 random bits
  previous uuid,
  fork int8 NOT NULL DEFAULT 0,                -- numbering goes on at fork + 1
  fork_hash bytea,
  signature bytea,
  CONSTRAINT epoch_key PRIMARY KEY (log_shard, log_id, epoch_no)
);

-- The numbered logs. The primary key is the lock under which numbers are given.
CREATE TABLE entry (
  log_shard int2 NOT NULL,
  log_id uuid NOT NULL,
  epoch_no int4 NOT NULL,
  number int8 NOT NULL,
  id int8,                                     -- post id, or notification id; null once taken over by a newer epoch
  kind int2 NOT NULL,
  object_id uuid NOT NULL,
  envelope bytea NOT NULL,
  body bytea,                                  -- null when erased
  -- What we keep beside the bytes, for ourselves; never replicated, gone with the body where it names somebody.
  about int8,                                  -- edit, delete, unboost: number of the post in this log and epoch
  what text,                                   -- happenings: the closed table of libs/protocol
  listed boolean NOT NULL DEFAULT false,       -- a public post that public timelines and search may show
  reply_to int8,                               -- id of the post replied to; of a happening: of the post that it shows
  reply_to_microblog uuid,                     -- whose post that is; of a happening: the microblog that did it
  person_id uuid,                              -- the contributor who wrote it
  CONSTRAINT entry_key PRIMARY KEY (log_shard, log_id, epoch_no, number)
);
CREATE UNIQUE INDEX entry_id ON entry (log_shard, id) WHERE id IS NOT NULL;
-- Of every kind: whoever lost the connection in a commit asks by object id whether it happened.
CREATE UNIQUE INDEX entry_object ON entry (log_shard, object_id, log_id, epoch_no);
CREATE INDEX entry_post ON entry (log_shard, log_id, id) INCLUDE (number) WHERE kind IN (1, 4) AND id IS NOT NULL;
CREATE INDEX entry_about ON entry (log_shard, log_id, epoch_no, about) WHERE about IS NOT NULL;
CREATE INDEX entry_happening ON entry (log_shard, log_id, id) WHERE kind = 9 AND id IS NOT NULL;
CREATE INDEX entry_listed ON entry (id) WHERE listed;

-- An append that is repeated is answered with what it made the first time. scope: a token (48 h), or
-- the log that a happening comes from (kept for ever: a replay doubles nothing).
CREATE TABLE append_key (
  log_shard int2 NOT NULL,
  scope uuid NOT NULL,                         -- of the token or the log, or a hash of what is no uuid
  key text NOT NULL,
  log_id uuid NOT NULL,
  epoch_no int4 NOT NULL,
  number int8 NOT NULL,
  id int8 NOT NULL,
  expires timestamptz,
  CONSTRAINT append_key_key PRIMARY KEY (log_shard, scope, key)
);
CREATE INDEX append_key_expires ON append_key (expires) WHERE expires IS NOT NULL;

-- Head hashes of the logs that may leave the server, computed in order by our own consumer;
-- checkpoints are signed over them.
CREATE TABLE log_hash (
  log_shard int2 NOT NULL,
  log_id uuid NOT NULL,
  epoch_no int4 NOT NULL,
  number int8 NOT NULL,
  hash bytea NOT NULL,
  CONSTRAINT log_hash_key PRIMARY KEY (log_shard, log_id, epoch_no, number)
);

-- The only authority for who reads a log. A follow is one row on the public log and, once asked,
-- one on the followers log; the person of a personal microblog has both from the start, not shown.
CREATE TABLE grants (
  log_shard int2 NOT NULL,
  log_id uuid NOT NULL,
  reader_kind text NOT NULL CHECK (reader_kind IN ('person', 'microblog', 'domain')),
  reader_id uuid NOT NULL,
  reader_shard int2 NOT NULL,
  via uuid,                                    -- the microblog shown as the follower
  via_shard int2,
  domain_id uuid NOT NULL,                     -- of the reader
  key_lineage uuid,                            -- null for readers here
  state text NOT NULL CHECK (state IN ('asked', 'active', 'ended')),
  sees boolean NOT NULL,                       -- false: counted and shown, but sees nothing (any more)
  shown text NOT NULL CHECK (shown IN ('everybody', 'followers', 'owner', 'none')),
  is_owner boolean NOT NULL DEFAULT false,     -- the implicit follow of one's own microblog: not shown, not counted
  from_number int8 NOT NULL DEFAULT 0,         -- sees entries from this number on (history: since-accept)
  id int8 NOT NULL,                            -- for paging lists and as the id of a follow request; rises
  rev int8 NOT NULL,                           -- number of the happening in the own log that made it so
  since timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT grants_key PRIMARY KEY (log_shard, log_id, reader_kind, reader_id)
);
CREATE INDEX grants_state ON grants (log_shard, log_id, state, id);
CREATE INDEX grants_via ON grants (log_shard, via, log_id) WHERE via IS NOT NULL;

-- Revision of who at one peer domain may see a log; rises in the transaction that changes a grant.
CREATE TABLE acl (
  log_shard int2 NOT NULL,
  log_id uuid NOT NULL,
  domain_id uuid NOT NULL,
  acl_rev int8 NOT NULL DEFAULT 1,
  CONSTRAINT acl_key PRIMARY KEY (log_shard, log_id, domain_id)
);

-- What a person follows: a projection of grants by our own consumer.
CREATE TABLE following (
  person_shard int2 NOT NULL,
  person_id uuid NOT NULL,
  microblog_id uuid NOT NULL,
  log_shard int2 NOT NULL,
  public_log uuid NOT NULL,
  followers_log uuid NOT NULL,
  via uuid,
  state text NOT NULL CHECK (state IN ('asked', 'active', 'ended')),
  sees_followers boolean NOT NULL,             -- the followers log too
  shown text NOT NULL CHECK (shown IN ('everybody', 'followers', 'owner', 'none')),
  is_owner boolean NOT NULL DEFAULT false,
  id int8 NOT NULL,                            -- of the happening that made it so: for paging
  rev int8 NOT NULL,                           -- its number in the own log; an older one changes nothing
  CONSTRAINT following_key PRIMARY KEY (person_shard, person_id, microblog_id)
);
CREATE INDEX following_page ON following (person_shard, person_id, id) WHERE state <> 'ended';

-- Replies by the post replied to (in the shard of that post), and counts of what is public.
CREATE TABLE reply (
  log_shard int2 NOT NULL,
  parent_id int8 NOT NULL,
  child_id int8 NOT NULL,
  is_public boolean NOT NULL,
  CONSTRAINT reply_key PRIMARY KEY (log_shard, parent_id, child_id)
);
-- Followers, posts and last activity as everybody may count them: from the public log alone.
-- followers changes with the grant, in one transaction; posts with our consumer's cursor, in one.
CREATE TABLE statistics (
  log_shard int2 NOT NULL,
  microblog_id uuid NOT NULL,
  followers int8 NOT NULL DEFAULT 0,
  posts int8 NOT NULL DEFAULT 0,
  last_post_at timestamptz,
  CONSTRAINT statistics_key PRIMARY KEY (log_shard, microblog_id)
);

-- What must not be shown, whatever is fetched, cached or rebuilt later.
CREATE TABLE withheld (
  log_shard int2 NOT NULL,
  log_id uuid NOT NULL,
  epoch_no int4 NOT NULL,
  number int8 NOT NULL,
  by text NOT NULL,
  reason text NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT withheld_key PRIMARY KEY (log_shard, log_id, epoch_no, number)
);
CREATE TABLE policy (
  policy_shard int2 NOT NULL,
  policy_id uuid NOT NULL,
  domain_id uuid NOT NULL,
  target_kind text NOT NULL CHECK (target_kind IN ('domain', 'microblog', 'entry', 'address')),
  target text NOT NULL,
  action text NOT NULL CHECK (action IN ('reject', 'limit', 'no-media', 'no-mail', 'suspend')),
  reason_public text NOT NULL DEFAULT '',
  reason_private text NOT NULL DEFAULT '',
  by_person uuid,
  at timestamptz NOT NULL DEFAULT now(),
  expires timestamptz,
  CONSTRAINT policy_key PRIMARY KEY (policy_shard, policy_id)
);
CREATE INDEX policy_target ON policy (domain_id, target_kind, target);
CREATE TABLE report (
  log_shard int2 NOT NULL,
  report_id uuid NOT NULL,
  domain_id uuid NOT NULL,
  microblog_id uuid NOT NULL,
  entries jsonb NOT NULL DEFAULT '[]',
  comment text NOT NULL DEFAULT '',
  by_person uuid,
  at timestamptz NOT NULL DEFAULT now(),
  state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'closed')),
  CONSTRAINT report_key PRIMARY KEY (log_shard, report_id)
);
CREATE TABLE moderation_action (
  log_shard int2 NOT NULL,
  action_id uuid NOT NULL,
  domain_id uuid NOT NULL,
  by_person uuid,
  action text NOT NULL,
  target jsonb NOT NULL,
  reason text NOT NULL DEFAULT '',
  at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT moderation_action_key PRIMARY KEY (log_shard, action_id)
);

-- Our own consumer: how far it is in each log, and what it could not take.
CREATE TABLE cursor (
  log_shard int2 NOT NULL,
  log_id uuid NOT NULL,
  epoch_no int4 NOT NULL,
  number int8 NOT NULL,
  CONSTRAINT cursor_key PRIMARY KEY (log_shard, log_id, epoch_no)
);
CREATE TABLE parked (
  log_shard int2 NOT NULL,
  log_id uuid NOT NULL,
  epoch_no int4 NOT NULL,
  number int8 NOT NULL,
  wanted int8 NOT NULL,
  cause text NOT NULL,
  attempts int4 NOT NULL DEFAULT 0,
  next_attempt timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT parked_key PRIMARY KEY (log_shard, log_id, epoch_no)
);

-- References live for moments: compressing them costs more than writing them.
ALTER TABLE outbox ALTER COLUMN refs SET STORAGE EXTERNAL;
