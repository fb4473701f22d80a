"""Malformed puzzle files of many kinds, for tests and benchmarks of the file checks."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

GRID = [[1, 2, 3], [4, 5, 6]]
TASK: dict[str, Any] = {
    "train": [{"input": GRID, "output": GRID}, {"input": GRID, "output": GRID}],
    "test": [{"input": GRID, "output": GRID}],
}
STRANGE: list[Any] = [None, True, -1, 10, 1.5, 10**30, "1", "", [], {}, [[]], [[1], [1, 2]], [[0] * 31], [[0]] * 31]


def hostile_file(folder: Path, number: int, generator: random.Random) -> Path:
    """Write a malformed file and return its path.

    Args:
        folder: where to write it.
        number: the number of the file; every hundredth is large.
        generator: chooses the kind and the mistake.
    """
    kind = LARGE[number // 100 % len(LARGE)] if number % 100 == 0 else generator.choice(MAKERS)
    path = folder / f"{number}.{'csv' if kind is _csv else 'json'}"
    content = kind(generator)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def _strange_value(generator: random.Random) -> str:
    """A valid task with one value replaced."""
    task = copy.deepcopy(TASK)
    pairs = task[generator.choice(["train", "test"])]
    pair = generator.choice(pairs)
    place = generator.randrange(5)
    value = generator.choice(STRANGE)
    side = generator.choice(["input", "output"])
    if place == 0:
        pair[side] = [[0]] if value is None and side == "output" else value
        pair["input"] = value
    elif place == 1:
        pair[side][generator.randrange(2)] = value
    elif place == 2:
        pair[side][0][generator.randrange(3)] = value
    elif place == 3:
        pairs[0] = value
    else:
        task[generator.choice(["train", "test"])] = value
    return json.dumps(task)


def _number_literal(generator: random.Random) -> str:
    """A number that JSON or Python does not accept."""
    literal = generator.choice(["NaN", "Infinity", "-Infinity", "1e999", "9" * 5000, "-0.0", "0x1", "1_0", "01"])
    return json.dumps(TASK).replace("5", literal, 1)


def _cut_off(generator: random.Random) -> str:
    text = json.dumps(TASK)
    return text[: generator.randrange(len(text) - 1)]


def _flipped_bytes(generator: random.Random) -> bytes:
    """A byte above 127, which is not valid UTF-8 there."""
    data = bytearray(json.dumps(TASK).encode())
    data[generator.randrange(len(data))] = generator.choice([0xFF, 0xC0, 0x80, 0xFE])
    return bytes(data)


def _noise(generator: random.Random) -> bytes:
    return generator.randbytes(generator.randrange(200))


def _repeated_key(generator: random.Random) -> str:
    key = generator.choice(["train", "test"])
    return f'{{"{key}": [], {json.dumps(TASK)[1:]}'


def _nested(generator: random.Random) -> str:
    return generator.choice(["[", '{"train":', '[{"a":']) * generator.randrange(2000, 20_000)


def _closed_nesting(generator: random.Random) -> str:
    depth = generator.randrange(100, 50_000)
    return "[" * depth + "]" * depth


def _missing_part(generator: random.Random) -> str:
    task = copy.deepcopy(TASK)
    if generator.random() < 0.5:
        del task[generator.choice(["train", "test"])]
    else:
        del task["train"][0][generator.choice(["input", "output"])]
    return json.dumps(task)


def _combined(generator: random.Random) -> str:
    """Many tasks by name, one of them not valid."""
    tasks = {f"task{n}": TASK for n in range(generator.randrange(1, 20))}
    return json.dumps({**tasks, "wrong": json.loads(_missing_part(generator))})


def _csv(generator: random.Random) -> str:
    rows = [
        "a,b\n1,2",
        "question,answer\n123,123",
        "question,answer\n1234,12",
        "question,answer\n12x4,1234",
        "question,answer\n",
        "question,answer\n1234",
        "question,answer\n" + "1" * 200_000 + ",1",
        "\x00\x00",
        "",
    ]
    return generator.choice(rows)


def _brackets(generator: random.Random) -> str:
    """10 MB of brackets."""
    return generator.choice(["[" * 10_000_000, "[]" * 5_000_000, "[" + "[]," * 3_333_333 + "[]]"])


def _many_wrong_tasks(generator: random.Random) -> str:
    return "[" + ",".join(["{}"] * 1_000_000) + "]"


def _many_cells(generator: random.Random) -> str:
    return json.dumps({"train": [{"input": [[99] * 30] * 30, "output": [[-1] * 30] * 30}] * 500, "test": []})


LARGE: list[Callable[[random.Random], str | bytes]] = [_brackets, _many_wrong_tasks, _many_cells]
MAKERS: list[Callable[[random.Random], str | bytes]] = [
    _strange_value,
    _number_literal,
    _cut_off,
    _flipped_bytes,
    _noise,
    _repeated_key,
    _nested,
    _closed_nesting,
    _missing_part,
    _combined,
    _csv,
]
