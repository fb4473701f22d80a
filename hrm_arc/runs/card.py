"""The card of a checkpoint or an exported file: what it says of itself, checked when it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, get_args

from hrm_arc import checks
from hrm_arc.puzzles.canvas import CanvasKind
from hrm_arc.puzzles.fingerprint import GivenAnswers, test_digests
from hrm_arc.puzzles.variant_names import DIGITS, check_symmetries
from hrm_arc.reading import kind_of

# A model's options are sizes and counts; larger ones are those of no model and could exhaust the memory.
LARGEST_OPTION = 10**6


@dataclass(frozen=True)
class Card:
    """The description of a checkpoint.

    Attributes:
        model: the model's name in recipes: registered, or ``package.module:Name``.
        options: its configuration.
        tasks: task IDs in the order of the model's task table, from row 1 on.
        canvas: ``full``, ``cropped`` or ``squares``.
        ignores_padding: whether the loss ignored padding, so that predictions there have no meaning.
        solve: the sources that it was trained to solve.
        study: the sources whose answers it was trained on.
        held_out: the number of ``tasks``, from the first on, whose test outputs were held out.
        variants: the number of variants of each task that have a row in the model's table: the first ones of the
            augmented set with this ``seed``.
        seed: see ``variants``.
        leaks: training data that answered a task to be solved; scores are then not fair.
        step: training steps done.
        run_id: the run.
        training: further state for resuming: numbers, text, lists.
        fingerprints: of each task's grids at training time, see :mod:`hrm_arc.puzzles.fingerprint`.
        places: for each source that is a path, the path relative to the run's folder.
        earlier: the answers that were given to earlier trainings, from whose weights these descend, see
            :class:`hrm_arc.puzzles.fingerprint.GivenAnswers`; ``chosen_by``: digests of the test inputs by whose
            answers weights that it began with were chosen; ``kept_out``: see :meth:`kept_out`; and whether the first
            training was ``imported``, so that its answers are not known. Empty for a training from scratch.
        symmetries: for each task of an imported checkpoint whose rows of variants were imported, the symmetries of
            these rows, the original first: eleven digits each, see
            :func:`hrm_arc.puzzles.variant_names.read_symmetries`. They stand in place of those that ``seed`` selects.
        halt_at: the halting probability above which a sample stops before its last segment.
        fresh: whether it was trained on generated boards without end; none is an image of a board that was held out.
        loss: the keys of the recipe's ``loss`` section; empty where they are not known, as of an imported checkpoint.
    """

    model: str
    options: dict[str, Any]
    tasks: list[str]
    canvas: CanvasKind
    ignores_padding: bool
    solve: list[str]
    study: list[str]
    held_out: int
    variants: int
    seed: int
    leaks: list[str]
    step: int
    run_id: str
    training: dict[str, Any]
    fingerprints: dict[str, Any] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    earlier: dict[str, Any] = field(default_factory=dict)
    symmetries: dict[str, str] = field(default_factory=dict)
    halt_at: float = 0.5
    fresh: bool = False
    loss: dict[str, Any] = field(default_factory=dict)

    @property
    def permutes_colors(self) -> bool:
        """Whether the model's vocabulary has all colors; that of a published Maze model has those of the maze alone."""
        return self.options.get("vocabulary") != "maze"

    @property
    def imported(self) -> bool:
        """Whether it was imported from a published system."""
        return "imported" in self.training

    @property
    def early_exit(self) -> bool:
        """Whether samples stop by their halting logit unless told otherwise.

        Those of an imported checkpoint do not: published evaluations run every segment, and halting saves time in
        training alone.
        """
        return not self.imported

    @property
    def goes_back_to_import(self) -> bool:
        """Whether its weights go back to a published system, of whose training nothing is known here."""
        return self.imported or bool(self.earlier.get("imported"))

    def given_answers(self) -> GivenAnswers:
        """The outputs that its training was given, and those that earlier trainings were given."""
        earlier = GivenAnswers.from_json(self.earlier)
        return earlier if self.imported else earlier | GivenAnswers.of(self.fingerprints, self.tasks[self.held_out :])

    def chosen_by(self) -> frozenset[str]:
        """Digests of the test inputs by whose answers it, or weights that it goes back to, was chosen."""
        known = [self.fingerprints.get(name) for name in self.tasks[: self.held_out] if self.training.get("chosen")]
        own = frozenset(digest for each in known for digest in test_digests(each))
        return own | frozenset(self.earlier.get("chosen_by", ()))

    def has_data_of(self, other: Card) -> bool:
        """Whether both were trained on the same grids, with the same test outputs held out."""
        own, others = ((each.held_out, each.fresh, each.fingerprints) for each in (self, other))
        return own == others

    def kept_out(self) -> dict[str, list[str]]:
        """The boards that were kept out of all its trainings on fresh boards, by digests of their test inputs.

        Returns:
            for each game that it, or weights that it goes back to, was trained to solve on fresh boards.
        """
        kept = dict(self.earlier.get("kept_out", {}))
        for name in self.tasks[: self.held_out] if self.fresh else ():
            own = test_digests(self.fingerprints.get(name))
            kept[name] = sorted({*own} & {*kept.get(name, own)})
        return kept

    def for_later(self) -> dict[str, Any]:
        """The field ``earlier`` of a card of a training that begins with its weights."""
        known = {"chosen_by": sorted(self.chosen_by()), "kept_out": self.kept_out()}
        return {
            **self.given_answers().as_json(),
            **{name: value for name, value in known.items() if value},
            "imported": self.goes_back_to_import,
        }

    def rows(self) -> dict[str, int]:
        """The row of each task in the model's table."""
        return {name: row for row, name in enumerate(self.tasks, start=1)}

    def as_json(self) -> dict[str, Any]:
        """The card as plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> Card:
        """The inverse of :meth:`as_json`, for data from anywhere.

        Raises:
            ValueError: it is not a card; saying which field is wrong.
        """
        if not isinstance(data, dict):
            raise ValueError(f"the card is {kind_of(data)}, expected an object")
        known = {each.name: each for each in fields(cls)}
        if unknown := [name for name in data if name not in known]:
            raise ValueError(f"the card has an unknown field {unknown[0]!r:.60}")
        for name, each in known.items():
            required = each.default is MISSING and each.default_factory is MISSING
            if required and name not in data:
                raise ValueError(f"the card has no {name}")
        for name, value in data.items():
            _CHECKS[name](name, value)
        card = cls(**data)
        if card.held_out > len(card.tasks):
            raise ValueError(f"held_out is {card.held_out} of {len(card.tasks)} tasks")
        for task, text in card.symmetries.items():
            if len(text) > DIGITS * card.variants:
                raise ValueError(f"symmetries: {task:.40} has more than {card.variants} variants")
        return card


def _count(name: str, value: Any) -> None:
    checks.whole(name, value, most=2**53 - 1)


def _seed(name: str, value: Any) -> None:
    checks.whole(name, value, -(2**63), 2**63 - 1)


def _variants(name: str, value: Any) -> None:
    checks.whole(name, value, 1, LARGEST_OPTION)


def _probability(name: str, value: Any) -> None:
    if not 0 < checks.number(name, value) < 1:
        raise ValueError(f"{name} is {value!r:.40}, expected a probability between 0 and 1")


def _paths(name: str, value: Any) -> None:
    checks.texts(name, list(checks.mapping(name, value).values()))


def _canvas(name: str, value: Any) -> None:
    if value not in get_args(CanvasKind):
        raise ValueError(f"{name} is {value!r:.40}, expected one of {', '.join(get_args(CanvasKind))}")


def check_options(name: str, value: Any) -> None:
    """A model's options are small numbers and texts, or lists of them.

    Raises:
        ValueError: naming the option that is something else.
    """
    for key, option in checks.mapping(name, value).items():
        for each in option if isinstance(option, list) else [option]:
            if isinstance(each, int | float) and not abs(each) <= LARGEST_OPTION:
                raise ValueError(f"{name}.{key} is {each!r:.40}, expected at most {LARGEST_OPTION:,}")
            if isinstance(each, Mapping | list) or each is None:
                raise ValueError(f"{name}.{key} is {kind_of(each)}, expected a number, a text or a list of them")


def _couples(name: str, value: Any) -> None:
    if not isinstance(value, list) or not all(isinstance(each, list) and len(each) == 2 for each in value):
        raise ValueError(f"{name} is {kind_of(value)}, expected a list of pairs")
    checks.texts(name, [text for each in value for text in each])


def _lists_of_texts(name: str, value: Any) -> None:
    for key, each in checks.mapping(name, value).items():
        checks.texts(f"{name}.{key:.40}", each)


EARLIER: dict[str, Callable[[str, Any], object]] = {
    **dict.fromkeys(("names", "pairs", "chosen_by"), checks.texts),
    "tests": _couples,
    "kept_out": _lists_of_texts,
    "imported": checks.flag,
}


def _earlier(name: str, value: Any) -> None:
    checks.mapping(name, value)
    for key, check in EARLIER.items():
        if key in value:
            check(f"{name}.{key}", value[key])


def _fingerprints(name: str, value: Any) -> None:
    for task, parts in checks.mapping(name, value).items():
        for part, digests in checks.mapping(f"{name}.{task:.40}", parts).items():
            for each in digests if isinstance(digests, list) else [digests]:
                if each is not None:
                    checks.text(f"{name}.{task:.40}.{part:.40}", each)


def _symmetries(name: str, value: Any) -> None:
    # Their length is bounded by the number of variants.
    checks.texts(name, list(checks.mapping(name, value).values()), DIGITS * LARGEST_OPTION)
    for task, text in value.items():
        try:
            check_symmetries(text)
        except ValueError as error:
            raise ValueError(f"{name}: {task:.40}: {error}") from None


_CHECKS: dict[str, Callable[[str, Any], object]] = {
    **dict.fromkeys(("model", "run_id"), checks.text),
    **dict.fromkeys(("tasks", "solve", "study", "leaks"), checks.texts),
    **dict.fromkeys(("held_out", "step"), _count),
    "training": checks.mapping,
    "fingerprints": _fingerprints,
    **dict.fromkeys(("options", "loss"), check_options),
    "canvas": _canvas,
    **dict.fromkeys(("ignores_padding", "fresh"), checks.flag),
    "variants": _variants,
    "seed": _seed,
    "places": _paths,
    "earlier": _earlier,
    "symmetries": _symmetries,
    "halt_at": _probability,
}
