"""What holds for every model: the protocol of a segment, on the example configuration of its spec."""

from __future__ import annotations

import pytest
import torch

from hrm_arc.models import MODELS, build_model, find_model
from hrm_arc.models.reasoner import detach_carry, load_pretrained
from tests.models.examples import example_model, made_batch


@pytest.mark.parametrize("name", MODELS)
def test_every_model_keeps_the_protocol(name: str) -> None:
    model = example_model(name)
    batch = made_batch()
    carry = model.initial_carry(batch)
    for _ in range(model.segments):
        carry, output = model(carry, batch)
        assert output.logits.shape == (3, 20, 12)
        assert output.q_halt.shape[0] == 3
        assert output.q_halt.ndim == 2
        assert all(logits.shape == (3,) for logits in output.halt_logits())
        output.logits.sum().backward(retain_graph=True)
        carry = detach_carry(carry)
        assert not any(tensor.requires_grad for tensor in carry)


@pytest.mark.parametrize("name", MODELS)
def test_samples_of_a_batch_do_not_mix(name: str) -> None:
    model = example_model(name).eval()
    batch = made_batch()
    alone = batch.select(torch.tensor([1]))
    _, together = model(model.initial_carry(batch), batch)
    _, single = model(model.initial_carry(alone), alone)
    torch.testing.assert_close(single.logits[0], together.logits[1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_a_canvas_first_seen_in_inference_can_be_trained_on(name: str) -> None:
    model = example_model(name)
    batch = made_batch(height=7, width=6)
    with torch.inference_mode():
        model(model.initial_carry(batch), batch)
    model(model.initial_carry(batch), batch)[1].logits.sum().backward()


def check_packing(name: str, **options: object) -> None:
    """Packed canvases give the same outputs as one canvas at a time, and the same gradients up to rounding."""
    model = example_model(name, **options)
    batches = [made_batch(size, height, width) for size, height, width in ((3, 4, 5), (1, 2, 2), (2, 5, 4))]

    def run(packed: bool) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        model.zero_grad()
        carries = [model.initial_carry(batch) for batch in batches]
        for _ in range(2):
            if packed:
                results = model.forward_packed(carries, batches)
            else:
                results = [model(carry, batch) for carry, batch in zip(carries, batches, strict=True)]
            carries = [detach_carry(carry) for carry, _ in results]
        outputs = [output for _, output in results]
        sum(output.logits.square().sum() + output.q_halt.sum() for output in outputs).backward()  # type: ignore[union-attr]
        gradients = [p.grad.to_dense() for p in model.parameters() if p.grad is not None]
        return [tensor for output in outputs for tensor in (output.logits, output.q_halt)], gradients

    for one, other in zip(run(True), run(False), strict=True):
        assert len(one) == len(other) > 0
        for ours, theirs in zip(one, other, strict=True):
            torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=2e-4)


@pytest.mark.parametrize("name", MODELS)
def test_packed_canvases_give_the_same_as_one_by_one(name: str) -> None:
    check_packing(name)


@pytest.mark.parametrize("name", MODELS)
def test_pretrained_weights_are_loaded_for_other_tasks(name: str) -> None:
    spec = find_model(name)
    old, new = example_model(name, num_tasks=3), build_model(name, spec.example_config, num_tasks=2)
    load_pretrained(new, old.state_dict(), [None, 3], spec.task_tables)
    for key, tensor in new.state_dict().items():
        given = old.state_dict()[key]
        if key in spec.task_tables:
            assert torch.equal(tensor[0], given[0])
            torch.testing.assert_close(tensor[1], given[1:].mean(dim=0))
            assert torch.equal(tensor[2], given[3]), "a known task keeps its row"
        else:
            assert torch.equal(tensor, given)


def test_pretrained_rows_of_variants_start_from_the_original_of_their_task() -> None:
    options = {"puzzle_emb": "variants"}
    old, new = example_model("hrm", 3, 2, **options), example_model("hrm", 2, 3, **options)
    torch.nn.init.normal_(dict(old.named_parameters())["puzzle_emb.weights"].detach())
    # The second task's original is row 3 of the old table, in which each task has two rows.
    load_pretrained(new, old.state_dict(), [None, 3], find_model("hrm").task_tables)
    rows, given = new.state_dict()["puzzle_emb.weights"], old.state_dict()["puzzle_emb.weights"]
    assert torch.equal(rows[0], given[0])
    torch.testing.assert_close(rows[1:4], given[1:].mean(dim=0).expand(3, -1))
    assert torch.equal(rows[4:], given[3].expand(3, -1))


def test_weights_of_another_shape_are_refused() -> None:
    small, wide = (example_model("grid-hrm", hidden_size=size) for size in (32, 64))
    with pytest.raises(ValueError, match="has shape"):
        load_pretrained(small, wide.state_dict(), [None] * 3, find_model("grid-hrm").task_tables)
    deep = build_model("grid-hrm", {**find_model("grid-hrm").example_config, "h_layers": 2, "registers": 2}, 3)
    with pytest.raises(ValueError, match=r"has weights for .* which the model of the recipe lacks"):
        load_pretrained(small, deep.state_dict(), [None] * 3, find_model("grid-hrm").task_tables)
    with pytest.raises(ValueError, match="no weights for"):
        load_pretrained(small, example_model("dual-loop").state_dict(), [None] * 3, ())
