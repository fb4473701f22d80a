from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from hrm_arc.errors import UserError
from hrm_arc.puzzles.augmented import AugmentedSet
from hrm_arc.puzzles.build import JOURNAL, BuildConfig, build
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.sources import load_corpus, load_tasks
from hrm_arc.puzzles.symmetry import turn
from hrm_arc.puzzles.task import Pair, Task, make_grid
from hrm_arc.puzzles.variant_names import PUBLISHED_DIHEDRALS

TASKS = load_tasks("arc-agi-1/training")
CORPUS = Corpus(solve=TASKS[:5], study=TASKS[5:8])
CONFIG = BuildConfig(("some",), augment=7, seed=1, repeat=2)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def same(one: tuple[Pair, ...], other: tuple[Pair, ...]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(np.array_equal(a.input, b.input) and np.array_equal(a.output, b.output) for a, b in pairs)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built") / "set"
    build(CORPUS, CONFIG, out, workers=1, part=50)
    return out


def test_the_arrays_are_the_set(built: Path) -> None:
    for split, puzzles in (("train", CORPUS.training_puzzles()), ("test", CORPUS.held_out_puzzles())):
        data = AugmentedSet(puzzles, augment=7, seed=1, translate=split == "train", repeat=2)
        (samples,) = data.samples(np.arange(len(data)))
        assert np.array_equal(np.load(built / split / "all__inputs.npy"), samples.inputs)
        assert np.array_equal(np.load(built / split / "all__labels.npy"), samples.labels)


def test_the_layout_is_the_published_one(built: Path) -> None:
    names = json.loads((built / "identifiers.json").read_text())
    assert names[0] == "<blank>"
    assert len(set(names)) == len(names)
    for split, tasks in (("train", TASKS[:8]), ("test", TASKS[:5])):
        card = json.loads((built / split / "dataset.json").read_text())
        arrays = {file.stem: np.load(file) for file in (built / split).glob("*.npy")}
        assert {str(a.dtype) for a in arrays.values()} == {"uint8", "int32"}
        puzzles, groups = arrays["all__puzzle_indices"], arrays["all__group_indices"]
        assert puzzles[-1] == len(arrays["all__inputs"]) == len(arrays["all__labels"])
        assert groups[-1] == len(puzzles) - 1 == len(arrays["all__puzzle_identifiers"]) == card["total_puzzles"]
        assert card["total_groups"] == len(groups) - 1 == 2 * len(tasks)
        assert card["num_puzzle_identifiers"] == len(names)
        assert card == {
            "seq_len": 900,
            "vocab_size": 12,
            "pad_id": 0,
            "ignore_label_id": 0,
            "blank_identifier_id": 0,
            "num_puzzle_identifiers": len(names),
            "total_groups": 2 * len(tasks),
            "total_puzzles": card["total_puzzles"],
            "mean_puzzle_examples": len(arrays["all__inputs"]) / card["total_puzzles"],
            "sets": ["all"],
        }
        # Every group begins with a task as it is.
        firsts = [names[arrays["all__puzzle_identifiers"][group]] for group in groups[:-1]]
        assert firsts == [task.id for task in tasks] * 2
    written = json.loads((built / "test_puzzles.json").read_text())
    assert list(written) == [task.id for task in TASKS[:5]]
    for task in TASKS[:5]:
        for part, pairs in (("train", task.demonstrations), ("test", task.tests)):
            grids = [(pair.input.tolist(), None if pair.output is None else pair.output.tolist()) for pair in pairs]
            assert [(pair["input"], pair["output"]) for pair in written[task.id][part]] == grids


def test_the_name_of_a_variant_gives_its_symmetry(built: Path) -> None:
    names = json.loads((built / "identifiers.json").read_text())
    identifiers, starts, inputs, labels = (
        np.load(built / "test" / f"all__{name}.npy")
        for name in ("puzzle_identifiers", "puzzle_indices", "inputs", "labels")
    )
    theirs = [
        lambda g: g,
        np.rot90,
        lambda g: np.rot90(g, 2),
        lambda g: np.rot90(g, 3),
        np.fliplr,
        np.flipud,
        np.transpose,
        lambda g: np.fliplr(np.rot90(g)),
    ]
    by_id = {task.id: task for task in TASKS}
    for identifier, start in zip(identifiers, starts[:-1], strict=True):
        name, *how = names[identifier].split("|||")
        test = by_id[name].tests[0]
        for grid, tokens in ((test.input, inputs[start]), (test.output, labels[start])):
            assert grid is not None
            turned = np.array([int(digit) for digit in how[1]])[theirs[int(how[0][1:])](grid)] if how else grid
            cells = tokens.reshape(30, 30)[: turned.shape[0], : turned.shape[1]]
            assert np.array_equal(cells, turned + 2)
    assert sorted(PUBLISHED_DIHEDRALS) == list(range(8))
    assert np.array_equal(turn(np.arange(4).reshape(2, 2), 0), np.arange(4).reshape(2, 2))


def test_a_built_folder_gives_the_tasks_back(built: Path) -> None:
    corpus = load_corpus([str(built)])
    assert [t.id for t in corpus.solve] == [t.id for t in CORPUS.solve]
    assert [t.id for t in corpus.study] == [t.id for t in CORPUS.study]
    for one, other in zip(corpus.solve, CORPUS.solve, strict=True):
        assert same(one.demonstrations, other.demonstrations)
        assert same(one.tests, other.tests)
    for one, other in zip(corpus.study, CORPUS.study, strict=True):
        assert same(one.demonstrations + one.tests, other.demonstrations + other.tests)
    assert {t.id for t in load_tasks(f"{built}/training")} == {t.id for t in CORPUS.study}


class KilledError(Exception):
    pass


@pytest.mark.parametrize("parts", [0, 1, 4])
def test_an_interrupted_build_is_resumed_to_the_same_bytes(built: Path, tmp_path: Path, parts: int) -> None:
    calls = []

    def kill(done: int, total: int) -> None:
        calls.append(done)
        if len(calls) > parts:
            raise KilledError

    out = tmp_path / "set"
    with pytest.raises(KilledError):
        build(CORPUS, CONFIG, out, workers=1, part=50, progress=kill)
    with (out / JOURNAL).open("a") as journal:
        journal.write("train 9")  # An incomplete line.
    done: list[int] = []
    build(CORPUS, CONFIG, out, workers=1, part=50, progress=lambda count, _: done.append(count))
    assert contents(out) == contents(built)
    # The call that raised came after its part was in the journal.
    assert done[0] == 50 * parts


def test_many_processes_write_the_same(built: Path, tmp_path: Path) -> None:
    build(CORPUS, CONFIG, tmp_path / "set", workers=2, part=50)
    assert contents(tmp_path / "set") == contents(built)


def test_a_finished_build_is_left_alone_and_another_is_refused(built: Path, tmp_path: Path) -> None:
    before = contents(built)
    again = build(CORPUS, CONFIG, built, workers=1, part=50)
    assert contents(built) == before
    assert again["train_samples"] == len(np.load(built / "train" / "all__inputs.npy"))
    with pytest.raises(UserError, match="holds another build"):
        build(CORPUS, BuildConfig(("some",), augment=8), built, workers=1, part=50)
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(UserError, match="is not empty"):
        build(CORPUS, CONFIG, tmp_path, workers=1)


def test_a_changed_answer_is_another_build(tmp_path: Path) -> None:
    def corpus(color: int) -> Corpus:
        (test, *_), grid = TASKS[0].tests, np.full((3, 3), color, dtype=np.uint8)
        return Corpus(solve=(Task("x", TASKS[0].demonstrations, (Pair(test.input, make_grid(grid)),)),))

    config = BuildConfig(("some",), augment=1)
    build(corpus(1), config, tmp_path / "set", workers=1)
    build(corpus(1), config, tmp_path / "set", workers=1)
    with pytest.raises(UserError, match="holds another build"):
        build(corpus(2), config, tmp_path / "set", workers=1)


def test_a_disk_with_too_little_space_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = sum(
        len(AugmentedSet(puzzles, augment=7, repeat=2))
        for puzzles in (CORPUS.training_puzzles(), CORPUS.held_out_puzzles())
    )

    def leave(room: int) -> None:
        usage = shutil.disk_usage(tmp_path)._replace(free=room)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)

    leave(2 * samples * 900 - 1)
    with pytest.raises(UserError, match=r"needs .* GB, but the disk has .* GB free"):
        build(CORPUS, CONFIG, tmp_path / "set", workers=1, part=50)
    assert not list((tmp_path / "set").rglob("*.npy"))
    leave(2 * samples * 900)
    build(CORPUS, CONFIG, tmp_path / "set", workers=1, part=50)
    sizes = [file.stat() for file in (tmp_path / "set").rglob("*puts.npy")]
    assert all(512 * stat.st_blocks >= stat.st_size for stat in sizes), "every block is allocated"


