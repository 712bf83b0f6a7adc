"""Every limit in one place, checked before anything is stored.

D1 refuses a row over 2 MB (https://developers.cloudflare.com/d1/platform/limits/), which local
runtimes do not enforce; together ours stay far below it. Sizes are bytes of UTF-8 JSON.
"""

from __future__ import annotations

__all__ = [
    "ANSWER_BYTES",
    "D1_STATEMENTS",
    "ERROR_BYTES",
    "ERROR_LINE",
    "FACTS_BYTES",
    "HEAD_START_MS",
    "HISTORY_CAP",
    "INLINE_BYTES",
    "INVOCATION_MS",
    "JSON_DEPTH",
    "KEPT_KEYS",
    "KEY_LENGTH",
    "LIMIT_MAX",
    "LOOK_ROWS",
    "MAIL_LETTERS",
    "MATCH_RUNS",
    "MOVE_RUNS",
    "PAYLOAD_BYTES",
    "PRIORITIES",
    "PROGRESS_BYTES",
    "PRUNE_RUNS",
    "QUEUE_DELAY_S",
    "RESULT_BYTES",
    "SAFE_INTEGER",
    "SIGNAL_BYTES",
    "SQL_BYTES",
    "STATEMENT_BYTES",
    "TAG_COUNT",
    "TAG_LENGTH",
]

PAYLOAD_BYTES = 256 * 1024
RESULT_BYTES = 256 * 1024
ERROR_BYTES = 8 * 1024
"""An error's text is cut to this, in its middle, with a mark. It stands in the run's own row, which every
move rewrites: with 16 KB a failing attempt took two to three times as long as with a short error."""
ERROR_LINE = 200
"""Characters of the one line of an error that logs show, and lists."""
PROGRESS_BYTES = 4 * 1024
"""Progress stands in the run's own row, which every heartbeat rewrites."""
FACTS_BYTES = 1024
"""What one entry of a history may say beside event, state and time."""
HISTORY_CAP = 30 * 1024
"""A history longer than this loses its older half, with a mark; so it stays below 32 KB."""
INLINE_BYTES = 512
"""A payload or result over this is stored in a row of its own: every move rewrites the run's row."""
KEY_LENGTH = 255
"""Characters of a job's name, a dedupe key or a schedule key."""
LIMIT_MAX = 1_000_000
"""Runs of a job that a limit lets be under way at once."""
PRIORITIES = {"high": 0, "normal": 1, "low": 2}
"""The classes of runs, and the number by which each is stored: the lowest comes first."""
HEAD_START_MS = 60_000
"""After how long a run that waits comes into the next higher class; so none waits for ever."""
LOOK_ROWS = 10_000
"""Runs that one list or count looks at; what it leaves out, it says."""
MATCH_RUNS = 100_000
"""Runs that one look finds for `fire_all`."""
MOVE_RUNS = 500
"""Runs that one statement of `fire_all` moves."""
PRUNE_RUNS = 500
"""Runs that a tick of the dispatcher, or one look of a worker, deletes as their retention is over."""
TAG_COUNT = 20
TAG_LENGTH = 64
JSON_DEPTH = 150
"""Levels of lists and objects; pydantic's reader stops at 200."""
SAFE_INTEGER = 2**53 - 1
"""JavaScript, and so D1 and Queues, cannot hold integers beyond this exactly."""
SQL_BYTES = 100_000
"""What D1 takes as the text of one statement (https://developers.cloudflare.com/d1/platform/limits/)."""
STATEMENT_BYTES = 1024 * 1024
"""The JSON parameter of one statement is cut into chunks of about this size."""
ANSWER_BYTES = 4 * 1024 * 1024
"""What one answer of the database holds at most, within a row. On its way it takes several times that, of the
128 MB that a Worker has (https://developers.cloudflare.com/workers/platform/limits/)."""
D1_STATEMENTS = 45
"""Statements an invocation sends at most: D1's free plan allows 50
(https://developers.cloudflare.com/d1/platform/limits/)."""
INVOCATION_MS = 15 * 60_000
"""After so long, by the clock, the platform ends a queue's consumer or a cron trigger
(https://developers.cloudflare.com/queues/platform/limits/,
https://developers.cloudflare.com/workers/platform/limits/)."""
QUEUE_DELAY_S = 86_400
"""The longest delay of Cloudflare Queues, in seconds
(https://developers.cloudflare.com/queues/platform/limits/)."""
KEPT_KEYS = 50
"""Keys of signals that an instance remembers, to know one that comes twice."""
MAIL_LETTERS = 50
"""Signals that came early and are kept, at most."""
SIGNAL_BYTES = 4 * 1024
"""What one signal carries: it may stand in the instance's own row until a wait takes it."""
MADE_AHEAD = 100
"""Occurrences of a schedule that are looked at which are runs already, although they are to come yet."""
