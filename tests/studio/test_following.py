"""What is shown while a model works is what it would have said without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hrm_arc.evaluation import predict
from hrm_arc.evaluation.evaluate import predict_tasks
from hrm_arc.evaluation.predict import segment_grids
from hrm_arc.evaluation.torch_backend import load_model
from hrm_arc.puzzles.sources import load_tasks


def test_votes_and_segments_that_are_followed(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend, card = load_model(runs / "trained", "cpu")
    (task, *_) = load_tasks(str(runs.parent / "flips"))
    (plain,) = predict_tasks(backend, card, [task], votes=16, refine=True)
    # One sample in each pass.
    monkeypatch.setattr(predict, "FOLLOWED_CELLS", 1)
    seen: list[tuple[Any, ...]] = []
    (followed,) = predict_tasks(backend, card, [task], votes=16, refine=True, voted=lambda *each: seen.append(each))
    assert [(c.grid.tolist(), c.votes) for c in followed.candidates] == [
        (c.grid.tolist(), c.votes) for c in plain.candidates
    ]
    assert [done for _, _, done in seen] == list(range(1, 17))
    assert {key for key, _, _ in seen} == {(task.id, 0)}
    assert all(sum(c.votes for c in candidates) <= done for _, candidates, done in seen)
    assert seen[-1][1] == followed.candidates
    segments = list(segment_grids(backend, task, 0, card.rows(), card.canvas))
    listed = [
        [None if g is None else g.tolist() for g in grids] for grids in ([s.grid for s in segments], plain.refinement)
    ]
    assert listed[0] == listed[1]
    assert len(segments) == backend.model.segments
    assert segments[-1].halted
    assert all(0 <= segment.confidence <= 1 for segment in segments)
