-- kumofire_fsm, schema 1. Right for an embedded SQLite file (3.38 or newer) and for D1.
-- Instants are integer milliseconds since 1970, UTC. JSON columns hold JSON text.

-- Which schema this is, and the oldest schema whose code it still serves.
CREATE TABLE kumofire_schema (
  version INTEGER PRIMARY KEY,
  serves INTEGER NOT NULL
) STRICT;

-- The hot row of a run. It is rewritten by every move, so large payloads and results stand in
-- kumofire_bodies. It has no rowid, so that creating it writes one row and one index entry.
CREATE TABLE kumofire_runs (
  id TEXT PRIMARY KEY NOT NULL,
  machine TEXT NOT NULL,
  state TEXT NOT NULL,
  wake_at INTEGER,
  job TEXT NOT NULL,
  priority INTEGER NOT NULL DEFAULT 1 CHECK (priority BETWEEN 0 AND 2),
  run_at INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  max_attempts INTEGER NOT NULL,
  starts INTEGER NOT NULL,
  claim TEXT,
  shared INTEGER NOT NULL,
  suspect INTEGER NOT NULL,
  deliveries INTEGER NOT NULL,
  timeout_at INTEGER,
  expires_at INTEGER,
  created_at INTEGER NOT NULL,
  started_at INTEGER,
  finished_at INTEGER,
  dedupe TEXT,
  dedupe_key TEXT,
  dedupe_slot TEXT,
  concurrency_key TEXT,
  schedule_id TEXT,
  scheduled_for INTEGER,
  payload TEXT,
  result TEXT,
  error TEXT,
  progress TEXT,
  tags TEXT,
  history TEXT NOT NULL,
  -- Of a flow's instance: where it is, how often a step was entered, and what it was told. NULL for all others.
  step TEXT,
  visit INTEGER,
  letters INTEGER,
  mail TEXT,
  letter TEXT,
  keys TEXT,
  undo TEXT
) STRICT, WITHOUT ROWID;

-- wake_at is NULL exactly when nothing is to happen by itself, so settled runs cost no index entry.
-- By state and job: what one job waits with costs no other job, and no process that does not know it, anything.
-- By priority (0 high, 1 normal, 2 low) before: what nobody uses costs one look-up a state, however many jobs there are.
CREATE INDEX kumofire_runs_wake ON kumofire_runs (state, priority, job, machine, wake_at) WHERE wake_at IS NOT NULL;
-- What people and workers look for among many, in indexes that only such rows pay for: what failed, and runs that
-- may only start alone.
CREATE INDEX kumofire_runs_failed ON kumofire_runs (state, job) WHERE state = 'failed';
CREATE INDEX kumofire_runs_suspect ON kumofire_runs (wake_at) WHERE suspect >= 2;
-- Which runs of a concurrency key are under way, and which are held until there is room. Only runs with a key that
-- are not settled stand in it.
CREATE INDEX kumofire_runs_keys ON kumofire_runs (job, concurrency_key, state) WHERE concurrency_key IS NOT NULL AND wake_at IS NOT NULL;
-- A dedupe key stands in dedupe_slot for ever, or until the run settles.
CREATE UNIQUE INDEX kumofire_runs_dedupe ON kumofire_runs (job, dedupe_slot) WHERE dedupe_slot IS NOT NULL;
CREATE UNIQUE INDEX kumofire_runs_occurrence ON kumofire_runs (schedule_id, scheduled_for) WHERE schedule_id IS NOT NULL;

-- Payloads ('payload') and results ('result') too large for the hot row. Their size stands before them, so that it
-- is read without them.
CREATE TABLE kumofire_bodies (
  owner TEXT NOT NULL,
  kind TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (owner, kind)
) STRICT, WITHOUT ROWID;

-- What people say of a job by its name, whichever processes know it: whether it is paused (and since when), and
-- how many of its runs may be leased at once (NULL: as the code says).
CREATE TABLE kumofire_controls (
  job TEXT PRIMARY KEY NOT NULL,
  paused_at INTEGER,
  slots INTEGER,
  said_by TEXT,
  note TEXT,
  updated_at INTEGER
) STRICT, WITHOUT ROWID;

