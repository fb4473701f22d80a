"""Runs the commands that the pages show with their output, and writes the output down anew.

A sample is a code block whose first line begins with ``$ hrm``: commands, each followed by what it prints. The page
is rewritten only where the output differs. Commands run in an empty folder with ``my-tasks/``, in which one of three
files is faulty. ``PATH/TO/conceptarc`` stands for the folder in the environment variable CONCEPT_ARC; a sample that
needs it stays as it is where the variable is not set.

    python docs/_samples.py                 # every page
    python docs/_samples.py docs/data.md    # some pages
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).parent
PAGES = (DOCS.parent / "README.md", *sorted(DOCS.glob("*.md")))
SAMPLE = re.compile(r"^```\n(\$ hrm .*?\n)```$", re.MULTILINE | re.DOTALL)
CONCEPT_ARC = "PATH/TO/conceptarc"
# Commands that only prepare those after them, and whose output is progress.
SILENT = ("train",)
COLUMNS = "92"


def samples(text: str) -> Iterator[str]:
    """The content of each sample of a page."""
    for match in SAMPLE.finditer(text):
        yield match[1]


def commands(sample: str) -> list[str]:
    """The commands of a sample, without ``$``."""
    return [line.removeprefix("$ ") for line in sample.splitlines() if line.startswith("$ ")]


def prepare(folder: Path) -> None:
    """Write ``my-tasks/`` into the folder that commands run in."""
    pair = {"input": [[1, 0], [0, 1]], "output": [[0, 1], [1, 0]]}
    faulty = {"input": [[1, 10], [0, 1]], "output": [[0, 1], [1, 0]]}
    (folder / "my-tasks").mkdir()
    for name, task in (
        ("one", {"train": [faulty], "test": []}),
        ("two", {"train": [pair], "test": [pair]}),
        ("three", {"train": [pair, pair], "test": [pair]}),
    ):
        (folder / f"my-tasks/{name}.json").write_text(json.dumps(task))


def printed(command: str, folder: Path) -> str:
    """What a command prints on standard output, and its error."""
    words = command.replace(CONCEPT_ARC, os.environ.get("CONCEPT_ARC", CONCEPT_ARC)).split()
    environment = {**os.environ, "COLUMNS": COLUMNS, "PYTHONPATH": str(DOCS.parent), "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "hrm_arc", *words[1:]],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        check=False,
    )
    if words[1] in SILENT:
        done.check_returncode()
        return ""
    lines = (done.stdout + (done.stderr if done.returncode else "")).splitlines()
    return "\n".join(line.rstrip() for line in lines).strip("\n") + "\n"


def rerun(sample: str) -> str:
    """A sample with the output that its commands print now."""
    if CONCEPT_ARC in sample and "CONCEPT_ARC" not in os.environ:
        return sample
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        return "".join(f"$ {command}\n{printed(command, Path(folder))}" for command in commands(sample))


def main() -> None:
    for page in map(Path, sys.argv[1:]) if len(sys.argv) > 1 else PAGES:
        text = page.read_text()
        new = SAMPLE.sub(lambda match: f"```\n{rerun(match[1])}```", text)
        if new != text:
            page.write_text(new)
            print(f"{page.name}: output written anew")


if __name__ == "__main__":
    main()