def test_boards_are_written_at_their_own_size(tmp_path: Path) -> None:
    corpus = load_corpus(["sudoku-4x4:20"])
    build(corpus, BuildConfig(("sudoku-4x4:20",), augment=3), tmp_path / "set", workers=1)
    assert np.load(tmp_path / "set" / "train" / "all__inputs.npy").shape == (80, 16)
    assert json.loads((tmp_path / "set" / "identifiers.json").read_text()) == ["<blank>"]
    (game,) = load_tasks(str(tmp_path / "set"))
    assert game.boards
    assert same(game.demonstrations, corpus.solve[0].demonstrations)
    assert same(game.tests, corpus.solve[0].tests)


def test_boards_of_two_sizes_are_refused(tmp_path: Path) -> None:
    sources = ("sudoku-4x4:20", "sudoku-9x9:20")
    build(load_corpus(list(sources)), BuildConfig(sources, augment=0), tmp_path / "set", workers=1)
    with pytest.raises(UserError, match="boards of 4 x 4 and 9 x 9, expected one size"):
        load_tasks(str(tmp_path / "set"))


def test_the_held_out_boards_of_a_game_folder_are_not_in_the_training_data(tmp_path: Path) -> None:
    boards = np.random.default_rng(0).integers(1, 11, (5, 16))
    answers = np.random.default_rng(1).integers(1, 11, (5, 16))
    parts = {"train": (boards[:3], answers[:3]), "test": (boards[3:], answers[3:])}
    path = str(published(tmp_path / "sudoku", 11, parts))
    corpus = load_corpus([path])
    assert (len(corpus.solve), len(corpus.study)) == (1, 0)
    learned = [pair.output for puzzle in corpus.training_puzzles() for pair in puzzle.drawn]
    assert sorted(grid.tobytes() for grid in learned if grid is not None) == sorted(
        row.astype(np.uint8).tobytes() for row in answers[:3] - 1
    )
    with pytest.raises(UserError, match="no training tasks here"):
        load_tasks(f"{path}/training")
    assert len(load_tasks(f"{path}/evaluation")[0].tests) == 2


