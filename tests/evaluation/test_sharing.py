from __future__ import annotations

import pytest

from hrm_arc.evaluation import sharing
from hrm_arc.evaluation.sharing import WorkShare


def test_one_process_has_all_the_work() -> None:
    work = WorkShare()
    assert (work.rank, work.world_size, work.is_main) == (0, 1, True)
    assert work.own([1, 2, 3]) == work.gather([1, 2, 3]) == [1, 2, 3]


def test_processes_divide_the_work_among_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "init_process_group", lambda backend, timeout: None)
    monkeypatch.setenv("WORLD_SIZE", "3")
    parts = []
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        work = WorkShare()
        assert work.is_main == (rank == 0)
        parts.append(work.own(range(8)))
    assert parts == [[0, 3, 6], [1, 4, 7], [2, 5]]
