"""The results of an evaluation in a folder: predictions.jsonl, and scores.json that was computed from it.

Whether a test output is solved is computed from the grids each time; what the file says about it is not used.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hrm_arc.checks import field, listed, mapping, number, share, text, texts, whole
from hrm_arc.errors import ReportedError, UserError
from hrm_arc.evaluation.baselines import BASELINE_NAMES
from hrm_arc.evaluation.breakdown import error_kind
from hrm_arc.evaluation.prediction import Prediction
from hrm_arc.evaluation.scores import same
from hrm_arc.files import sealed_row, write_sealed_json, write_text
from hrm_arc.puzzles.task import Task, make_grid
from hrm_arc.reading import MIB, check_sealed_row, iterate_rows, open_regular, read_sealed_json
from hrm_arc.runs.folder import RunFolder

# Demonstrations of a task that are kept beside its answers, to be drawn.
MOST_DEMONSTRATIONS = 12
# A row of predictions.jsonl.
Row = dict[str, Any]


class Results(NamedTuple):
    """The results in a folder.

    Attributes:
        scores: as in scores.json.
        rows: those of predictions.jsonl.
    """

    scores: dict[str, Any]
    rows: list[Row]


def result_row(task: Task, prediction: Prediction, groups: Sequence[str]) -> Row:
    """A prediction with its input, its truth and its result, so that it can be drawn without the task."""
    test = task.tests[prediction.test]
    row = {
        **prediction.as_row(),
        "input": test.input.tolist(),
        "truth": None if test.output is None else test.output.tolist(),
        "groups": list(groups),
        # Each board of a game counts as a task.
        "board": bool(task.boards),
        # Demonstrations are stored once, with a task's first test.
        "demonstrations": [] if task.boards or prediction.test else _demonstrations(task),
    }
    return row | _outcome(prediction, row)


def _demonstrations(task: Task) -> list[list[Any]]:
    """The demonstrations of a task as [input, output], at most :data:`MOST_DEMONSTRATIONS`."""
    shown = task.demonstrations[:MOST_DEMONSTRATIONS]
    return [[pair.input.tolist(), pair.output.tolist()] for pair in shown if pair.output is not None]


def write_results(folder: RunFolder, rows: Sequence[Row], scores: Mapping[str, Any]) -> dict[str, Any]:
    """Write predictions.jsonl, then scores.json with the number of its rows and its checksum.

    Returns:
        the scores as they were written.

    Raises:
        ReportedError: a file cannot be written.
    """
    content = "".join(sealed_row(row) for row in rows)
    write_text(folder.predictions_file, content)
    digest = hashlib.sha256(content.encode()).hexdigest()
    complete = {**scores, "predictions": {"rows": len(rows), "sha256": digest}}
    write_sealed_json(folder.scores_file, complete)
    return complete


def read_results(folder: RunFolder) -> Results:
    """The scores and predictions of a folder.

    Raises:
        UserError: there are none; a file is damaged; or they do not belong together, such as after rows were lost.
    """
    scores, path = read_scores(folder), folder.predictions_file
    try:
        has, digest = _rows_and_digest(path, folder.path)
    except FileNotFoundError:
        raise UserError(path, "there is no such file; run hrm eval again") from None
    if digest != scores["predictions"]["sha256"]:
        expected = scores["predictions"]["rows"]
        # Reading the rows raises for the first damaged one, if there is one.
        list(read_rows(path, folder.path))
        what = f"it has {has} rows, and scores.json was made of {expected}" if has != expected else "it has changed"
        raise UserError(path, f"not the predictions that scores.json was made of: {what}; run hrm eval again")
    return Results(scores, [row for _, row in read_rows(path, folder.path)])


def solved_tasks(rows: Sequence[Row]) -> dict[str, bool]:
    """Whether every known test output of a task is solved, for each task of which one is known."""
    solved: dict[str, bool] = {}
    for row in rows:
        if row["truth"] is not None:
            solved[row["task"]] = bool(row["solved"]) and solved.get(row["task"], True)
    return solved


def staleness(folder: RunFolder, scores: Mapping[str, Any]) -> str | None:
    """A line that says that scores are those of an earlier step than the run's; None if they are not."""
    at = folder.owner().status().get("current_step")
    if type(at) is not int or at == scores["step"]:
        return None
    return f"these scores are of step {scores['step']:,}, and the run is at step {at:,}; hrm eval scores it again"


def _rows_and_digest(path: Path, within: Path) -> tuple[int, str]:
    """The number of line breaks of a file, and its SHA-256; it is read in parts, because it may be large."""
    rows, digest = 0, hashlib.sha256()
    with os.fdopen(open_regular(path, within), "rb") as file:
        try:
            while part := file.read(MIB):
                rows += part.count(b"\n")
                digest.update(part)
        except OSError as error:
            raise UserError(path, f"cannot be read: {error.strerror}") from None
    return rows, digest.hexdigest()


def read_scores(folder: RunFolder) -> dict[str, Any]:
    """The scores.json of a folder, with the type of every value that views use checked.

    Raises:
        UserError: there is none, it is damaged, or an earlier version wrote it.
    """
    path = folder.scores_file
    try:
        scores = read_sealed_json(path, within=folder.path)
        _check_scores(scores)
    except FileNotFoundError:
        what = "not scored yet: run hrm eval on it first" if folder.path.is_dir() else "there is no such folder"
        raise UserError(folder.path, what) from None
    except UserError as error:
        raise UserError(path, f"{error.what}; run hrm eval again") from None
    except ValueError as error:
        raise UserError(path, f"damaged: {error}; run hrm eval again") from None
    return scores


