"""Lays out the pages for mkdocs in build/docs, as one tree in which links stay inside, and builds build/site.

In the repository the pages lead to files beside docs/, and GitHub shows those. A site has only what lies in
one folder. So everything that pages lead to is copied there, and the links are written anew.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("kumofire_fsm", "flows", "machines", "testing", "errors")
EXAMPLES = ("worker", "flows", "lifecycles", "testing", "demo", "flow_demo")
HEIRS = ("BoundJobs", "EmbeddedJobs")  # they have what Jobs has, and something of their own
SHOWN = {".py": "python", ".json": "json", ".jsonc": "json", ".toml": "toml", ".sql": "sql"}


def sources() -> dict[str, Path]:
    """Return the files that are copied, by their names on the site."""
    docs = [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs").glob("*.svg"), ROOT / "docs" / "llms.txt"]
    found = {each.name: each for each in docs}
    found["CHANGELOG.md"] = ROOT / "CHANGELOG.md"
    found |= {f"diagrams/{each.name}": each for each in (ROOT / "diagrams").iterdir() if each.suffix != ".py"}
    found["examples/worker/index.md"] = ROOT / "examples" / "worker" / "README.md"
    return {name: path for name, path in found.items() if path.is_file()}


def site_name(path: Path) -> str:
    """Return what a file or folder of the repository is called on the site, with its part of a page."""
    if path.parent == ROOT / "docs":
        return path.name
    inside = path.relative_to(ROOT)
    if inside.parts[0] != "examples":
        return inside.as_posix()
    page = Path(*inside.parts[:2], "index.md").as_posix()
    within = "-".join(inside.parts[2:])
    return f"{page}#{re.sub(r'[^a-z0-9_-]', '', within)}" if path.is_file() else page


def linked(text: str, name: str, source: Path) -> str:
    """Return a page whose links lead to where their targets are on the site."""
    up = "../" * name.count("/")

    def link(match: re.Match[str]) -> str:
        file, mark, anchor = match[1].partition("#")
        if re.match(r"[a-z]+:", match[1]) or not file or not (source.parent / file).exists():
            return match[0]
        return f"]({up}{site_name((source.parent / file).resolve())}{mark}{anchor})"

    parts = re.split(r"(^ *```.*?^ *```$|`[^`\n]*`)", text, flags=re.DOTALL | re.MULTILINE)
    return "".join(
        part if at % 2 else re.sub(r"\]\(([^)\s]+)\)", link, re.sub(r"<!-- .*? -->\n", "", part))
        for at, part in enumerate(parts)
    )


def example(folder: Path) -> str:
    """Return the part of a page that shows the files of an example."""
    files = sorted(
        each for each in folder.rglob("*") if each.suffix in SHOWN and "node_modules" not in each.parts
    )
    shown = [
        f"## {each.relative_to(folder)} {{#{site_name(each).partition('#')[2]}}}\n\n"
        f"```{SHOWN[each.suffix]}\n{each.read_text('utf-8').rstrip()}\n```\n"
        for each in files
    ]
    return "\n".join(shown)


def docstrings(module: str) -> str:
    """Return a page of a public module: the docstring of each of its public names."""
    path = "kumofire_fsm" if module == "kumofire_fsm" else f"kumofire_fsm.{module}"
    file = ROOT / "kumofire_fsm" / ("" if module == "kumofire_fsm" else module)
    source = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
    names = next(
        ast.literal_eval(node.value)
        for node in ast.parse(source.read_text("utf-8")).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    again = "\n    options:\n      inherited_members: false"
    shown = [f"::: {path}.{name}{again if name in HEIRS else ''}\n" for name in names]
    return f"# {path}\n\n" + "\n".join(shown)


def laid_out(folder: Path) -> None:
    """Write everything that mkdocs reads."""
    shutil.rmtree(folder, ignore_errors=True)
    pages: dict[str, str] = {f"api/{module}.md": docstrings(module) for module in MODULES}
    for name in EXAMPLES:
        pages[f"examples/{name}/index.md"] = f"# examples/{name}\n\n{example(ROOT / 'examples' / name)}"
    for name, source in sources().items():
        if source.suffix == ".svg":
            (folder / "pages" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, folder / "pages" / name)
        else:
            pages[name] = linked(source.read_text("utf-8"), name, source)
    pages["examples/worker/index.md"] += f"\n{example(ROOT / 'examples' / 'worker')}"
    for name, text in pages.items():
        (folder / "pages" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "pages" / name).write_text(text, "utf-8")
    shutil.copy(Path(__file__).with_name("mkdocs.yml"), folder)


if __name__ == "__main__":
    laid_out(ROOT / "build" / "docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--config-file", "build/docs/mkdocs.yml"]
    sys.exit(subprocess.run(command, cwd=ROOT, check=False).returncode)
