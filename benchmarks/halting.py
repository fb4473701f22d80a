"""What halting saves: a model of several segments, with samples that halt leaving the batch, and without.

grid-hrm learns the quickstart's tasks with four segments of thought; its answers are timed in
turns, so that a slow moment of the machine falls on both.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks._processes import hrm


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--segments", type=int, default=4)
    parser.add_argument("--minutes", type=float, default=3.5, help="of training")
    parser.add_argument("--votes", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    from hrm_arc.evaluation.evaluate import predict_tasks, tasks_to_score
    from hrm_arc.evaluation.scores import right_votes, score
    from hrm_arc.evaluation.torch_backend import load_model

    with tempfile.TemporaryDirectory() as folder:
        flags = ["--model.segments", str(options.segments), "--training.minutes", str(options.minutes)]
        trained = hrm("train", "quickstart", *flags, "--out", folder)
        backend, card = load_model(Path(trained["folder"]), "cpu")
    tasks = tasks_to_score(card, None)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    scores: dict[bool, dict[str, Any]] = {}
    right: dict[bool, float] = {}
    for _ in range(options.repeats):
        for halting in (True, False):
            backend.halting = halting
            started = time.perf_counter()
            predictions = predict_tasks(backend, card, tasks, votes=options.votes)
            seconds[halting].append(time.perf_counter() - started)
            scores[halting] = score(tasks, predictions)
            right[halting] = right_votes(tasks, predictions) / (options.votes * scores[halting]["test_outputs"])
    for halting, name in ((False, "every segment"), (True, "until halted")):
        yield {
            "thinks": name,
            "mean segments": f"{scores[halting]['mean_segments']:.2f} of {options.segments}",
            "solved, two attempts": f"{scores[halting]['solved_pass2']} of {scores[halting]['test_outputs']}",
            "grids exactly right, one pass": f"{scores[halting]['exact_accuracy']:.1%}",
            "over all passes": f"{right[halting]:.2%}",
            "seconds, median": f"{statistics.median(seconds[halting]):.2f}",
            "times as fast": f"{statistics.median(seconds[False]) / statistics.median(seconds[halting]):.2f}",
        }