def read_rows(path: Path, within: Path | None = None) -> Iterator[tuple[Prediction, Row]]:
    """The predictions of a predictions.jsonl, each with its row; ``solved`` and ``error`` are computed anew.

    Args:
        path: the file.
        within: see :func:`hrm_arc.reading.open_regular`.

    Raises:
        UserError: the file cannot be read, a row is damaged, or two rows answer one test output.
    """
    lines: dict[tuple[str, int], int] = {}
    try:
        for line, found in iterate_rows(path, _check_row, within, unfinished=True):
            if isinstance(found, ValueError):
                raise UserError(path, f"line {line}: {found}; not the predictions of an evaluation")
            prediction, row = found
            first = lines.setdefault((prediction.task, prediction.test), line)
            if first != line:
                what = f"answers {prediction.task}, test {prediction.test + 1}, as line {first} does"
                raise UserError(path, f"line {line}: {what}; expected one answer to each test output")
            yield prediction, row
    except FileNotFoundError:
        raise UserError(path, "there is no such file") from None


def _check_row(data: Any) -> tuple[Prediction, Row]:
    row = check_sealed_row(data)
    try:
        prediction = Prediction.from_row(row)
        make_grid(row["input"])
        if row["truth"] is not None:
            make_grid(row["truth"])
        texts("groups", row["groups"])
        if not isinstance(row["board"], bool):
            raise ValueError("board is not true or false")
        # Rows of earlier versions have none.
        for pair in listed("demonstrations", row.setdefault("demonstrations", [])):
            given, output = listed("demonstrations", pair)
            make_grid(given)
            make_grid(output)
    except KeyError as error:
        raise ValueError(f"has no {error.args[0]}") from None
    except (TypeError, AttributeError, ReportedError) as error:
        raise ValueError(str(error)) from None
    return prediction, row | _outcome(prediction, row)


def _outcome(prediction: Prediction, row: Mapping[str, Any]) -> Row:
    """Whether two attempts solve the test output, and the kind of error of the first one."""
    if row["truth"] is None:
        return {"error": None, "solved": False}
    truth, attempts = make_grid(row["truth"]), prediction.attempts()
    kind = error_kind(attempts[0] if attempts else None, truth, make_grid(row["input"]))
    return {"error": kind, "solved": any(same(attempt, truth) for attempt in attempts)}


def _check_scores(scores: Mapping[str, Any]) -> None:
    """Raise a ValueError that names the first value of a wrong type or range."""
    mapping("changed_tasks", field(scores, "changed_tasks"))
    for name in ("step", "tasks", "answers_seen_in_training", "answers_not_known"):
        whole(name, field(scores, name))
    outputs = whole("test_outputs", field(scores, "test_outputs"))
    for name in ("solved_pass1", "solved_pass2"):
        if outputs:
            whole(name, field(scores, name), 0, outputs)
        elif field(scores, name) is not None:
            raise ValueError(f"{name} is {scores[name]!r:.40}, but no answer is known")
    text("run_id", field(scores, "run_id"))
    texts("warnings", field(scores, "warnings"))
    for name in ("exact_accuracy", "token_accuracy"):
        _unless_null(share, name, field(scores, name))
    _unless_null(number, "mean_segments", field(scores, "mean_segments"))
    for name, version in mapping("versions", field(scores, "versions")).items():
        text(f"versions.{name}", version)
    _check_metrics(scores)
    baselines = mapping("baselines", field(scores, "baselines"))
    for name in BASELINE_NAMES if outputs else baselines:
        values = mapping(f"baselines.{name}", field(baselines, name))
        for key in ("exact_accuracy", "token_accuracy"):
            share(f"baselines.{name}.{key}", field(values, key))
    _check_tables(scores)
    written = mapping("predictions", field(scores, "predictions"))
    whole("predictions.rows", field(written, "rows"))
    text("predictions.sha256", field(written, "sha256"))


def _check_metrics(scores: Mapping[str, Any]) -> None:
    intervals = mapping("intervals", field(scores, "intervals"))
    for metric in listed("metrics", field(scores, "metrics")):
        name = text("metrics.name", field(mapping("metrics", metric), "name"))
        text("metrics.title", field(metric, "title"))
        if not all(isinstance(field(metric, key), bool) for key in ("headline", "share")):
            raise ValueError(f"metric {name} is not described")
        check = share if metric["share"] else number
        _unless_null(check, name, field(scores, name))
        if name in intervals:
            _check_interval(f"intervals.{name}", intervals[name])
        elif scores[name] is not None:
            raise ValueError(f"has no interval of {name}")


def _check_tables(scores: Mapping[str, Any]) -> None:
    for row in listed("groups", field(scores, "groups")):
        text("groups.group", field(mapping("groups", row), "group"))
        whole("groups.tasks", field(row, "tasks"), 1)
        whole("groups.solved", field(row, "solved"), 0, whole("groups.test_outputs", field(row, "test_outputs"), 1))
        share("groups.pass@2", field(row, "pass@2"))
        _check_interval("groups.interval", field(row, "interval"))
    for row in listed("errors", field(scores, "errors")):
        text("errors.kind", field(mapping("errors", row), "kind"))
        whole("errors.count", field(row, "count"), 1)
        share("errors.share", field(row, "share"))
    for row in listed("refinement", field(scores, "refinement")):
        whole("refinement.segment", field(mapping("refinement", row), "segment"), 1)
        outputs = whole("refinement.test_outputs", field(row, "test_outputs"), 1)
        whole("refinement.exact", field(row, "exact"), 0, outputs)
        _unless_null(share, "refinement.changed", field(row, "changed"))


def _check_interval(name: str, value: Any) -> None:
    if len(listed(name, value)) != 2:
        raise ValueError(f"{name} is not [low, high]")
    for end in value:
        number(name, end)


def _unless_null(check: Any, name: str, value: Any) -> None:
    if value is not None:
        check(name, value)
