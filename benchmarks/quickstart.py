"""The quickstart under several seeds: solved test outputs beside the baselines.

python -m benchmarks.quickstart [--seeds 0 1 2] [--minutes M]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, help="training time (default: the recipe's)")
    options = parser.parse_args()
    limit = [] if options.minutes is None else ["--minutes", str(options.minutes)]
    rows = []
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "hrm_arc", "quickstart", "--seed", str(seed), "--out", folder, "--json"]
            done = subprocess.run([*command, *limit], stdout=subprocess.PIPE, text=True, check=True)
        rows.append((seed, json.loads(done.stdout)))
    print("| seed | solved, two attempts | in one | one pass, no votes | copy of the input | training, s | in all, s |")
    print("|---|---|---|---|---|---|---|")
    for seed, result in rows:
        print("| " + " | ".join(map(str, (seed, *_cells(result)))) + " |")


def _cells(result: dict[str, Any]) -> tuple[str, ...]:
    outputs = result["test_outputs"]
    copied = result["baselines"]["copy_input"]["exact_accuracy"]
    return (
        f"{result['solved_pass2']} of {outputs}",
        f"{result['solved_pass1']} of {outputs}",
        f"{round(result['exact_accuracy'] * outputs)} of {outputs}",
        f"{round(copied * outputs)} of {outputs}",
        f"{result['training_seconds']:.0f}",
        f"{result['seconds']:.0f}",
    )


if __name__ == "__main__":
    main()
