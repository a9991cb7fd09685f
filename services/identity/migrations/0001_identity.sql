-- Identity: who can log in, and for whom a token speaks.
--
-- Every primary and unique key begins with its shard (one of 1,024), and no statement or transaction
-- crosses shards. person_shard is the shard of the person id; a directory row lives at the hash of
-- its own key; what belongs to the whole domain lives at the shard of the domain id. Secrets (tokens,
-- codes, cookies, links) are stored as SHA-256 and carry their shard in themselves.

-- What must be unique over all shards: names to log in by, e-mail addresses, and subjects of other
-- issuers. A row is reserved for ten minutes while somebody signs up, then confirmed for good. A
-- handle that was used is never given again: its row stays, retired.
CREATE TABLE directory (
  key_shard int2 NOT NULL,
  domain_id uuid NOT NULL,
  kind text NOT NULL CHECK (kind IN ('login', 'email', 'subject')),
  key text NOT NULL,                           -- handle; e-mail in lower case; issuer and subject, NUL-free JSON
  state text NOT NULL CHECK (state IN ('reserved', 'confirmed', 'retired')),
  reservation uuid NOT NULL,
  reserved_until timestamptz,
  person_shard int2 NOT NULL,
  person_id uuid NOT NULL,
  CONSTRAINT directory_key PRIMARY KEY (key_shard, domain_id, kind, key)
);
CREATE INDEX directory_reserved ON directory (reserved_until) WHERE state = 'reserved';

-- creating: a sign-up is under way or broke in the middle; pending: waits for the operator.
CREATE TABLE person (
  person_shard int2 NOT NULL,
  person_id uuid NOT NULL,
  domain_id uuid NOT NULL,
  state text NOT NULL CHECK (state IN ('creating', 'pending', 'active', 'suspended', 'removed')),
  becomes text NOT NULL CHECK (becomes IN ('pending', 'active')),  -- what creating ends in
  login text NOT NULL,
  reservation uuid NOT NULL,                   -- of its directory rows, and of the handle at microblog
  microblog_id uuid NOT NULL,                  -- the personal one; exists once the person is active
  title text NOT NULL,
  email text,
  locale text,
  reason text,                                 -- for the operator who decides; erased with the decision
  created timestamptz NOT NULL DEFAULT now(),
  approved timestamptz,
  approved_by uuid,
  CONSTRAINT person_key PRIMARY KEY (person_shard, person_id)
);
CREATE INDEX person_waiting ON person (domain_id, created) WHERE state IN ('creating', 'pending');
CREATE INDEX person_active ON person (domain_id) WHERE state = 'active';

-- A password with the parameters that it was hashed with.
CREATE TABLE credential (
  person_shard int2 NOT NULL,
  person_id uuid NOT NULL,
  domain_id uuid NOT NULL,
  kind text NOT NULL CHECK (kind IN ('password')),
  algorithm text NOT NULL CHECK (algorithm IN ('argon2id')),
  memory_kib int4 NOT NULL,
  passes int4 NOT NULL,
  parallelism int4 NOT NULL,
  salt bytea NOT NULL,
  hash bytea NOT NULL,
  changed timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT credential_key PRIMARY KEY (person_shard, person_id, kind)
);

-- A browser that is logged in.
CREATE TABLE session (
  person_shard int2 NOT NULL,
  session_hash bytea NOT NULL,
  session_id uuid NOT NULL,                    -- its name on the settings page
  person_id uuid NOT NULL,
  domain_id uuid NOT NULL,
  user_agent text NOT NULL DEFAULT '',
  created timestamptz NOT NULL DEFAULT now(),
  last_used date NOT NULL DEFAULT current_date,
  CONSTRAINT session_key PRIMARY KEY (person_shard, session_hash)
);
CREATE INDEX session_person ON session (person_shard, person_id);
CREATE INDEX session_used ON session (last_used);

-- An app that somebody let in, once in each shard where somebody did.
CREATE TABLE app (
  person_shard int2 NOT NULL,
  app_id uuid NOT NULL,
  domain_id uuid NOT NULL,
  name text NOT NULL,
  website text,
  redirect_uris text[] NOT NULL,
  scopes text NOT NULL,
  created timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT app_key PRIMARY KEY (person_shard, app_id)
);

-- An authorization code. Used ones stay until they run out, so that using one again is seen.
CREATE TABLE code (
  person_shard int2 NOT NULL,
  code_hash bytea NOT NULL,
  person_id uuid NOT NULL,
  domain_id uuid NOT NULL,
  microblog_id uuid NOT NULL,
  app_id uuid NOT NULL,
  scopes text NOT NULL,
  redirect_uri text NOT NULL,
  code_challenge text,
  expires timestamptz NOT NULL,
  used timestamptz,
  CONSTRAINT code_key PRIMARY KEY (person_shard, code_hash)
);
CREATE INDEX code_expires ON code (expires);

-- A bearer token: of a person who acts as a microblog, or of an app alone.
CREATE TABLE token (
  person_shard int2 NOT NULL,                  -- random for a token of an app alone
  token_hash bytea NOT NULL,
  token_id uuid NOT NULL,                      -- the scope of idempotency keys and markers
  domain_id uuid NOT NULL,
  person_id uuid,
  microblog_id uuid,
  app_id uuid NOT NULL,
  scopes text NOT NULL,
  code_hash bytea,                             -- the code it was given for
  created timestamptz NOT NULL DEFAULT now(),
  last_used date NOT NULL DEFAULT current_date,
  CONSTRAINT token_key PRIMARY KEY (person_shard, token_hash),
  CHECK ((person_id IS NULL) = (microblog_id IS NULL))
);
CREATE INDEX token_person ON token (person_shard, person_id) WHERE person_id IS NOT NULL;
CREATE INDEX token_code ON token (person_shard, code_hash) WHERE code_hash IS NOT NULL;
CREATE INDEX token_app_used ON token (last_used) WHERE person_id IS NULL;

-- Settings of a domain; null = as configured.
CREATE TABLE domain (
  domain_shard int2 NOT NULL,
  domain_id uuid NOT NULL,
  domain text NOT NULL,
  registration text CHECK (registration IN ('open', 'approval', 'closed')),
  created timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT domain_key PRIMARY KEY (domain_shard, domain_id)
);

-- Keys of registrations (client_id). Kept for ever: without its key an app is a stranger.
CREATE TABLE mac_key (
  domain_shard int2 NOT NULL,
  domain_id uuid NOT NULL,
  key_id bytea NOT NULL,
  id_key bytea NOT NULL,
  secret_key bytea NOT NULL,
  created timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT mac_key_key PRIMARY KEY (domain_shard, domain_id, key_id)
);

-- Who runs the domain.
CREATE TABLE operator (
  domain_shard int2 NOT NULL,
  domain_id uuid NOT NULL,
  person_id uuid NOT NULL,
  person_shard int2 NOT NULL,
  microblog_id uuid NOT NULL,
  since timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT operator_key PRIMARY KEY (domain_shard, domain_id, person_id)
);

-- The one link that makes the first operator; a new one replaces it.
CREATE TABLE operator_link (
  domain_shard int2 NOT NULL,
  domain_id uuid NOT NULL,
  link_hash bytea NOT NULL,
  expires timestamptz NOT NULL,
  CONSTRAINT operator_link_key PRIMARY KEY (domain_shard, domain_id)
);
