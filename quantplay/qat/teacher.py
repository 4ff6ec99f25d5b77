"""The frozen full-precision model, and how far a student is from it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from quantplay.envelope.hardware import read_cpu
from quantplay.errors import MissingDependency
from quantplay.qat.data import Packed
from quantplay.records.training import Objective, Precision

if TYPE_CHECKING:
    import torch

FAST_BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})  # processor flags
DEV_ROWS = 16  # a forward pass
SAME_LOGITS = 1e-4  # of the largest: float32 sums in another order
KEPT_BYTES = 1 << 30  # the teacher's predictions on the dev text are kept up to this size, beyond that made anew


class Teacher:
    """Full precision, never changed."""

    def __init__(self, model: Any, precision: Precision) -> None:
        self.model, self.precision = model.requires_grad_(False).eval(), precision
        self.device = str(next(model.parameters()).device.type)
        self.kept: dict[int, torch.Tensor] = {}
        self.head_alone = can_take_head_alone(model)

    def logits(self, batch: Packed) -> torch.Tensor:
        """At the counted positions, (positions, vocabulary)."""
        import torch

        with torch.no_grad():
            return logits_of(self.model, batch, head_alone=self.head_alone)

    def dev_logits(self, number: int, batch: Packed, parts: int) -> torch.Tensor:
        """The same for one part of the dev text, remembered."""
        if number in self.kept:
            return self.kept[number]
        found = self.logits(batch)
        if found.numel() * found.element_size() * parts <= KEPT_BYTES:
            self.kept[number] = found
        return found


def logits_of(model: Any, batch: Packed, *, head_alone: bool) -> torch.Tensor:
    """Logits at the counted positions. Texts of one row don't see each other, because their positions start again at 0
    (transformers' packed sequences).

    head_alone: the head, which takes the most memory where the vocabulary is large, sees no other positions (`can_take_head_alone`).
    """
    import torch

    device = next(model.parameters()).device
    tokens, positions, counted = (
        torch.from_numpy(array).to(device) for array in (batch.tokens, batch.positions, batch.counted)
    )
    if head_alone:
        hidden = model.base_model(input_ids=tokens, position_ids=positions, use_cache=False).last_hidden_state
        return model.get_output_embeddings()(hidden[counted])
    return model(input_ids=tokens, position_ids=positions, use_cache=False).logits[counted]


def can_take_head_alone(model: Any) -> bool:
    """Whether the logits are the output matrix times the last hidden state, and nothing else: not where a model scales or caps them."""
    import torch

    if model.get_output_embeddings() is None:
        return False
    tokens = (
        torch.arange(8, device=next(model.parameters()).device)[None] % model.get_output_embeddings().weight.shape[0]
    )
    with torch.no_grad():
        whole = model(input_ids=tokens, use_cache=False).logits
        parts = model.get_output_embeddings()(model.base_model(input_ids=tokens, use_cache=False).last_hidden_state)
    return whole.shape == parts.shape and bool((whole - parts).abs().max() <= SAME_LOGITS * whole.abs().max())


def distance_sum(student: Any, teacher: Teacher, batch: Packed, objective: Objective) -> torch.Tensor:
    """The loss summed over the batch's counted positions, in nats."""
    import torch

    if objective == "next token":
        labels = torch.from_numpy(batch.labels[batch.counted]).to(teacher.device)
        return torch.nn.functional.cross_entropy(
            logits_of(student, batch, head_alone=teacher.head_alone).float(), labels, ignore_index=-1, reduction="sum"
        )
    target = torch.log_softmax(teacher.logits(batch).float(), dim=-1)
    found = torch.log_softmax(logits_of(student, batch, head_alone=teacher.head_alone).float(), dim=-1)
    return torch.nn.functional.kl_div(found, target, reduction="sum", log_target=True)


def measure_dev(student: Any, teacher: Teacher, dev: Packed, objective: Objective) -> tuple[float, float]:
    """Mean divergence from the teacher at the counted positions (or the objective's loss there), and the share where both find the
    same token likeliest. In float32.
    """
    import torch

    student.eval()
    total = same = count = 0.0
    starts = range(0, len(dev), DEV_ROWS)
    with torch.no_grad():
        for number, start in enumerate(starts):
            part = dev.part(slice(start, start + DEV_ROWS))
            target = teacher.dev_logits(number, part, len(starts))
            found = logits_of(student, part, head_alone=teacher.head_alone)
            if objective == "distill":
                log_p, log_q = torch.log_softmax(target.float(), dim=-1), torch.log_softmax(found.float(), dim=-1)
                total += float(torch.nn.functional.kl_div(log_q, log_p, reduction="sum", log_target=True))
            else:
                labels = torch.from_numpy(part.labels[part.counted]).to(found.device)
                total += float(
                    torch.nn.functional.cross_entropy(found.float(), labels, ignore_index=-1, reduction="sum")
                )
            same += float((target.argmax(-1) == found.argmax(-1)).sum())
            count += len(target)
    return total / count, same / count


def autocast(device: str, precision: str) -> AbstractContextManager[Any]:
    import torch

    if precision == "float32":
        return nullcontext()
    return torch.autocast(device, dtype=torch.bfloat16)


def pick_device(asked: str | None) -> str:
    import torch

    there = torch.cuda.is_available()
    if asked == "cuda" and not there:
        raise MissingDependency("there is no CUDA device here", fix="train on the CPU, or on a machine that has one")
    return asked or ("cuda" if there else "cpu")


def pick_precision(device: str) -> Precision:
    """bfloat16 where matrix products in it are faster than in float32."""
    if device == "cuda":
        import torch

        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    _, flags = read_cpu()
    return "bfloat16" if FAST_BFLOAT16 & set(flags) else "float32"


def place_job(payload: dict[str, Any], report: Callable[[int, int, str], None]) -> dict[str, str]:
    """Job of quantplay.process: `device` and `precision`, as this machine takes them where they are null."""
    device = pick_device(payload["device"])
    return {"device": device, "precision": payload["precision"] or pick_precision(device)}
