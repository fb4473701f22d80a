"""grid-hrm: what it is conditioned on, its positions, blocks and options."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hrm_arc.models import build_model, find_model
from hrm_arc.models.canvases import Canvases
from hrm_arc.models.conditioning import PARTS, Part
from hrm_arc.models.fused import rotate
from hrm_arc.models.grid_hrm import GridHRM, GridHRMConfig
from hrm_arc.models.layers import LearnedPositions, PreNormBlock, SwiGLU, rotary_2d
from hrm_arc.models.reasoner import Batch, Reasoner
from tests.models.examples import example_model, made_batch, stirred
from tests.models.test_protocol import check_packing

EXAMPLE = {**find_model("grid-hrm").example_config, "hidden_size": 32, "num_heads": 4, "h_cycles": 2, "segments": 3}


def changed_batch(batch: Batch, part: str, value: torch.Tensor) -> Batch:
    """The batch with other inputs, or with another part of its identity."""
    if part == "inputs":
        return replace(batch, inputs=value)
    return replace(batch, identity=replace(batch.identity, **{part: value}))


def answer(model: Reasoner, batch: Batch) -> torch.Tensor:
    return model(model.initial_carry(batch), batch)[1].logits


@pytest.mark.parametrize("part", ["task", "dihedral", "colors", "inputs"])
def test_the_answer_depends_on_everything_it_is_conditioned_on(part: str) -> None:
    model = stirred(GridHRM(GridHRMConfig(**EXAMPLE), num_tasks=5))
    batch = made_batch()
    changed = (batch.inputs if part == "inputs" else getattr(batch.identity, part)).clone()
    if part == "colors":
        changed[:, [1, 2]] = changed[:, [2, 1]]
    else:
        changed += 1
        changed %= {"task": 6, "dihedral": 8, "inputs": 12}[part]
    other = changed_batch(batch, part, changed)
    difference = (answer(model, batch) - answer(model, other)).abs().amax(dim=(1, 2))
    assert (difference > 1e-3).all()


def test_a_fresh_model_does_not_halt() -> None:
    model = GridHRM(GridHRMConfig(**EXAMPLE), num_tasks=3)
    batch = made_batch()
    halt = model(model.initial_carry(batch), batch)[1].q_halt
    torch.testing.assert_close(halt, torch.full_like(halt, -3.0))


def test_segments_go_on_from_their_state() -> None:
    model = stirred(GridHRM(GridHRMConfig(**EXAMPLE), num_tasks=3))
    batch = made_batch()
    state, first = model(model.initial_carry(batch), batch)
    _, second = model(state, batch)
    assert not torch.allclose(first.logits, second.logits)


def test_a_block_starts_as_the_identity() -> None:
    canvases = Canvases(((2, 2, 3), (1, 4, 4)), prefix=0)
    parts = torch.randn(2 * 6 + 16, 32, generator=torch.Generator().manual_seed(0)).split([2 * 6, 16])
    x = canvases.join([parts[0].view(2, 6, 32), parts[1].view(1, 16, 32)])
    rotation = canvases.rotation([rotary_2d(h, w, 0, 8, x.device) for _, h, w in canvases.sizes])
    assert torch.equal(PreNormBlock(32, 4, 4.0)(x, canvases, rotation), x)


@given(st.integers(0, 6), st.integers(0, 6), st.integers(0, 3), st.integers(0, 3))
def test_rotary_attention_sees_only_how_far_cells_are_apart(row: int, column: int, down: int, right: int) -> None:
    width = 10
    cpu = torch.device("cpu")
    rotation = rotary_2d(width, width, 0, 8, cpu)
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 8, generator=generator)
    turned = [rotate(vector.expand(width * width, 8), rotation) for vector in (q, k)]

    def score(from_row: int, from_column: int) -> torch.Tensor:
        here = from_row * width + from_column
        there = (from_row + down) * width + from_column + right
        return turned[0][here] @ turned[1][there]

    torch.testing.assert_close(score(row, column), score(0, 0), atol=1e-4, rtol=1e-4)


def test_a_model_too_narrow_for_its_heads_is_refused() -> None:
    with pytest.raises(ValueError, match="not a multiple"):
        GridHRMConfig(hidden_size=30, num_heads=4)
    with pytest.raises(ValueError, match="segments is 0"):
        GridHRMConfig(segments=0)


def test_a_fresh_model_with_a_tied_head_copies_its_input() -> None:
    model = GridHRM(GridHRMConfig(hidden_size=64, num_heads=4, tie_embeddings=True), num_tasks=3).eval()
    batch = made_batch(size=6)
    assert torch.equal(answer(model, batch).argmax(dim=-1), batch.inputs)


@pytest.mark.parametrize(
    "options", [{"tie_embeddings": True}, {"positions": "sinusoids"}, {"convolution": 3}, {"learned_positions": True}]
)
def test_what_can_be_switched_has_an_effect(options: dict[str, object]) -> None:
    batch = made_batch()
    plain, other = (stirred(GridHRM(GridHRMConfig(**(EXAMPLE | more)), num_tasks=3)).eval() for more in ({}, options))
    own = other.state_dict()
    shared = {name: t for name, t in plain.state_dict().items() if name in own and own[name].shape == t.shape}
    other.load_state_dict(shared, strict=False)
    assert not torch.allclose(answer(plain, batch), answer(other, batch))


@pytest.mark.parametrize(
    ("conditioning", "changed"),
    [
        (("dihedral", "roles"), "task"),
        (("task", "roles"), "dihedral"),
        (("task", "dihedral"), "colors"),
    ],
)
def test_what_it_is_not_conditioned_on_has_no_effect(conditioning: tuple[Part, ...], changed: str) -> None:
    batch = made_batch()
    value = getattr(batch.identity, changed)
    other = changed_batch(batch, changed, value.roll(1, dims=-1))
    assert not torch.equal(getattr(other.identity, changed), value)
    for parts, same in ((conditioning, True), (PARTS, False)):
        model = stirred(GridHRM(GridHRMConfig(**EXAMPLE, conditioning=parts), num_tasks=3)).eval()
        assert torch.equal(answer(model, batch), answer(model, other)) == same


def test_a_model_without_conditioning_answers() -> None:
    model = stirred(GridHRM(GridHRMConfig(**EXAMPLE, conditioning=()), num_tasks=3)).eval()
    assert torch.isfinite(answer(model, made_batch())).all()


@pytest.mark.parametrize("parts", [(), ("task", "dihedral"), PARTS])
def test_the_length_of_the_conditioning_is_its_number_of_tokens(parts: tuple[Part, ...]) -> None:
    model = GridHRM(GridHRMConfig(**EXAMPLE, conditioning=parts), num_tasks=3)
    assert model.conditioning.tokens(made_batch(), model.tokens).shape == (3, model.conditioning.length, 32)


def test_learned_positions_belong_to_rows_and_columns() -> None:
    places = LearnedPositions(8)
    found = places(3, 4).view(3, 4, 8)
    assert torch.equal(found[2, 1], places.rows.weight[2] + places.columns.weight[1])
    assert places(30, 30).shape == (900, 8)


def test_a_fresh_convolution_changes_nothing() -> None:
    torch.manual_seed(0)
    feed = SwiGLU(16, 4.0, convolution=3)
    torch.nn.init.normal_(feed.down.weight)
    plain = SwiGLU(16, 4.0)
    plain.load_state_dict({name: tensor for name, tensor in feed.state_dict().items() if "mix" not in name})
    x, canvases = torch.randn(2 * (2 + 12), 16), Canvases(((2, 3, 4),), prefix=2)
    torch.testing.assert_close(feed(x, canvases), plain(x, canvases))


def test_a_convolution_looks_at_neighbors_on_the_canvas_alone() -> None:
    torch.manual_seed(0)
    feed = SwiGLU(16, 4.0, convolution=3)
    torch.nn.init.normal_(feed.down.weight)
    assert feed.mix is not None
    torch.nn.init.normal_(feed.mix.weight)
    x, canvases = torch.randn(2 + 12, 16), Canvases(((1, 3, 4),), prefix=2)
    changed = x.clone()
    changed[2 + 0] += 1  # The cell at row 0, column 0.
    touched = (feed(x, canvases) != feed(changed, canvases)).any(dim=-1)
    # Of 3 x 4 cells after the prefix: itself, its right neighbor, and the two under them.
    assert touched.nonzero().flatten().tolist() == [2, 3, 6, 7]


def test_the_logs_model_can_be_conditioned_on_the_task() -> None:
    model = example_model("dual-loop", num_tasks=5, puzzle_emb="shared").eval()
    batch = made_batch()
    other = changed_batch(batch, "task", batch.identity.task + 1)
    one, two = (answer(model, each) for each in (batch, other))
    assert one.shape == (3, 20, 12)
    assert not torch.allclose(one, two)


def test_gradients_through_the_last_cycle_alone_leave_the_answer_as_it_is() -> None:
    through = {}
    for gradient in ("all", "last"):
        torch.manual_seed(0)
        model = stirred(build_model("grid-hrm", {**EXAMPLE, "grad_cycles": gradient}, num_tasks=3))
        batch = made_batch()
        _, output = model(model.initial_carry(batch), batch)
        output.logits.square().sum().backward()
        through[gradient] = (output.logits.detach(), model.get_parameter("tokens.weight").grad)
    assert torch.equal(through["all"][0], through["last"][0])
    assert not torch.allclose(through["all"][1], through["last"][1])  # type: ignore[arg-type]


def test_shared_layers_and_registers_change_the_size_as_they_should() -> None:
    def numbers(**options: object) -> int:
        return sum(p.numel() for p in build_model("grid-hrm", {**EXAMPLE, **options}, num_tasks=3).parameters())

    plain, block = numbers(), sum(p.numel() for p in PreNormBlock(32, 4, 4.0).parameters())
    assert numbers(share_levels=True) == plain - block
    assert numbers(registers=5) == plain + 5 * 32
    model = stirred(build_model("grid-hrm", {**EXAMPLE, "registers": 5, "share_levels": True}, num_tasks=3))
    batch = made_batch()
    state, output = model(model.initial_carry(batch), batch)
    assert output.logits.shape == (3, 20, 12)
    assert state[0].shape == (3, 10 + 5 + 20, 32)


def test_packed_canvases_give_the_same_with_every_option() -> None:
    switches = {"positions": "sinusoids", "learned_positions": True, "tie_embeddings": True}
    check_packing("grid-hrm", convolution=3, registers=2, **switches)
