-- The application's own tables: what it stores of a job is kumofire_job_run_id. They have no foreign key
-- to the runs, which may be pruned.
CREATE TABLE records (
  id INTEGER PRIMARY KEY,
  kumofire_job_run_id TEXT NOT NULL,
  text TEXT NOT NULL
) STRICT;

CREATE TABLE orders (
  id INTEGER PRIMARY KEY,
  kumofire_job_run_id TEXT NOT NULL,
  item TEXT NOT NULL CHECK (item <> '')
) STRICT;
