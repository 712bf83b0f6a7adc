"""Writes docs/sql.md from the statements themselves; `make sql` calls it."""

from kumofire_fsm import JobMachine, RunMachine
from kumofire_fsm.store.catalogue import catalogue

HEAD = """\
# The SQL that runs

Written by `make sql`. These texts are what the database executes, letter by letter; `kumofire machine sql
TARGET [EVENT]` prints them for a machine of your own, or for all machines of an application.

How to read them:

- Each statement has one parameter, `?1`, a JSON text, and so its own text never changes.
- `r` is the row that moves. `a` is what the caller says of it: a row of JSON each, or one for all.
- A move is one UPDATE that compares and sets. It finds its rows by id, tests their state and the edge's guard,
  and where the caller is an attempt, also `starts` and `claim`, which only the holder of the claim knows.
- Where a row may take one of several edges, `m` says which, in the order in which the machine tries them; each
  column then asks for the number of the edge. For two edges a column asks itself.
- `p` steps from job to job: each that has rows in a state. `g` are the groups (state, priority, job, machine)
  that may move, and how many of them may. `q` takes their due rows in turn: the oldest of each, then the second of
  each. All three read the index on `(state, priority, job, machine, wake_at)`. `w` is what a claim or a sweep takes of them.
- A plus before `r.state` keeps SQLite from looking rows up by that index instead of by their ids.
- A history over 30 KB is cut before it grows: its first entry stays, then a mark, then its newer half.
"""


def page() -> str:
    """Return what the page must hold."""
    parts = [HEAD]
    for machine in (RunMachine, JobMachine):
        parts.append(f"## {machine.__name__}\n")
        parts += [
            f"### {each.name}\n\n{each.says}\n\n```sql\n{each.sql}\n```\n"
            for each in catalogue([machine.spec])
        ]
    return "\n".join(parts)


if __name__ == "__main__":
    print(page(), end="")
