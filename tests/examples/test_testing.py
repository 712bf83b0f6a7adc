"""The example project of a shop with its tests: they pass as they stand, and are typed."""

from __future__ import annotations

import shutil
from pathlib import Path

from scripts import ROOT, run_pytest

SHOP = ROOT / "examples" / "testing"


def test_the_shop_s_tests_pass(tmp_path: Path) -> None:
    shop = shutil.copytree(SHOP, tmp_path / "shop", ignore=shutil.ignore_patterns("__pycache__"))
    done = run_pytest(shop)
    assert (done.returncode, done.stdout.splitlines()[-1].split(" in ")[0]) == (0, "7 passed"), done.stdout
