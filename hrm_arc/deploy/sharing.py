"""Saved weights on the Hugging Face hub, in its own layout: safetensors, config.json and a model card."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from hrm_arc import hub
from hrm_arc.errors import UserError
from hrm_arc.puzzles.sources import BUILT_IN
from hrm_arc.runs.card import Card
from hrm_arc.runs.checkpoint import check, newest_checkpoint, read_card
from hrm_arc.runs.named import ABOUT, FILES, read_about


def push(path: Path, repository: str, private: bool = False) -> str:
    """Upload saved weights with a model card.

    Args:
        path: a folder that :func:`hrm_arc.deploy.packing.save_weights` wrote, or the name of weights that ship.
        repository: ``owner/name``; made if there is none.
        private: whether a new repository is private.

    Returns:
        the address of the repository.

    Raises:
        UserError: these are no saved weights, the hub extra is not installed, or nobody is logged in.
        ReportedError: the hub cannot be reached, or refuses.
    """
    folder = newest_checkpoint(path)
    if not (folder / ABOUT).is_file():
        raise UserError(path, "is a checkpoint of a run; save its weights first: hrm weights save RUN DIR")
    check(folder)
    card, about = read_card(folder), read_about(folder)
    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch)
        for name in FILES:
            if (folder / name).is_file():
                shutil.copyfile(folder / name, whole / name)
        config = {"library_name": "hrm-arc", "architecture": card.model, **card.options, "tasks": len(card.tasks)}
        (whole / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        (whole / "README.md").write_text(model_card(repository, card, about), encoding="utf-8")
        return hub.upload(whole, repository, private, f"Weights of {card.model}, step {card.step:,}")


def model_card(repository: str, card: Card, about: Mapping[str, Any]) -> str:
    """The model card: the hub's metadata in YAML, then what the weights are, in Markdown."""
    head: dict[str, Any] = {
        "license": str(about["license"]).lower(),
        "library_name": "hrm-arc",
        "tags": ["arc-agi", "hierarchical-reasoning-model", card.model],
        # A path or a module of somebody's machine is no data set.
        "datasets": sorted({source.partition("/")[0] for source in (*card.solve, *card.study)} & BUILT_IN.keys()),
    }
    learned = "\n".join(f"- {line}" for line in about["learned_from"])
    made = "\n".join(about["made_with"])
    rows = "\n".join(
        f"| {row['data']} | {row['votes']} | {row['solved']} of {row['test_outputs']} | {row['pass@2']:.2%} |"
        for row in about["scores"]
    )
    warnings = sorted({line for row in about["scores"] for line in row.get("warnings", [])} | set(card.leaks))
    notes = "".join(f"\nNote: {line}\n" for line in warnings)
    scores = (
        f"\n## Scores\n\n| data | votes | solved, two attempts | pass@2 |\n|---|--:|--:|--:|\n{rows}\n" if rows else ""
    ) + notes
    return f"""---
{yaml.safe_dump(head, sort_keys=False).strip()}
---

# {repository.partition("/")[2]}

{about["title"]}. {about["parameters"]:,} parameters, bfloat16.

```python
import hrm_arc

solver = hrm_arc.Solver.from_pretrained("{repository}")
```

## What it learned from

{learned}
{scores}
## How to make it again

```
{made}
```
"""
