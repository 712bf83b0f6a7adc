"""Which slice of a long proof is played: `make test` takes that of the commit, so that it can be repeated."""

from __future__ import annotations

import os
from typing import Final

SLICE: Final = int(os.environ.get("KUMOFIRE_SLICE", "0"))
