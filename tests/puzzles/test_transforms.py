from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hrm_arc.errors import UserError
from hrm_arc.puzzles.augmented import AugmentedSet, Samples
from hrm_arc.puzzles.canvas import FIRST_COLOR, VOCABULARY
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.counter_rng import mix
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.puzzles.transforms import (
    NOISE,
    TRANSFORMS,
    apply_transforms,
    find_transforms,
    input_noise,
    register_augmentation,
)

DATA = AugmentedSet(Corpus(study=load_tasks("arc-agi-1/training")[:40]).training_puzzles(), augment=20, translate=True)
(SAMPLES,) = DATA.samples(np.arange(0, len(DATA), 5))
KEYS = mix(7, np.arange(len(SAMPLES)))


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registrations that end with the test."""
    monkeypatch.setattr(TRANSFORMS, "_known", dict(TRANSFORMS._known))


def test_noise_changes_color_cells_of_the_inputs_only() -> None:
    before = SAMPLES.inputs.copy()
    noisy = input_noise(SAMPLES, KEYS)
    assert np.array_equal(SAMPLES.inputs, before), "the argument is not changed"
    assert noisy.labels is SAMPLES.labels
    assert noisy.identity is SAMPLES.identity
    assert noisy.inputs.dtype == np.uint8
    changed = noisy.inputs != before
    assert (before[changed] >= FIRST_COLOR).all()
    assert (noisy.inputs[changed] >= FIRST_COLOR).all()
    assert (noisy.inputs < VOCABULARY).all()


def test_noise_changes_two_percent_to_every_other_color() -> None:
    noisy = input_noise(SAMPLES, KEYS)
    changed = noisy.inputs != SAMPLES.inputs
    cells = int((SAMPLES.inputs >= FIRST_COLOR).sum())
    deviation = np.sqrt(NOISE * (1 - NOISE) * cells)
    assert abs(int(changed.sum()) - NOISE * cells) < 6 * deviation
    steps = (noisy.inputs[changed].astype(int) - SAMPLES.inputs[changed]) % 10
    counts = np.bincount(steps, minlength=10)
    assert counts[0] == 0
    assert counts[1:].min() > 0.8 * counts[1:].mean()


def test_noise_is_a_function_of_each_samples_key() -> None:
    whole = input_noise(SAMPLES, KEYS)
    assert np.array_equal(whole.inputs, input_noise(SAMPLES, KEYS).inputs)
    chosen = np.arange(len(SAMPLES))[::-7]
    alone = input_noise(SAMPLES.select(chosen), KEYS[chosen])
    assert np.array_equal(alone.inputs, whole.inputs[chosen])
    assert not np.array_equal(whole.inputs, input_noise(SAMPLES, mix(8, np.arange(len(SAMPLES)))).inputs)


def test_noise_is_the_same_on_every_machine() -> None:
    (few,) = DATA.samples(np.arange(12))
    noisy = input_noise(few, mix(7, np.arange(12)))
    changed = np.argwhere(noisy.inputs != few.inputs)
    # Computed once and written down: a change here changes every run that uses the noise.
    assert [(n, cell, int(noisy.inputs[n, cell])) for n, cell in changed.tolist()] == [
        (2, 347, 10),
        (6, 32, 7),
        (9, 315, 11),
    ]


def test_transforms_follow_each_other_with_numbers_of_their_own() -> None:
    seen: list[np.ndarray] = []

    def note(samples: Samples, keys: np.ndarray) -> Samples:
        seen.append(keys)
        return samples

    twice = apply_transforms(SAMPLES, [note, input_noise, note], KEYS)
    assert len(seen) == 2
    assert all(keys.dtype == np.uint64 and keys.shape == (len(SAMPLES),) for keys in seen)
    assert not (seen[0] == seen[1]).any()
    assert (twice.inputs != SAMPLES.inputs).any()
    assert apply_transforms(SAMPLES, [], KEYS) is SAMPLES


def test_transforms_are_found_by_name(registry: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def blank(samples: Samples, keys: np.ndarray) -> Samples:
        return replace(samples, inputs=np.zeros_like(samples.inputs))

    register_augmentation("blank", blank)
    (tmp_path / "my_transforms.py").write_text("def keep(samples, keys):\n    return samples\n\n\nNUMBER = 3\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = find_transforms(["input_noise", "blank", "my_transforms:keep"], "data.augmentations")
    assert found[:2] == [input_noise, blank]
    assert not apply_transforms(SAMPLES, found, KEYS).inputs.any()
    for name, message in (
        ("nosuch", "no augmentation 'nosuch', expected one of input_noise, blank"),
        ("my_transforms:nosuch", "the augmentation my_transforms:nosuch is not importable here"),
        ("my_transforms:NUMBER", "my_transforms:NUMBER is not a function"),
    ):
        with pytest.raises(UserError) as caught:
            find_transforms([name], "data.augmentations")
        assert str(caught.value).startswith(f"data.augmentations: {message}")


def test_a_name_with_a_colon_is_refused() -> None:
    with pytest.raises(ValueError, match="a name has no colon"):
        register_augmentation("my:noise", input_noise)


def wrong(samples: Samples, kind: str) -> object:
    """The result of a transform with a mistake."""
    return {
        "no samples": None,
        "fewer": samples.select(slice(1)),
        "shape": replace(samples, inputs=samples.inputs[:, :-1]),
        "type": replace(samples, inputs=samples.inputs.astype(np.int64)),
        "token": replace(samples, labels=np.full_like(samples.inputs, 12)),
        "no labels": replace(samples, labels=None),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("no samples", "returned NoneType, expected Samples"),
        ("fewer", "returned other samples or another canvas"),
        ("shape", "returned inputs of uint8 [4, 899], expected uint8 [4, 900]"),
        ("type", "returned inputs of int64 [4, 900], expected uint8 [4, 900]"),
        ("token", "returned token 12 in the labels, expected 0 to 11"),
        ("no labels", "added or removed the labels"),
    ],
)
def test_a_wrong_result_names_the_transform(kind: str, message: str) -> None:
    def mistaken(samples: Samples, keys: np.ndarray) -> Samples:
        return wrong(samples, kind)  # type: ignore[return-value]

    with pytest.raises(UserError) as caught:
        apply_transforms(SAMPLES.select(slice(4)), [mistaken], KEYS[:4])
    assert "mistaken" in caught.value.where
    assert caught.value.what.startswith(message)
