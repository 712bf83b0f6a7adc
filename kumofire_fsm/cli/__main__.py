"""``python -m kumofire_fsm.cli``, for where the script is not on the path."""

from kumofire_fsm.cli import main

main()
