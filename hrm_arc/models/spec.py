"""What the program knows of a model: one ``ModelSpec`` each, read by recipes, tests, export and ``hrm solve``."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any, get_type_hints

import torch

from hrm_arc.errors import UserError
from hrm_arc.models.reasoner import Reasoner
from hrm_arc.registry import Registry


@dataclass(frozen=True)
class ExportSpec:
    """How a model's segment becomes a graph.

    Attributes:
        carry: names of the carry's tensors, each ``[batch, tokens, hidden_size]``.
        num_heads: attention heads of a configuration; the runtime limits its memory by them.
        fixed_cells: the cells of the one canvas that a configuration takes; None: it takes any.
    """

    carry: tuple[str, ...]
    num_heads: Callable[[Any], int]
    fixed_cells: Callable[[Any], int | None] = lambda config: None


@dataclass(frozen=True)
class ModelSpec:
    """A model.

    Attributes:
        config: its configuration, a frozen dataclass; its fields are the keys of a recipe's ``model`` section,
            and its docstring's ``Attributes`` are their help texts.
        build: makes the model from a configuration, the number of tasks, and the number of variants of each task.
        example_config: a small configuration for tests.
        task_tables: names of the parameters with a row for each task (row 0: unseen tasks).
        export: how a segment is exported; None if the model cannot be exported.
        loss: keys of a recipe's ``loss`` section that the model is published with, for a fine-tuning of it.
    """

    config: type
    build: Callable[[Any, int, int], Reasoner]
    example_config: Mapping[str, Any] = field(default_factory=dict)
    task_tables: tuple[str, ...] = ()
    export: ExportSpec | None = None
    loss: Mapping[str, Any] = field(default_factory=dict)


# The built-in models. A new one is a file of this package with a SPEC, and one line here.
MODELS: Registry[ModelSpec | type[Reasoner]] = Registry(
    "model",
    {
        "dual-loop": "hrm_arc.models.dual_loop:SPEC",
        "grid-hrm": "hrm_arc.models.grid_hrm:SPEC",
        "hrm": "hrm_arc.models.hrm:SPEC",
        "trm": "hrm_arc.models.trm:SPEC",
    },
)


def register_model(name: str, model: ModelSpec | type[Reasoner]) -> None:
    """Make a model available to recipes as ``model.name: NAME``.

    Args:
        name: the name.
        model: a :class:`ModelSpec`, or a :class:`Reasoner` class as for :func:`spec_of`.
    """
    MODELS.register(name, model)


def find_model(name: str, where: object = "model.name") -> ModelSpec:
    """The spec of a registered model, or of ``package.module:Name``.

    Raises:
        UserError: there is no such model, it is not importable here, or it is not a model.
    """
    return spec_of(MODELS.find(name, where), name)


def spec_of(model: Any, name: str) -> ModelSpec:
    """The spec of a model: a :class:`ModelSpec` itself, or one derived from a :class:`Reasoner` class.

    The class takes its configuration, a dataclass, as the first argument of its constructor, and the number of
    tasks as a second and the number of variants as a third argument if it wants them. Its ``task_tables`` are the
    spec's.

    Raises:
        UserError: it is neither, or the configuration is not a dataclass; naming ``name``.
    """
    if isinstance(model, ModelSpec):
        return model
    if not (isinstance(model, type) and issubclass(model, Reasoner)):
        raise UserError(name, "is not a model, expected a ModelSpec or a subclass of hrm_arc.Reasoner")
    parameters = list(inspect.signature(model.__init__).parameters.values())[1:]
    hints = get_type_hints(model.__init__)
    config = hints.get(parameters[0].name) if parameters else None
    if not is_dataclass(config) or not isinstance(config, type):
        raise UserError(name, "its constructor's first argument needs the type of its configuration, a dataclass")
    wanted = len(parameters) - 1

    def build(options: Any, num_tasks: int, num_variants: int) -> Reasoner:
        return model(options, *(num_tasks, num_variants)[:wanted])

    return ModelSpec(config, build, task_tables=model.task_tables)


def build_model(name: str, options: Mapping[str, Any], num_tasks: int, num_variants: int = 1) -> Reasoner:
    """A model with freshly initialized weights.

    Args:
        name: a registered name, or ``package.module:Name``.
        options: fields of the model's configuration.
        num_tasks: rows of its task table, if it has one, beside the row for unseen tasks.
        num_variants: variants of each task, the original included, where each has a row.

    Raises:
        UserError: there is no such model, it has other options, or it does not fit this machine's memory.
        ValueError: an option has a wrong value.
    """
    spec = find_model(name)
    try:
        config = spec.config(**options)
    except TypeError as error:
        raise UserError("model", f"{name} does not have these options: {error}") from None
    needed, there = _bytes_needed(spec, config, num_tasks, num_variants), _physical_memory()
    if needed is not None and there is not None and needed > there:
        what = f"the model's weights take {needed / 2**30:,.0f} GiB, and this machine has {there / 2**30:,.0f} GiB"
        raise UserError("model", f"{what}; take a smaller model")
    return spec.build(config, num_tasks, num_variants)


def _bytes_needed(spec: ModelSpec, config: Any, num_tasks: int, num_variants: int) -> int | None:
    """The bytes of a model's state, without allocating it; None for a model that cannot be built so."""
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            model = spec.build(config, num_tasks, num_variants)
        return sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))
    except Exception:  # A constructor may read values, which tensors without memory do not have.
        return None


def _physical_memory() -> int | None:
    """The bytes of memory of this machine, where it says so."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def options_of(model: Reasoner) -> dict[str, Any]:
    """The configuration of a built model as plain data: its ``config`` attribute, or nothing if it has none."""
    config = model.config
    return asdict(config) if is_dataclass(config) and not isinstance(config, type) else {}


def has_task_table(model: Reasoner, name: str) -> bool:
    """Whether a model has a row for each task; a configuration may leave the table out.

    Args:
        model: the model.
        name: in recipes.
    """
    tables = find_model(name).task_tables
    return any(parameter in tables for parameter, _ in model.named_parameters())


def reference_to(model: Reasoner) -> str:
    """``package.module:Class`` of a model that was built by hand."""
    return f"{type(model).__module__}:{type(model).__qualname__}"
