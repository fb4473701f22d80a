"""What halting saves in inference: the same model with early exit and with every segment for every sample.

A grid-hrm with four segments is trained on the quickstart's tasks. The two ways are timed alternately, so that a
slow moment of the machine affects both.
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
from benchmarks._runs import positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--segments", type=int, default=4, help="segments of the model (default 4)")
    parser.add_argument("--minutes", type=positive, default=3.5, help="minutes of training (default 3.5)")
    parser.add_argument("--votes", type=int, default=256, help="variants of each test input (default 256)")
    parser.add_argument("--repeats", type=int, default=5, help="timed evaluations of each kind (default 5)")


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    from hrm_arc.evaluation.evaluate import predict_tasks
    from hrm_arc.evaluation.provenance import tasks_to_score
    from hrm_arc.evaluation.scores import right_votes, score
    from hrm_arc.evaluation.torch_backend import load_model

    with tempfile.TemporaryDirectory() as folder:
        flags = ["--model.segments", str(options.segments), "--training.max_minutes", str(options.minutes)]
        trained = hrm("train", "quickstart", *flags, "--out", folder)
        backend, card = load_model(Path(trained["folder"]), "cpu")
    tasks = tasks_to_score(card, None)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    scores: dict[bool, dict[str, Any]] = {}
    right: dict[bool, float] = {}
    # The first pass of each way is not timed: kernels are built in it. Then each begins as often as the other.
    for repeat in range(options.repeats + 1):
        for early_exit in (True, False) if repeat % 2 else (False, True):
            backend.early_exit = early_exit
            started = time.perf_counter()
            predictions = predict_tasks(backend, card, tasks, votes=options.votes)
            if repeat:
                seconds[early_exit].append(time.perf_counter() - started)
            scores[early_exit] = score(tasks, predictions)
            outputs = scores[early_exit]["test_outputs"]
            right[early_exit] = right_votes(tasks, predictions) / (options.votes * outputs)
    for early_exit, name in ((False, "every segment"), (True, "until halted")):
        yield {
            "runs": name,
            "mean segments": f"{scores[early_exit]['mean_segments']:.2f} of {options.segments}",
            "solved, two attempts": f"{scores[early_exit]['solved_pass2']} of {scores[early_exit]['test_outputs']}",
            "grids exactly right, one pass": f"{scores[early_exit]['exact_accuracy']:.1%}",
            "votes that are right": f"{right[early_exit]:.2%}",
            "seconds, median": f"{statistics.median(seconds[early_exit]):.2f}",
            "times as fast": f"{statistics.median(seconds[False]) / statistics.median(seconds[early_exit]):.2f}",
        }
