from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hrm_arc.models import KINDS, build_model
from hrm_arc.models.conditioning import PARTS, Part
from hrm_arc.models.grid_hrm import GridHRM, GridHRMConfig
from hrm_arc.models.layers import Canvases, PreNormBlock, SwiGLU, rotary_2d, rotate
from hrm_arc.models.reasoner import Batch, Reasoner, adopt, detach

SMALL = {
    "dual-loop": {"width": 32, "heads": 4, "h_layers": 1, "l_layers": 1, "cycles": 2, "dropout": 0.0},
    "grid-hrm": {"width": 32, "heads": 4, "h_layers": 1, "l_layers": 1, "cycles": 2, "segments": 3},
    "hrm": {"width": 32, "heads": 4, "h_layers": 1, "l_layers": 1, "segments": 3},
    "trm": {"width": 32, "heads": 4, "layers": 1, "segments": 3, "identity": "shared"},
}


def made_batch(size: int = 3, height: int = 4, width: int = 5) -> Batch:
    generator = torch.Generator().manual_seed(0)
    cells = torch.randint(0, 12, (2, size, height * width), generator=generator)
    colours = torch.stack(
        [torch.cat([torch.zeros(1), torch.randperm(9, generator=generator) + 1]) for _ in range(size)]
    )
    ids = torch.arange(size)
    return Batch(height, width, cells[0], cells[1], ids % 3, ids % 8, colours.long(), ids % 2)


