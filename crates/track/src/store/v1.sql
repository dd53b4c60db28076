-- Instants are microseconds since the epoch, UTC; ids are UUIDs as text; states are Prefect's types.
CREATE TABLE flow_runs (
  id TEXT PRIMARY KEY,
  flow TEXT NOT NULL,
  pipeline TEXT NOT NULL,
  name TEXT NOT NULL,
  state TEXT NOT NULL,
  message TEXT,
  started_at_us INTEGER NOT NULL,
  ended_at_us INTEGER,
  seen_at_us INTEGER NOT NULL,
  host TEXT NOT NULL,
  pid INTEGER NOT NULL,
  parameters TEXT NOT NULL
) STRICT;
CREATE INDEX flow_runs_by_start ON flow_runs (started_at_us);
CREATE INDEX flow_runs_by_pipeline ON flow_runs (pipeline, started_at_us);
CREATE INDEX flow_runs_by_state ON flow_runs (state, started_at_us);

-- `position` numbers the task runs of a flow run in the order in which they were first seen.
CREATE TABLE task_runs (
  position INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  flow_run TEXT NOT NULL,
  task TEXT NOT NULL,
  number INTEGER NOT NULL,
  state TEXT NOT NULL,
  message TEXT,
  started_at_us INTEGER NOT NULL,
  ended_at_us INTEGER,
  upstream TEXT NOT NULL,
  retries INTEGER NOT NULL,
  counts TEXT NOT NULL,
  files TEXT NOT NULL
) STRICT;
CREATE INDEX task_runs_by_flow_run ON task_runs (flow_run, position);
CREATE INDEX task_runs_open ON task_runs (flow_run) WHERE ended_at_us IS NULL;

CREATE TABLE logs (
  position INTEGER PRIMARY KEY,
  flow_run TEXT NOT NULL,
  at_us INTEGER NOT NULL,
  level INTEGER NOT NULL,
  text TEXT NOT NULL
) STRICT;
CREATE INDEX logs_by_flow_run ON logs (flow_run, position);
