"""Several processes, more or fewer of them, and one that dies: a run ends as it would have."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from hrm_arc.runs.folder import RunFolder
from hrm_arc.training.resuming import restarted_run
from hrm_arc.training.trainer import Trainer
from tests.cli.commands import HRM
from tests.made import TORCHRUN, tiny_recipe, write_tasks
from tests.training.test_resume import end_of, metrics_size, recipe_for, rows_of, stopped_at, straight


def torchrun(workers: int, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [*TORCHRUN, str(workers), "-m", "hrm_arc"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, env=environment, timeout=300
    )


def test_a_run_goes_on_with_another_number_of_processes(tmp_path: Path) -> None:
    recipe = recipe_for(tmp_path, "grid-hrm", "--training.precision", "32-true")
    whole = straight(recipe, tmp_path)
    folder = stopped_at(4, recipe, tmp_path / "pieces")
    done = torchrun(2, "train", "--resume", folder.path)
    assert done.returncode == 0, done.stderr
    assert folder.status()["state"] == "finished"
    one, two = end_of(whole), end_of(folder)
    for name in one:
        if not name.startswith("random"):
            torch.testing.assert_close(one[name], two[name], atol=1e-4, rtol=1e-3)
    losses = [[row["loss"] for row in rows_of(folder) if row["kind"] == "validation"] for folder in (whole, folder)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_a_restarted_worker_finds_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe_for(tmp_path)
    root = tmp_path / "runs"
    folder = stopped_at(1, recipe, root)
    assert restarted_run(recipe, root) is None
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert restarted_run(recipe, root) == folder
    assert restarted_run(recipe_for(tmp_path, "grid-hrm", "--seed", "5"), root) is None
    Trainer(recipe, root=root, resume=folder).fit()
    assert restarted_run(recipe, root) is None


def test_a_killed_worker_comes_back_and_the_run_ends_right(tmp_path: Path) -> None:
    flags = ["--training.max_steps", "150", "--training.checkpoint_every", "4", "--validation.every", "10"]
    whole = straight(tiny_recipe(write_tasks(tmp_path / "tasks"), "grid-hrm", *flags), tmp_path)
    command = [*TORCHRUN, "2", "--max-restarts", "3"]
    with (tmp_path / "said.txt").open("w") as said:
        process = subprocess.Popen(
            [*command, "-m", "hrm_arc", "train", tmp_path / "grid-hrm.yaml", *flags, "--out", tmp_path / "runs"],
            stdout=said,
            stderr=said,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    try:
        while not metrics_size(tmp_path / "runs"):
            assert process.poll() is None
            time.sleep(0.02)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[-1]), signal.SIGKILL)
        assert process.wait(timeout=200) == 0, (tmp_path / "said.txt").read_text()
    finally:
        process.terminate()
        process.wait(timeout=60)
    (path,) = (tmp_path / "runs").iterdir()
    folder = RunFolder(path)
    assert (folder.status()["state"], folder.status()["current_step"]) == ("finished", 150)
    assert "start at step" in folder.log_file.read_text().split("start at step 0", 1)[1], "it was started again"
    assert [row["step"] for row in rows_of(folder)] == [row["step"] for row in rows_of(whole)]
    losses = [[row["loss"] for row in rows_of(each) if row["kind"] == "validation"] for each in (whole, folder)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-2), "but for rounding, it learned the same"


def test_processes_share_an_evaluation(tmp_path: Path) -> None:
    folder = straight(recipe_for(tmp_path), tmp_path)
    alone = subprocess.run([*HRM, "eval", folder.path, "--votes", "8", "--json"], capture_output=True, check=True)
    predictions = folder.predictions_file.read_bytes()
    shared = torchrun(2, "eval", folder.path, "--votes", "8", "--json")
    assert shared.returncode == 0, shared.stderr
    assert folder.predictions_file.read_bytes() == predictions
    one, two = json.loads(alone.stdout), json.loads(shared.stdout)
    assert {**one, "seconds": 0} == {**two, "seconds": 0}


def test_two_machines_train_as_one_and_one_goes_on_alone(tmp_path: Path) -> None:
    flags = ["--training.max_steps", "150", "--training.checkpoint_every", "4", "--validation.every", "10"]
    whole = straight(tiny_recipe(write_tasks(tmp_path / "tasks"), "grid-hrm", *flags), tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meet = ["--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d", "--rdzv-id", "test"]
    place = ["--rdzv-endpoint", f"127.0.0.1:{port}", "--local-addr", "127.0.0.1", "--max-restarts", "0"]
    train = ["-m", "hrm_arc", "train", tmp_path / "grid-hrm.yaml", *flags, "--out", tmp_path / "runs"]
    with (tmp_path / "said.txt").open("w") as said:
        machines = [
            subprocess.Popen(
                [sys.executable, "-m", "torch.distributed.run", *meet, *place, *train],
                stdout=said,
                stderr=said,
                env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
            )
            for _ in range(2)
        ]
    try:
        while not metrics_size(tmp_path / "runs"):
            assert not any(machine.poll() for machine in machines), (tmp_path / "said.txt").read_text()
            time.sleep(0.02)
        (path,) = (tmp_path / "runs").iterdir()
        children = Path(f"/proc/{machines[1].pid}/task/{machines[1].pid}/children").read_text().split()
        for process in (*map(int, children), machines[1].pid):
            os.kill(process, signal.SIGKILL)
        assert machines[0].wait(timeout=200) != 0
    finally:
        for machine in machines:
            machine.kill()
            machine.wait(timeout=60)
    done = subprocess.run([*HRM, "train", "--resume", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    folder = RunFolder(path)
    assert (folder.status()["state"], folder.status()["current_step"]) == ("finished", 150)
    assert [row["step"] for row in rows_of(folder)] == [row["step"] for row in rows_of(whole)]
    losses = [[row["loss"] for row in rows_of(each) if row["kind"] == "validation"] for each in (whole, folder)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-2), "but for rounding, it learned the same"
