"""Sudoku and Maze: four models on each game for the same minutes, segments in training and inference, or halting.

Boards to train on are fresh all the time, boards to score are unseen. Without --segments each row is a model on a
game. With --segments each row is a grid-hrm trained with so many segments, and the columns count the boards that are
right after each segment that it is allowed at inference, also beyond those of its training. With --halting the
grid-hrm of the first table answers the boards twice, until it halts and with every segment, timed in turn.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks._paired import solved
from benchmarks._runs import Scored, add_keep, positive, runs_folder, scored_run
from hrm_arc.errors import UserError
from hrm_arc.evaluation.bootstrap import ratio_interval
from hrm_arc.evaluation.games import wilson
from hrm_arc.puzzles.augmented import Samples

if TYPE_CHECKING:
    from hrm_arc.evaluation.backend import Answers
    from hrm_arc.evaluation.torch_backend import TorchBackend

MODELS = ("dual-loop", "hrm", "trm", "grid-hrm")
# Each game with its minutes of training.
GAMES = {"sudoku-4x4": 2.0, "sudoku-6x6": 10.0, "maze-9x9": 10.0, "sudoku-9x9": 10.0}
# Where most boards, up to symmetry, have to be left for training.
MOST_BOARDS = {"sudoku-4x4": 200}
ALLOWED = (1, 2, 4, 8, 16)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--games", nargs="+", choices=GAMES, default=list(GAMES), help="games (default: all)")
    parser.add_argument("--only", nargs="+", choices=MODELS, default=list(MODELS), help="run only these models")
    parser.add_argument(
        "--minutes", type=positive, help="minutes of training (default: 2 for sudoku-4x4, 10 for others)"
    )
    parser.add_argument("--steps", type=int, help="train for so many steps, whatever the time they take")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds to run (default 0 1 2)")
    parser.add_argument("--boards", type=int, default=500, help="boards to score (default 500; 200 of sudoku-4x4)")
    parser.add_argument("--givens", type=int, default=0, help="count Sudokus with at least so many givens apart")
    parser.add_argument("--split", default="test", help="test; or validation, to choose settings by")
    parser.add_argument(
        "--segments", type=int, nargs="*", help="compare training with so many segments (default 1 4 8 16)"
    )
    parser.add_argument("--halting", action="store_true", help="compare halting with running every segment")
    parser.add_argument("--halt-at", type=float, default=0.99, help="halting probability for --halting (default 0.99)")
    parser.add_argument("--allowed", type=int, default=16, help="segments that --halting allows (default 16)")
    parser.add_argument("--repeats", type=int, default=3, help="timed passes over the boards of --halting (default 3)")
    add_keep(parser)


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    if options.halting and (options.segments is not None or list(options.only) != list(MODELS)):
        raise UserError("--halting", "is about grid-hrm as the first table has it: without --segments and --only")
    if options.halting and getattr(options, "plot", None) is not None:
        raise UserError("--plot", "draws the first table or that of --segments; --halting has no picture")
    with runs_folder(options.keep) as root:
        for game in options.games:
            if options.halting:
                yield _halting(root, game, options)
            elif options.segments is None:
                for model in options.only:
                    yield _race(root, game, model, options)
            else:
                for segments in options.segments or (1, 4, 8, 16):
                    yield _segments(root, game, segments, options)


def flags_of(game: str, model: str, options: argparse.Namespace) -> list[str]:
    """The flags that make the recipe of a model one of a game.

    Args:
        game: such as ``sudoku-6x6``.
        model: one of ``MODELS``.
        options: ``minutes``, ``steps``, ``boards`` and ``split``.
    """
    from hrm_arc.training.recipes import load_recipe

    own = load_recipe(game)
    boards = min(options.boards, MOST_BOARDS.get(game, options.boards))
    flags = ["--data.solve", f'["{game}/{options.split}:{boards}"]']
    flags += ["--training.batch_size", str(own.training.batch_size)]
    if options.steps:
        flags += ["--training.max_minutes", "0", "--training.max_steps", str(options.steps)]
    else:
        flags += ["--training.max_minutes", str(options.minutes or GAMES[game])]
    if model == "trm" and game.startswith("sudoku"):
        side = int(game.rpartition("x")[2])
        flags += ["--model.mixing", "mlp", "--model.cells", str(side * side)]
    if model == "grid-hrm":
        flags += [f"--model.{key}={value}" for key, value in own.model_options.items() if key != "conditioning"]
    return flags


def _run(root: Path, name: str, model: str, flags: Sequence[str], seed: int) -> tuple[Scored, float | None]:
    """A run, and the processor seconds of its training and scoring; None if some of it was there already."""
    is_begun = (root / f"{name}-{seed}").is_dir()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = scored_run(root, f"{name}-{seed}", f"games/{model}", ["--seed", str(seed), *flags])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return run, None if is_begun else spent


def _race(root: Path, game: str, model: str, options: argparse.Namespace) -> dict[str, Any]:
    flags = flags_of(game, model, options)
    runs, spent = zip(*(_run(root, f"{game}-{model}", model, flags, seed) for seed in options.seeds), strict=True)
    scores = [run.scores["games"][0] for run in runs]
    boards = sum(each["boards"] for each in scores)
    baselines = scores[0]["baselines"]
    apart = [exact_from(run.folder, options.givens) for run in runs] if options.givens else []
    return {
        "game": game,
        "model": model,
        "steps": ", ".join(f"{run.trained['steps']:,}" for run in runs),
        "exact boards, by seed": ", ".join(str(each["exact"]) for each in scores) + f" of {scores[0]['boards']}",
        "exact": over_seeds(np.array([solved(run.folder) for run in runs])),
        "solved by rule": f"{sum(each['valid'] for each in scores) / boards:.1%}",
        **({f"with at least {options.givens} givens": over_seeds(np.array(apart))} if apart else {}),
        "open cells right": f"{np.mean([each['cells'] for each in scores]):.2%}",
        "mean segments": f"{np.mean([run.scores['mean_segments'] for run in runs]):.2f}",
        "copy": f"{baselines['copy']['exact'] / scores[0]['boards']:.1%}",
        "without search": f"{baselines['without_search']['exact'] / scores[0]['boards']:.1%}",
        "minutes": ", ".join(f"{run.trained['seconds'] / 60:.1f}" for run in runs),
        "processor minutes": ", ".join("not known" if each is None else f"{each / 60:.1f}" for each in spent),
        "_groups": scores[0]["groups"],
        "_difficulty": scores[0]["difficulty"],
    }


def over_seeds(right: np.ndarray) -> str:
    """The share of right boards over seeds, with its 95% interval over boards: a hard one is hard for all seeds.

    Args:
        right: whether each board is right, ``[seeds, boards]`` (bool).
    """
    seeds, boards = right.shape
    if not boards:
        return "none"
    times = right.sum(axis=0)
    if seeds == 1 or times.min() == times.max():
        # Wilson's interval also knows what to say where all boards are alike, which no draw of them changes.
        low, high = wilson(int(times.sum()) // seeds, boards)
    else:
        low, high = ratio_interval(np.stack([times, np.full(boards, seeds)], axis=1), 0)
    return f"{right.mean():.1%} ({low:.1%} to {high:.1%})"


def _segments(root: Path, game: str, segments: int, options: argparse.Namespace) -> dict[str, Any]:
    flags = [*flags_of(game, "grid-hrm", options), f"--model.segments={segments}"]
    name = f"{game}-segments-{segments}"
    runs = [_run(root, name, "grid-hrm", flags, seed)[0] for seed in options.seeds]
    # [seeds, segments, boards]
    right = np.stack([exact_after(run.folder, max(ALLOWED)) for run in runs])
    columns = {f"{allowed} allowed": over_seeds(right[:, allowed - 1]) for allowed in ALLOWED}
    return {
        "game": game,
        "trained with": segments,
        "steps": ", ".join(f"{run.trained['steps']:,}" for run in runs),
        "boards": right.shape[2],
        **columns,
        "_exact": right.mean(axis=(0, 2)).tolist(),
    }


def _halting(root: Path, game: str, options: argparse.Namespace) -> dict[str, Any]:
    flags = flags_of(game, "grid-hrm", options)
    right: dict[bool, list[np.ndarray]] = {True: [], False: []}
    seconds = {True: 0.0, False: 0.0}
    taken: list[np.ndarray] = []
    for seed in options.seeds:
        run, _ = _run(root, f"{game}-grid-hrm", "grid-hrm", flags, seed)
        backend, batches = opened(run.folder, options.allowed)
        backend.halt_at = options.halt_at
        spent: dict[bool, list[float]] = {True: [], False: []}
        # The first pass of each way is not timed: kernels are built in it. Then each begins as often as the other.
        for repeat in range(options.repeats + 1):
            for early_exit in (True, False) if repeat % 2 else (False, True):
                backend.early_exit = early_exit
                started = time.perf_counter()
                answers = [backend.answer(batch) for batch in batches]
                if repeat:
                    spent[early_exit].append(time.perf_counter() - started)
                    continue
                right[early_exit].append(exactly_right(answers, batches))
                taken += [answer.segments for answer in answers if early_exit]
        for early_exit, each in spent.items():
            seconds[early_exit] += statistics.median(each)
    return {
        "game": game,
        "boards": len(right[True][0]),
        f"right with {options.allowed} segments": over_seeds(np.stack(right[False])),
        f"right until halted at {options.halt_at:g}": over_seeds(np.stack(right[True])),
        "mean segments": f"{np.concatenate(taken).mean():.2f}",
        "seconds": f"{seconds[False]:.1f}",
        "seconds until halted": f"{seconds[True]:.1f}",
        "times as fast": f"{seconds[False] / seconds[True]:.2f}",
    }


def exact_from(run: Path, givens: int) -> list[bool]:
    """Whether each board of a run's test set with at least so many givens is right in predictions.jsonl."""
    from hrm_arc.evaluation.provenance import tasks_to_score
    from hrm_arc.reading import read_lines
    from hrm_arc.runs.checkpoint import newest_checkpoint, read_card

    (task,) = tasks_to_score(read_card(newest_checkpoint(run)), None)
    answers = {row["test"]: row["candidates"][:1] for row in read_lines(run / "predictions.jsonl")}
    asked = [
        (answers[n], test.output)
        for n, test in enumerate(task.tests)
        if test.output is not None and (test.input > 0).sum() >= givens
    ]
    return [bool(best) and np.array_equal(best[0]["grid"], output) for best, output in asked]


