"""A Worker's project as a user has it: a folder with wrangler.jsonc, and wrangler to work on it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from patience import SECONDS_MAX
from workerd_parts import HERE, ROOT
from workerd_server import Bindings, Server

EXAMPLE = ROOT / "examples" / "worker"
WRANGLER = HERE / "node_modules" / ".bin" / "wrangler"


class Project:
    """A copy of a project, for one test or more to work on.

    Args:
        node: the Node to run wrangler with.
        folder: the copy.
    """

    def __init__(self, node: Path, folder: Path) -> None:
        self._node, self.folder = node, folder

    def duplicate(self, folder: Path) -> Project:
        """Return a copy, its local database included."""
        return Project(self._node, Path(shutil.copytree(self.folder, folder, symlinks=True)))

    def configuration(self) -> dict[str, Any]:
        """Return what wrangler reads from wrangler.jsonc: its own `config`, and `options` for Miniflare.

        Fails when wrangler has anything to say about the file.
        """
        file = self.folder / "wrangler.jsonc"
        done = self._run([str(self._node), str(HERE / "configuration.mjs"), str(file)])
        assert done.stderr == "", done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def bindings(self) -> Bindings:
        """Return the bindings that wrangler.jsonc gives the Worker, on the local database."""
        options = self.configuration()["options"]
        return Bindings(
            databases=options["d1Databases"],
            producers=options["queueProducers"],
            consumers=options["queueConsumers"],
            variables=options["bindings"],
            compatibility_date=options["compatibilityDate"],
            state=self.folder / ".wrangler" / "state" / "v3" / "d1",
        )

    def migrate(self) -> None:
        """Bring the local database the package's tables and the project's own, as the documentation says."""
        command = [sys.executable, "-m", "kumofire_fsm.cli", "migrate", "src.jobs:app"]
        self._run([*command, "--local", "--d1", "jobs"])
        self.wrangler("d1", "migrations", "apply", "jobs", "--local")

    def vendor(self, wheels: Sequence[Path]) -> None:
        """Install wheels where pywrangler does, for wrangler to bundle."""
        folder = self.folder / "python_modules"
        folder.mkdir()
        (folder / "pyvenv.cfg").touch()
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder)

    @contextmanager
    def running(self, wheels: Sequence[Path], source: Path) -> Iterator[Server]:
        """Run the Worker of a folder on the project's bindings."""
        server = Server(self._node, self.folder, wheels=wheels, sources=[source], bindings=self.bindings())
        try:
            yield server
        finally:
            server.stop()

    def wrangler(self, *arguments: str) -> str:
        """Run wrangler in the project; return what it wrote."""
        done = self._run([str(WRANGLER), *arguments])
        return done.stdout + done.stderr

    def rows(self, sql: str, *values: str) -> list[tuple[Any, ...]]:
        """Read the local database, beside a running Worker."""
        files = (self.folder / ".wrangler").rglob("*.sqlite")
        (file,) = (each for each in files if each.name != "metadata.sqlite")
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as db:
            return db.execute(sql, values).fetchall()

    def _run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        env = {
            **os.environ,
            "PATH": f"{self._node.parent}{os.pathsep}{os.environ['PATH']}",
            "CI": "1",
            "NO_COLOR": "1",
            "WRANGLER_SEND_METRICS": "false",
            "WRANGLER_HIDE_BANNER": "true",
            "XDG_CONFIG_HOME": str(self.folder / ".config"),
        }
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{(done.stdout + done.stderr)[-4000:]}"
        return done


def copy_example(node: Path, folder: Path) -> Project:
    """Return a fresh copy of examples/worker, without what a developer's commands left there."""
    left = shutil.ignore_patterns("node_modules", "python_modules", "wheels", ".venv*", ".wrangler")
    shutil.copytree(EXAMPLE, folder, ignore=left)
    (folder / "node_modules").symlink_to(HERE / "node_modules")
    return Project(node, folder)
