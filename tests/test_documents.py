"""Documents name files, commands, flags and keys that exist; nothing has a former name of the project."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
import shlex
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

from hrm_arc.cli.main import main
from hrm_arc.models import MODELS, find_model
from hrm_arc.training.config import SECTIONS

ROOT = Path(__file__).parent.parent
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *(file for folder in ("docs", "docs/api", "records", "records/*") for file in sorted(ROOT.glob(f"{folder}/*.md"))),
]
GLOSSARY = ROOT / "docs" / "glossary.md"

# Names that code had before it used the field's words (docs/glossary.md).
FORMER_NAMES = """
    Thought think_all think_on think_segment think_until_halted value_of_thinking_on Processes crew from_the_leader
    _everybodys Beginning adopt HeldBack held_back Ahead portions TOGETHER onlooker Tick Average in_place claimed
    writing Drawings keyed Marks _Listening Asked KINDS learning_rate matrix_learning_rate table_learning_rate told
"""
# Parts of a name between underscores.
FORMER_PARTS = "colour colours optimiser optimisers normaliser"
# Names and spellings that cannot be meant in a document either.
FORMER_WORDS = """
    think_all think_on think_segment think_until_halted value_of_thinking_on from_the_leader _everybodys HeldBack
    held_back onlooker in_place learning_rate matrix_learning_rate table_learning_rate _Listening optimiser optimisers
    normaliser normalise normalised colour colours coloured
"""
FORMER_KEYS = {
    "model": "width heads cycles tied shared told gradient identity prefix",
    "data": "without draw copies shift",
    "loss": "normaliser halt",
    "halting": "leave exploration",
    "optimizer": "learning_rate matrix_learning_rate table_learning_rate table_weight_decay clip",
    "schedule": "warmup period tail floor",
    "training": "batch accumulate steps minutes keep",
    "validation": "full margin",
}
# Such as --training.steps or "training.steps", not hrm_arc.training.steps, a file or a call.
FORMER_KEY = re.compile(
    r"(?<![\w./])(?:"
    + "|".join(rf"{section}\.(?:{'|'.join(keys.split())})" for section, keys in FORMER_KEYS.items())
    + r")(?![\w(])"
)


def relative(file: Path) -> str:
    return str(file.relative_to(ROOT))


def without_code(document: Path) -> str:
    """A document's text without its blocks of code."""
    return re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
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


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_python_files_that_are_named_exist(document: Path) -> None:
    named = re.findall(r"`(?:[\w./-]+/)?([a-z_]\w*\.py)`", without_code(document))
    folders = ("hrm_arc", "tests", "benchmarks", "docs")
    assert set(named) <= {file.name for folder in folders for file in (ROOT / folder).rglob("*.py")}


def test_every_module_is_named_in_the_architecture() -> None:
    parts = re.split(r"^(?:\| )?`(\w+)/`", (ROOT / "docs" / "architecture.md").read_text(), flags=re.MULTILINE)
    named = {
        (package, name)
        for package, part in zip(parts[1::2], parts[2::2], strict=True)
        for name in re.findall(r"`(\w+\.py)`", part)
    }
    modules = [file for file in (ROOT / "hrm_arc").rglob("*.py") if not file.name.startswith("__")]
    assert len(modules) > 80
    assert sorted(relative(file) for file in modules if (file.parent.name, file.name) not in named) == []


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
            verbs = 2 if words[0] in ("data", "bench", "weights") and len(words) > 1 and words[1].islower() else 1
            found[" ".join(words[:verbs]), tuple(word for word in words if word.startswith("--"))] = None
    return list(found)


@cache
def help_of(verb: str) -> str:
    """What ``hrm VERB --help`` prints."""
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
        assert main([*verb.split(), "--help"]) == 0
    return printed.getvalue()


def test_every_command_that_is_shown_can_be_given() -> None:
    shown = commands()
    assert len({verb for verb, _ in shown}) > 25
    for verb, flags in shown:
        unknown = [flag for flag in flags if not re.search(rf"{re.escape(flag.split('=')[0])}\b", help_of(verb))]
        assert not unknown, f"hrm {verb}: {unknown}"