def exactly_right(answers: Sequence[Answers], batches: Sequence[Samples]) -> np.ndarray:
    """Whether the answer to each board is its solution, ``[boards]``."""
    return np.concatenate(
        [(each.tokens == batch.labels).all(axis=1) for each, batch in zip(answers, batches, strict=True)]
    )


def exact_after(run: Path, segments: int) -> np.ndarray:
    """Whether each board of a run's test set is exactly right after each segment, all segments run.

    Args:
        run: the run folder.
        segments: how many to run, whatever the model was trained with.

    Returns:
        ``[segments, boards]`` (bool).
    """
    backend, batches = opened(run, segments)
    return np.concatenate([(backend.refine(each) == each.labels).all(axis=2) for each in batches], axis=1)


def opened(run: Path, segments: int) -> tuple[TorchBackend, list[Samples]]:
    """The model of a run with a number of segments, and batches of the boards that it is to solve."""
    from hrm_arc.evaluation.provenance import tasks_to_score
    from hrm_arc.evaluation.torch_backend import load_model
    from hrm_arc.puzzles.canvas import visible_canvas
    from hrm_arc.puzzles.varied import board_samples

    backend, card = load_model(run, "cpu")
    backend.set_halting(card.halt_at, segments)
    (task,) = tasks_to_score(card, None)
    boards, solutions = (
        np.stack([grid.reshape(-1) for grid in grids if grid is not None])
        for grids in ([test.input for test in task.tests], [test.output for test in task.tests])
    )
    rows = np.full(len(boards), card.rows()[task.id])
    return backend, list(board_samples(visible_canvas(task), boards, solutions, rows).parts(128))


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw exact boards against allowed segments, or mean segments against difficulty, a line for each row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for row in rows:
        if "_exact" in row:
            label = f"{row['game']}, trained with {row['trained with']}"
            axes.plot(range(1, len(row["_exact"]) + 1), row["_exact"], marker=".", label=label)
        else:
            groups = [group for group in row["_groups"] if group["mean_segments"] is not None]
            places = [(group["from"] + group["to"]) / 2 for group in groups]
            label = f"{row['game']}, {row['model']}, by {row['_difficulty']}"
            axes.plot(places, [group["mean_segments"] for group in groups], marker=".", label=label)
    by_segment = bool(rows) and "_exact" in rows[0]
    axes.set_xlabel("segments allowed at inference" if by_segment else "difficulty")
    axes.set_ylabel("boards exactly right" if by_segment else "mean segments until halted")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
