"""The command ``kumofire``; it needs the extra ``cli``.

No other room but the pytest plugin imports it. Begin with `commands`, where each subcommand is registered.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

__all__ = ["main"]


def main() -> None:
    """Run the command line; errors of the package are one line and exit code 2."""
    if find_spec("typer") is None:
        sys.exit("kumofire: the command line needs typer; run: pip install 'kumofire_fsm[cli]'")
    from kumofire_fsm.cli.commands import run

    run()