def rows(title: str) -> list[list[str]]:
    """The cells of the glossary's table under a heading, without its head."""
    section = GLOSSARY.read_text().split(f"## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_keys_in_the_glossary_are_keys_of_recipes() -> None:
    fields = {name: {field.name for field in dataclasses.fields(config)} for name, config in SECTIONS.items()}
    of_models = (find_model(name).config for name in MODELS)
    fields["model"] = {"name", *(field.name for config in of_models for field in dataclasses.fields(config))}
    keys = [(section, key) for section, cell, *_ in rows("Keys of a recipe") for key in re.findall(r"`(\w+)`", cell)]
    assert len(keys) > 30
    assert [f"{section}.{key}" for section, key in keys if key not in fields[section]] == []


def test_names_in_the_glossary_are_in_its_files() -> None:
    table = rows("Names in code")
    assert len(table) > 20
    for names, _, files in table:
        texts = [(GLOSSARY.parent / link).read_text() for link in re.findall(r"\]\(([^)]+)\)", files)]
        assert texts, names
        for name in re.findall(r"`(\w+)`", names):
            assert any(re.search(rf"\b{name}\b", text) for text in texts), name


def python_files() -> list[Path]:
    folders = ("hrm_arc", "tests", "benchmarks")
    return sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))


def former_names_in_python(file: Path) -> Iterator[str]:
    """``file:line: name`` of each former name and key."""
    names, parts = frozenset(FORMER_NAMES.split()), frozenset(FORMER_PARTS.split())
    strings = (tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING))
    with file.open("rb") as source:
        for token in tokenize.tokenize(source.readline):
            found = []
            if token.type == tokenize.NAME and (
                token.string in names or not parts.isdisjoint(token.string.lower().split("_"))
            ):
                found = [token.string]
            elif token.type in strings and file != Path(__file__):  # The list above.
                found = FORMER_KEY.findall(token.string)
            yield from (f"{relative(file)}:{token.start[0]}: {name}" for name in found)


def former_keys_in_yaml(file: Path) -> Iterator[str]:
    for section, values in yaml.safe_load(file.read_text()).items():
        former = FORMER_KEYS.get(section, "").split()
        keys = values if isinstance(values, dict) else ()
        yield from (f"{relative(file)}: {section}.{key}" for key in keys if key in former)


def former_names_in_document(file: Path) -> Iterator[str]:
    word = re.compile(rf"\b(?:{'|'.join(FORMER_WORDS.split())})\b|{FORMER_KEY.pattern}", re.IGNORECASE)
    for number, line in enumerate(file.read_text().splitlines(), 1):
        yield from (f"{relative(file)}:{number}: {name}" for name in word.findall(line))


def test_no_former_name_is_used() -> None:
    found = [name for file in python_files() for name in former_names_in_python(file)]
    found += [key for file in sorted((ROOT / "recipes").rglob("*.yaml")) for key in former_keys_in_yaml(file)]
    found += [name for file in DOCUMENTS for name in former_names_in_document(file)]
    assert found == [], "\n".join(["former names, see docs/glossary.md:", *found])


def test_former_names_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    code, recipe, page = tmp_path / "code.py", tmp_path / "recipe.yaml", tmp_path / "page.md"
    code.write_text("told = 1\nbest_colour = 'told'\nflags = ['--training.steps', 'hrm_arc.training.steps']\n")
    recipe.write_text("model: {width: 8, name: x}\nname: width\n")
    page.write_text("The optimiser has a\n`training.steps` key, and a told reader.\n")
    assert list(former_names_in_python(code)) == [
        "code.py:1: told",
        "code.py:2: best_colour",
        "code.py:3: training.steps",
    ]
    assert list(former_keys_in_yaml(recipe)) == ["recipe.yaml: model.width"]
    assert list(former_names_in_document(page)) == ["page.md:1: optimiser", "page.md:2: training.steps"]
