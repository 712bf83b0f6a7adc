"""The command ``kumofire``; it needs the extra ``cli``."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; errors of the package are one line and exit code 2."""
    try:
        import typer  # noqa: F401 -- an optional dependency
    except ImportError:
        sys.exit("kumofire: the command line needs typer and rich; run: pip install 'kumofire_fsm[cli]'")
    from kumofire_fsm.cli.commands import run

    run()