def published(folder: Path, vocabulary: int, boards: dict[str, tuple[np.ndarray, np.ndarray]]) -> Path:
    """A folder of boards in the layout of the published builders: blank identifiers, one group for each board."""
    for split, (inputs, labels) in boards.items():
        (folder / split).mkdir(parents=True)
        count = len(inputs)
        arrays = {
            "inputs": inputs,
            "labels": labels,
            "puzzle_identifiers": np.zeros(count),
            "puzzle_indices": np.arange(count + 1),
            "group_indices": np.arange(count + 1),
        }
        for name, array in arrays.items():
            np.save(folder / split / f"all__{name}.npy", array.astype(np.int32))
        card = {"seq_len": inputs.shape[1], "vocab_size": vocabulary, "pad_id": 0, "sets": ["all"]}
        (folder / split / "dataset.json").write_text(json.dumps(card))
    (folder / "identifiers.json").write_text('["<blank>"]')
    return folder


def test_a_published_sudoku_folder(tmp_path: Path) -> None:
    digits = np.random.default_rng(0).integers(0, 10, (3, 81))
    path = published(
        tmp_path / "sudoku", 11, {"train": (digits + 1, digits + 1), "test": (digits[:1] + 1, digits[:1] + 1)}
    )
    (game,) = load_tasks(str(path))
    assert (len(game.demonstrations), len(game.tests), game.boards) == (3, 1, True)
    assert np.array_equal(game.demonstrations[2].input.reshape(-1), digits[2])
    assert len(load_tasks(f"{path}:2")[0].demonstrations) == 2


def test_a_published_maze_folder(tmp_path: Path) -> None:
    cells = np.array([[1, 2, 3, 4]])  # "# SG" in the published order.
    path = published(tmp_path / "maze", 6, {"train": (cells, cells), "test": (cells, cells)})
    assert load_tasks(str(path))[0].tests[0].input.tolist() == [[5, 0], [3, 2]]


def damage(folder: Path, kind: str) -> str:
    """Damage a folder; returns a part of the expected error."""
    train = folder / "train"
    if kind == "missing":
        (train / "all__labels.npy").unlink()
        return "all__labels.npy: cannot be read as an array"
    if kind == "cut":
        path = train / "all__inputs.npy"
        path.write_bytes(path.read_bytes()[:-10])
        return "all__inputs.npy: cannot be read as an array"
    if kind == "indices":
        np.save(train / "all__puzzle_indices.npy", np.array([0, 5, 3]))
        return "all__puzzle_indices.npy: expected strictly increasing boundaries from 0"
    if kind == "tokens":
        array = np.load(train / "all__inputs.npy")
        array[:] = 77
        np.save(train / "all__inputs.npy", array)
        return "all__inputs.npy: row 0 is not a grid"
    (train / "dataset.json").write_text('{"seq_len": 901}')
    return "dataset.json: seq_len 901, expected a square number"


@pytest.mark.parametrize("kind", ["missing", "cut", "indices", "tokens", "card"])
def test_a_damaged_folder_is_named(tmp_path: Path, kind: str) -> None:
    build(Corpus(solve=TASKS[:2]), BuildConfig((), augment=1), tmp_path / "set", workers=1)
    message = damage(tmp_path / "set", kind)
    with pytest.raises(UserError) as caught:
        load_tasks(str(tmp_path / "set"))
    assert message in str(caught.value)


def test_a_study_task_with_one_pair_is_kept(tmp_path: Path) -> None:
    task: Task = TASKS[0]
    lone = Task("lone", task.demonstrations[:1], (Pair(task.tests[0].input, None),))
    build(Corpus(solve=TASKS[1:2], study=(lone,)), BuildConfig((), augment=1), tmp_path / "set", workers=1)
    assert {t.id for t in load_tasks(str(tmp_path / "set"))} == {"lone", TASKS[1].id}