def stirred(model: Reasoner) -> Reasoner:
    """The model with no weight at zero, as after some training."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


@pytest.mark.parametrize("name", KINDS)
def test_every_model_keeps_the_protocol(name: str) -> None:
    model = stirred(build_model(name, SMALL[name], tasks=3))
    batch = made_batch()
    state = model.start(batch)
    for _ in range(model.segments):
        state, output = model.think(state, batch)
        assert output.logits.shape == (3, 20, 12)
        assert output.halt.shape[0] == 3
        assert output.halt.ndim == 2
        output.logits.sum().backward(retain_graph=True)
        assert all(tensor.requires_grad for tensor in state)
        state = detach(state)
        assert not any(tensor.requires_grad for tensor in state)


@pytest.mark.parametrize("name", KINDS)
def test_samples_of_a_batch_do_not_mix(name: str) -> None:
    model = stirred(build_model(name, SMALL[name], tasks=3)).eval()
    batch = made_batch()
    alone = batch.part(torch.tensor([1]))
    _, together = model.think(model.start(batch), batch)
    _, single = model.think(model.start(alone), alone)
    torch.testing.assert_close(single.logits[0], together.logits[1], atol=1e-5, rtol=1e-4)


def answer(model: GridHRM, batch: Batch) -> torch.Tensor:
    return model.think(model.start(batch), batch)[1].logits


@pytest.mark.parametrize("part", ["task", "dihedral", "colours", "inputs"])
def test_the_answer_depends_on_everything_it_is_told(part: str) -> None:
    model = stirred(GridHRM(GridHRMConfig(**SMALL["grid-hrm"]), tasks=5))
    batch = made_batch()
    changed = getattr(batch, part).clone()
    if part == "colours":
        changed[:, [1, 2]] = changed[:, [2, 1]]
    else:
        changed += 1
        changed %= {"task": 6, "dihedral": 8, "inputs": 12}[part]
    other = replace(batch, **{part: changed})
    difference = (answer(model, batch) - answer(model, other)).abs().amax(dim=(1, 2))
    assert (difference > 1e-3).all()


def test_a_fresh_model_does_not_halt() -> None:
    model = GridHRM(GridHRMConfig(**SMALL["grid-hrm"]), tasks=3)
    batch = made_batch()
    halt = model.think(model.start(batch), batch)[1].halt
    torch.testing.assert_close(halt, torch.full_like(halt, -3.0))


def test_segments_go_on_from_their_state() -> None:
    model = stirred(GridHRM(GridHRMConfig(**SMALL["grid-hrm"]), tasks=3))
    batch = made_batch()
    state, first = model.think(model.start(batch), batch)
    _, second = model.think(state, batch)
    assert not torch.allclose(first.logits, second.logits)


def test_a_block_starts_as_the_identity() -> None:
    canvases = Canvases(((2, 2, 3), (1, 4, 4)), prefix=0)
    x = torch.randn(2 * 6 + 16, 32, generator=torch.Generator().manual_seed(0))
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
    with pytest.raises(ValueError, match="no multiple"):
        GridHRMConfig(width=30, heads=4)
    with pytest.raises(ValueError, match="segments is 0"):
        GridHRMConfig(segments=0)


def test_a_fresh_model_with_a_tied_head_copies_its_input() -> None:
    model = GridHRM(GridHRMConfig(width=64, heads=4, tied=True), tasks=3).eval()
    batch = made_batch(size=6)
    assert torch.equal(answer(model, batch).argmax(dim=-1), batch.inputs)


@pytest.mark.parametrize("options", [{"tied": True}, {"positions": "sinusoids"}, {"convolution": 3}])
def test_what_can_be_switched_has_an_effect(options: dict[str, object]) -> None:
    batch = made_batch()
    plain, other = (
        stirred(GridHRM(GridHRMConfig(**(SMALL["grid-hrm"] | more)), tasks=3)).eval() for more in ({}, options)
    )
    own = other.state_dict()
    shared = {name: t for name, t in plain.state_dict().items() if name in own and own[name].shape == t.shape}
    other.load_state_dict(shared, strict=False)
    assert not torch.allclose(answer(plain, batch), answer(other, batch))


@pytest.mark.parametrize(
    ("told", "changed"),
    [
        (("dihedral", "roles"), "task"),
        (("task", "roles"), "dihedral"),
        (("task", "dihedral"), "colours"),
    ],
)
def test_what_is_not_told_has_no_effect(told: tuple[Part, ...], changed: str) -> None:
    batch = made_batch()
    other = replace(batch, **{changed: getattr(batch, changed).roll(1, dims=-1)})
    assert not torch.equal(getattr(other, changed), getattr(batch, changed))
    for parts, same in ((told, True), (PARTS, False)):
        model = stirred(GridHRM(GridHRMConfig(**SMALL["grid-hrm"], told=parts), tasks=3)).eval()
        assert torch.equal(answer(model, batch), answer(model, other)) == same


def test_a_model_that_is_told_nothing_answers() -> None:
    model = stirred(GridHRM(GridHRMConfig(**SMALL["grid-hrm"], told=()), tasks=3)).eval()
    assert torch.isfinite(answer(model, made_batch())).all()


@pytest.mark.parametrize("told", [(), ("task", "dihedral"), PARTS])
def test_conditioning_says_how_many_tokens_it_has(told: tuple[Part, ...]) -> None:
    model = GridHRM(GridHRMConfig(**SMALL["grid-hrm"], told=told), tasks=3)
    assert model.conditioning.tokens(made_batch(), model.tokens).shape == (3, model.conditioning.length, 32)


def test_a_fresh_convolution_changes_nothing() -> None:
    torch.manual_seed(0)
    feed = SwiGLU(16, 4.0, convolution=3)
    torch.nn.init.normal_(feed.down.weight)
    plain = SwiGLU(16, 4.0)
    plain.load_state_dict({name: tensor for name, tensor in feed.state_dict().items() if "mix" not in name})
    x, canvases = torch.randn(2 * (2 + 12), 16), Canvases(((2, 3, 4),), prefix=2)
    torch.testing.assert_close(feed(x, canvases), plain(x, canvases))


def test_a_convolution_looks_at_neighbours_on_the_canvas_alone() -> None:
    torch.manual_seed(0)
    feed = SwiGLU(16, 4.0, convolution=3)
    torch.nn.init.normal_(feed.down.weight)
    assert feed.mix is not None
    torch.nn.init.normal_(feed.mix.weight)
    x, canvases = torch.randn(2 + 12, 16), Canvases(((1, 3, 4),), prefix=2)
    changed = x.clone()
    changed[2 + 0] += 1  # The cell at row 0, column 0.
    touched = (feed(x, canvases) != feed(changed, canvases)).any(dim=-1)
    # Of 3 x 4 cells after the prefix: itself, its right neighbour, and the two under them.
    assert touched.nonzero().flatten().tolist() == [2, 3, 6, 7]


def test_the_logs_model_can_be_told_its_task() -> None:
    told = stirred(build_model("dual-loop", SMALL["dual-loop"] | {"identity": "shared"}, tasks=5)).eval()
    batch = made_batch()
    other = replace(batch, task=batch.task + 1)
    one, two = (told.think(told.start(each), each)[1].logits for each in (batch, other))
    assert one.shape == (3, 20, 12)
    assert not torch.allclose(one, two)


@pytest.mark.parametrize(("name", "table"), [("grid-hrm", "conditioning.task.weight"), ("hrm", "puzzle_emb.weights")])
def test_weights_are_adopted_for_other_tasks(name: str, table: str) -> None:
    old, new = (build_model(name, SMALL[name], tasks) for tasks in (3, 2))
    stirred(old)
    adopt(new, old.state_dict(), [None, 3])
    for key, tensor in new.state_dict().items():
        given = old.state_dict()[key]
        if key == table:
            assert torch.equal(tensor[0], given[0])
            torch.testing.assert_close(tensor[1], given[1:].mean(dim=0))
            assert torch.equal(tensor[2], given[3]), "a task that was known keeps what is known of it"
        else:
            assert torch.equal(tensor, given)


def test_weights_of_another_shape_are_refused() -> None:
    small, wide = (build_model("grid-hrm", SMALL["grid-hrm"] | {"width": width}, 3) for width in (32, 64))
    with pytest.raises(ValueError, match="has shape"):
        adopt(small, wide.state_dict(), [None] * 3)
    with pytest.raises(ValueError, match="no weights for"):
        adopt(small, build_model("dual-loop", SMALL["dual-loop"], 3).state_dict(), [None] * 3)


@pytest.mark.parametrize("name", KINDS)
def test_a_canvas_first_met_in_inference_can_be_trained_on(name: str) -> None:
    model = stirred(build_model(name, SMALL[name], tasks=3))
    batch = made_batch(height=7, width=6)
    with torch.inference_mode():
        model.think(model.start(batch), batch)
    model.think(model.start(batch), batch)[1].logits.sum().backward()


def test_gradients_through_the_last_cycle_alone_leave_the_answer_as_it_is() -> None:
    through = {}
    for gradient in ("all", "last"):
        torch.manual_seed(0)
        model = stirred(build_model("grid-hrm", {**SMALL["grid-hrm"], "gradient": gradient}, tasks=3))
        batch = made_batch()
        _, output = model.think(model.start(batch), batch)
        output.logits.square().sum().backward()
        through[gradient] = (output.logits.detach(), model.get_parameter("tokens.weight").grad)
    assert torch.equal(through["all"][0], through["last"][0])
    assert not torch.allclose(through["all"][1], through["last"][1])  # type: ignore[arg-type]


def test_shared_layers_and_registers_change_the_size_as_they_should() -> None:
    def numbers(**options: object) -> int:
        return sum(p.numel() for p in build_model("grid-hrm", {**SMALL["grid-hrm"], **options}, tasks=3).parameters())

    plain, block = numbers(), sum(p.numel() for p in PreNormBlock(32, 4, 4.0).parameters())
    assert numbers(shared=True) == plain - block
    assert numbers(registers=5) == plain + 5 * 32
    model = stirred(build_model("grid-hrm", {**SMALL["grid-hrm"], "registers": 5, "shared": True}, tasks=3))
    batch = made_batch()
    state, output = model.think(model.start(batch), batch)
    assert output.logits.shape == (3, 20, 12)
    assert state[0].shape == (3, 10 + 5 + 20, 32)


@pytest.mark.parametrize("options", [{}, {"positions": "sinusoids", "convolution": 3, "registers": 2, "tied": True}])
@pytest.mark.parametrize("name", KINDS)
def test_canvases_go_through_a_model_together_as_one_by_one(name: str, options: dict[str, object]) -> None:
    """The same answers, and the same gradients but for the order of sums."""
    options = options if name == "grid-hrm" else {}
    model = stirred(build_model(name, SMALL[name] | options, tasks=3))
    batches = [made_batch(size, height, width) for size, height, width in ((3, 4, 5), (1, 2, 2), (2, 5, 4))]

    def thought_about(together: bool) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        model.zero_grad()
        states = [model.start(batch) for batch in batches]
        for _ in range(2):
            if together:
                said = model(states, batches)
            else:
                said = [model.think(state, batch) for state, batch in zip(states, batches, strict=True)]
            states = [detach(state) for state, _ in said]
        outputs = [output for _, output in said]
        sum(output.logits.square().sum() + output.halt.sum() for output in outputs).backward()  # type: ignore[union-attr]
        gradients = [p.grad.to_dense() for p in model.parameters() if p.grad is not None]
        return [tensor for output in outputs for tensor in (output.logits, output.halt)], gradients

    for one, other in zip(thought_about(True), thought_about(False), strict=True):
        assert len(one) == len(other) > 5
        for ours, theirs in zip(one, other, strict=True):
            torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=2e-4)