-- Of jobs with a rate (the key is empty), and of concurrency keys with one: up to which instant, in microseconds,
-- starts are spoken for, and which claim said so last. No row says that nothing is.
CREATE TABLE kumofire_paces (
  job TEXT NOT NULL,
  key TEXT NOT NULL,
  paced_to INTEGER NOT NULL,
  paced_by TEXT NOT NULL,
  PRIMARY KEY (job, key)
) STRICT, WITHOUT ROWID;

-- Keys whose allowance is whole again are found by this, and pruned.
CREATE INDEX kumofire_paces_whole ON kumofire_paces (paced_to) WHERE key <> '';

-- Schedules: recurring jobs. made and skipped count occurrences, origin says who declared it, if code did.
CREATE TABLE kumofire_schedules (
  id TEXT PRIMARY KEY NOT NULL,
  machine TEXT NOT NULL,
  state TEXT NOT NULL,
  wake_at INTEGER,
  schedule_key TEXT,
  job TEXT NOT NULL,
  next_at INTEGER,
  last_at INTEGER,
  tick TEXT,
  revision INTEGER NOT NULL,
  origin TEXT,
  made INTEGER NOT NULL DEFAULT 0,
  skipped INTEGER NOT NULL DEFAULT 0,
  skipped_at INTEGER,
  skipped_why TEXT,
  catch_up TEXT,
  schedule TEXT NOT NULL,
  template TEXT NOT NULL,
  payload TEXT,
  error TEXT,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  history TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX kumofire_schedules_wake ON kumofire_schedules (state, job, machine, wake_at) WHERE wake_at IS NOT NULL;
CREATE UNIQUE INDEX kumofire_schedules_key ON kumofire_schedules (schedule_key) WHERE schedule_key IS NOT NULL;
CREATE INDEX kumofire_schedules_origin ON kumofire_schedules (origin) WHERE origin IS NOT NULL;

-- The edges of every machine, derived from its declaration. The triggers below read them. A source
-- of '' stands for an insert, and wakes says whether wake_at must be set in the target.
CREATE TABLE kumofire_edges (
  machine TEXT NOT NULL,
  source TEXT NOT NULL,
  target TEXT NOT NULL,
  wakes INTEGER NOT NULL,
  PRIMARY KEY (machine, source, target)
) STRICT, WITHOUT ROWID;

INSERT INTO kumofire_edges (machine, source, target, wakes) VALUES
  ('run', '', 'queued', 1),
  ('run', '', 'ready', 1),
  ('run', 'canceled', 'ready', 1),
  ('run', 'canceling', 'canceled', 0),
  ('run', 'canceling', 'canceling', 1),
  ('run', 'canceling', 'succeeded', 0),
  ('run', 'failed', 'ready', 1),
  ('run', 'held', 'canceled', 0),
  ('run', 'held', 'held', 1),
  ('run', 'held', 'queued', 1),
  ('run', 'held', 'ready', 1),
  ('run', 'queued', 'canceled', 0),
  ('run', 'queued', 'held', 1),
  ('run', 'queued', 'queued', 1),
  ('run', 'queued', 'ready', 1),
  ('run', 'queued', 'running', 1),
  ('run', 'ready', 'canceled', 0),
  ('run', 'ready', 'held', 1),
  ('run', 'ready', 'queued', 1),
  ('run', 'ready', 'ready', 1),
  ('run', 'ready', 'running', 1),
  ('run', 'retrying', 'canceled', 0),
  ('run', 'retrying', 'held', 1),
  ('run', 'retrying', 'queued', 1),
  ('run', 'retrying', 'retrying', 1),
  ('run', 'retrying', 'running', 1),
  ('run', 'running', 'canceled', 0),
  ('run', 'running', 'canceling', 1),
  ('run', 'running', 'failed', 0),
  ('run', 'running', 'queued', 1),
  ('run', 'running', 'ready', 1),
  ('run', 'running', 'retrying', 1),
  ('run', 'running', 'running', 1),
  ('run', 'running', 'succeeded', 0),
  ('job', '', 'active', 1),
  ('job', 'active', 'active', 1),
  ('job', 'active', 'ended', 0),
  ('job', 'active', 'paused', 0),
  ('job', 'active', 'suspended', 0),
  ('job', 'ended', 'active', 1),
  ('job', 'paused', 'active', 1),
  ('job', 'paused', 'ended', 0),
  ('job', 'paused', 'paused', 0),
  ('job', 'suspended', 'active', 1),
  ('job', 'suspended', 'ended', 0);

-- Each trigger stands on one line, with its predicate in WHEN: D1's migration tool splits naively.
-- Moves and creations: along the edges alone.
CREATE TRIGGER kumofire_runs_insert BEFORE INSERT ON kumofire_runs WHEN NOT EXISTS (SELECT 1 FROM kumofire_edges WHERE machine = NEW.machine AND source = '' AND target = NEW.state AND wakes = (NEW.wake_at IS NOT NULL)) BEGIN SELECT RAISE(ABORT, 'kumofire: a row may not be created in this state'); END;
CREATE TRIGGER kumofire_runs_move BEFORE UPDATE OF state ON kumofire_runs WHEN NOT EXISTS (SELECT 1 FROM kumofire_edges WHERE machine = NEW.machine AND source = OLD.state AND target = NEW.state AND wakes = (NEW.wake_at IS NOT NULL)) BEGIN SELECT RAISE(ABORT, 'kumofire: the machine has no such edge'); END;
CREATE TRIGGER kumofire_runs_wake BEFORE UPDATE OF wake_at ON kumofire_runs WHEN OLD.state = NEW.state AND (OLD.wake_at IS NULL) <> (NEW.wake_at IS NULL) BEGIN SELECT RAISE(ABORT, 'kumofire: wake_at must be set exactly while a deadline runs'); END;
CREATE TRIGGER kumofire_runs_fixed BEFORE UPDATE OF id, created_at, schedule_id, scheduled_for ON kumofire_runs BEGIN SELECT RAISE(ABORT, 'kumofire: id, created_at, schedule_id and scheduled_for never change'); END;
CREATE TRIGGER kumofire_runs_version BEFORE UPDATE OF machine ON kumofire_runs WHEN NEW.machine <> OLD.machine AND NOT (EXISTS (SELECT 1 FROM kumofire_edges WHERE machine = NEW.machine AND source = 'from:' || OLD.machine) AND EXISTS (SELECT 1 FROM kumofire_edges WHERE machine = NEW.machine AND target = 'step:' || NEW.step)) BEGIN SELECT RAISE(ABORT, 'kumofire: a run keeps its machine, but for a later version of its flow'); END;
CREATE TRIGGER kumofire_runs_begin BEFORE INSERT ON kumofire_runs WHEN NEW.step IS NOT NULL AND NOT EXISTS (SELECT 1 FROM kumofire_edges WHERE machine = NEW.machine AND source = 'step:' AND target = 'step:' || NEW.step) BEGIN SELECT RAISE(ABORT, 'kumofire: a flow may not begin at this step'); END;
CREATE TRIGGER kumofire_runs_step BEFORE UPDATE OF step ON kumofire_runs WHEN NEW.step IS NOT OLD.step AND NEW.machine = OLD.machine AND NOT EXISTS (SELECT 1 FROM kumofire_edges WHERE machine = NEW.machine AND source IN ('step:' || OLD.step, iif(OLD.finished_at IS NOT NULL AND NEW.finished_at IS NULL, 'step:*', '')) AND target = 'step:' || NEW.step) BEGIN SELECT RAISE(ABORT, 'kumofire: the flow has no such edge'); END;
CREATE TRIGGER kumofire_schedules_insert BEFORE INSERT ON kumofire_schedules WHEN NOT EXISTS (SELECT 1 FROM kumofire_edges WHERE machine = NEW.machine AND source = '' AND target = NEW.state AND wakes = (NEW.wake_at IS NOT NULL)) BEGIN SELECT RAISE(ABORT, 'kumofire: a row may not be created in this state'); END;
CREATE TRIGGER kumofire_schedules_move BEFORE UPDATE OF state ON kumofire_schedules WHEN NOT EXISTS (SELECT 1 FROM kumofire_edges WHERE machine = NEW.machine AND source = OLD.state AND target = NEW.state AND wakes = (NEW.wake_at IS NOT NULL)) BEGIN SELECT RAISE(ABORT, 'kumofire: the machine has no such edge'); END;
CREATE TRIGGER kumofire_schedules_wake BEFORE UPDATE OF wake_at ON kumofire_schedules WHEN OLD.state = NEW.state AND (OLD.wake_at IS NULL) <> (NEW.wake_at IS NULL) BEGIN SELECT RAISE(ABORT, 'kumofire: wake_at must be set exactly while a deadline runs'); END;
CREATE TRIGGER kumofire_schedules_fixed BEFORE UPDATE OF id, machine, created_at, schedule_key ON kumofire_schedules BEGIN SELECT RAISE(ABORT, 'kumofire: id, machine, created_at and schedule_key never change'); END;
-- Nothing replaces a row: INSERT OR REPLACE and UPDATE OR REPLACE delete the row in their way without asking a
-- trigger. A creation that is repeated, or whose key or occurrence another row holds, changes nothing.
CREATE TRIGGER kumofire_runs_replace BEFORE INSERT ON kumofire_runs WHEN EXISTS (SELECT 1 FROM kumofire_runs WHERE id = NEW.id AND (created_at <> NEW.created_at OR NEW.starts > 0 OR NEW.finished_at IS NOT NULL)) BEGIN SELECT RAISE(ABORT, 'kumofire: the row exists, and changes along its edges alone'); END;
CREATE TRIGGER kumofire_runs_repeat BEFORE INSERT ON kumofire_runs WHEN EXISTS (SELECT 1 FROM kumofire_runs WHERE id = NEW.id AND created_at = NEW.created_at AND NEW.starts = 0 AND NEW.finished_at IS NULL) OR EXISTS (SELECT 1 FROM kumofire_runs WHERE job = NEW.job AND dedupe_slot = NEW.dedupe_slot AND id <> NEW.id) OR EXISTS (SELECT 1 FROM kumofire_runs WHERE schedule_id = NEW.schedule_id AND scheduled_for = NEW.scheduled_for AND id <> NEW.id) BEGIN SELECT RAISE(IGNORE); END;
CREATE TRIGGER kumofire_runs_slot BEFORE UPDATE OF job, dedupe_slot ON kumofire_runs WHEN NEW.dedupe_slot IS NOT NULL AND (NEW.dedupe_slot IS NOT OLD.dedupe_slot OR NEW.job <> OLD.job) AND EXISTS (SELECT 1 FROM kumofire_runs WHERE job = NEW.job AND dedupe_slot = NEW.dedupe_slot AND id <> NEW.id) BEGIN SELECT RAISE(ABORT, 'kumofire: another run has this dedupe_slot'); END;
CREATE TRIGGER kumofire_schedules_replace BEFORE INSERT ON kumofire_schedules WHEN EXISTS (SELECT 1 FROM kumofire_schedules WHERE id = NEW.id) BEGIN SELECT RAISE(ABORT, 'kumofire: the row exists, and changes along its edges alone'); END;
CREATE TRIGGER kumofire_schedules_repeat BEFORE INSERT ON kumofire_schedules WHEN EXISTS (SELECT 1 FROM kumofire_schedules WHERE schedule_key = NEW.schedule_key AND id <> NEW.id) BEGIN SELECT RAISE(IGNORE); END;
-- What a settled run says stays, unless its machine has an edge from the state to itself. Only its job's name may
-- change: a renamed job takes its runs over.
CREATE TRIGGER kumofire_runs_settled BEFORE UPDATE OF state, wake_at, priority, run_at, attempt, max_attempts, starts, claim, shared, suspect, deliveries, timeout_at, expires_at, started_at, finished_at, dedupe, dedupe_key, dedupe_slot, concurrency_key, payload, result, error, progress, tags, history, step, visit, letters, mail, letter, keys, undo ON kumofire_runs WHEN OLD.finished_at IS NOT NULL AND NEW.state = OLD.state AND NOT EXISTS (SELECT 1 FROM kumofire_edges WHERE machine = OLD.machine AND source = OLD.state AND target = OLD.state) BEGIN SELECT RAISE(ABORT, 'kumofire: the run is settled, and changes along its edges alone'); END;

INSERT INTO kumofire_schema (version, serves) VALUES (1, 1);
