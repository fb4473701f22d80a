"""Documents name files, commands and flags that exist."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from hrm_arc.cli.main import main

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "records").glob("*.md")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if "://" in link:
            continue
        file, _, heading = link.partition("#")
        target = document.parent / file if file else document
        assert target.exists(), link
        assert not heading or heading in headings(target), link


def headings(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_module_is_in_the_plan_of_the_house() -> None:
    plan = (ROOT / "docs" / "architecture.md").read_text()
    rooms = ("puzzles", "models", "training", "evaluation", "deploy")
    modules = [file for room in rooms for file in (ROOT / "hrm_arc" / room).glob("[a-z]*.py")]
    assert len(modules) > 50
    assert [file.name for file in modules if not re.search(rf"\b{file.name}\b", plan)] == []
    named = set(re.findall(r"\b(\w+\.py)\b", plan))
    assert named <= {file.name for file in (ROOT / "hrm_arc").rglob("*.py")}


def commands() -> list[tuple[str, tuple[str, ...]]]:
    """Every ``hrm`` command that documents show, with its flags."""
    found: dict[tuple[str, tuple[str, ...]], None] = {}
    for document in DOCUMENTS:
        text = document.read_text()
        blocks = "\n".join(re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
        shown = re.findall(r"^(?:\$ )?(?:\S+ )*?(hrm [a-z].*)$", blocks, re.MULTILINE)
        shown += [" ".join(part.split()) for part in re.findall(r"`(hrm [a-z][^`]*)`", text)]
        for line in shown:
            command = re.split(r"   +| #|;", line)[0]
            words = shlex.split(command.replace("...", ""))[1:]
            verbs = 2 if words[0] in ("data", "bench") and len(words) > 1 and words[1].islower() else 1
            found[" ".join(words[:verbs]), tuple(word for word in words if word.startswith("--"))] = None
    return list(found)


@cache
def told(verb: str) -> str:
    """What a verb says of itself with --help."""
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(SystemExit):
        assert main([*verb.split(), "--help"]) == 0
    return said.getvalue()


def test_every_command_that_is_shown_can_be_given() -> None:
    shown = commands()
    assert len({verb for verb, _ in shown}) > 25
    for verb, flags in shown:
        unknown = [flag for flag in flags if not re.search(rf"{re.escape(flag.split('=')[0])}\b", told(verb))]
        assert not unknown, f"hrm {verb}: {unknown}"
