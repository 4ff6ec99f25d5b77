"""The training itself: a frozen full-precision teacher, a student that computes with rounded weights, and master weights between.

Every step rounds the master weights to what would be served, runs the student on the result, and gives the gradient to the master
weights as if rounding were not there (straight-through estimator, Bengio et al. 2013). The loss is the Kullback-Leibler divergence
of the student's next-token distributions from the teacher's, in nats, the mean over all positions of the batch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from quantplay.engines.transformers_model import load_model
from quantplay.errors import InputError
from quantplay.qat.checkpoint import Progress, State, load_state, save_state
from quantplay.qat.data import Packed, TextTokens, batches
from quantplay.qat.formats import Sources, format_of
from quantplay.qat.memory import is_out_of_memory, one_row_too_many, released
from quantplay.qat.parameters import first_state, moments, restore_optimizer, write_weights
from quantplay.qat.served import Served, grids_of, parts_of
from quantplay.qat.teacher import Teacher, autocast, distance_sum, measure_dev, pick_device, pick_precision
from quantplay.records import CurvePoint, Digest, TrainingSettings
from quantplay.records.training import Precision

if TYPE_CHECKING:
    import torch

Report = Callable[[int, int, str], None]
CHECKPOINT = "checkpoint.safetensors"
LOWEST_RATE = 0.02  # of the peak, at the end
BETAS, CLIP = (0.9, 0.95), 1.0


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What is trained, towards which grid, on what."""

    sources: Sources
    serving_format: str
    kinds: Mapping[str, str]  # served tensor -> type
    importance: Mapping[str, np.ndarray]  # served tensor -> mean squared inputs; empty: rounded plainly
    texts: Sequence[TextTokens]
    dev: Packed
    settings: TrainingSettings
    identity: Digest  # of all of this: a checkpoint of another identity is not gone on from


@dataclass(frozen=True, kw_only=True)
class Result:
    """Where a training ended."""

    progress: Progress
    precision: Precision
    device: str  # cpu, or the accelerator's name
    peak_device_bytes: int


def train_weights(lesson: Lesson, *, workdir: Path, out: Path, report: Report) -> Result:
    """Train, or go on with a training whose checkpoint lies in `workdir`, and write the chosen master weights to `out`.

    On the CPU with one thread the same lesson gives the same bytes, killed and resumed or not. Raises InputError where the loss is no
    number any more (the last good checkpoint stays), and what reading model or grid raises.
    """
    import torch

    settings = lesson.settings
    device = pick_device(settings.device)
    precision = settings.precision or pick_precision(device)
    torch.manual_seed(settings.seed)
    student: Any = load_model(lesson.sources.model)
    places = format_of(lesson.serving_format).places(student, lesson.sources, lesson.kinds)
    student.to(device)
    frozen: Any = load_model(lesson.sources.model)
    teacher = Teacher(frozen.to(device), precision)
    parts = parts_of(places, grids_of(places, lesson.serving_format, lesson.importance))
    workdir.mkdir(parents=True, exist_ok=True)
    checkpoint = workdir / CHECKPOINT
    started = time.perf_counter()
    with ThreadPoolExecutor(settings.threads) as pool:
        state = load_state(
            checkpoint, lesson.identity, lambda why: report(0, settings.steps, f"steps; {why}: training starts over")
        ) or first_state(student)
        state.masters = {name: one.to(device) for name, one in state.masters.items()}
        served = Served(student, state.masters, parts, pool)
        loop = Loop(lesson, student, teacher, served, state, checkpoint, precision, report, started)
        loop.run()
    write_weights(student, state.best, out)
    on_gpu = device == "cuda"
    return Result(
        progress=state.progress, precision=precision,
        device=torch.cuda.get_device_name() if on_gpu else "cpu",
        peak_device_bytes=torch.cuda.max_memory_allocated() if on_gpu else 0,
    )  # fmt: skip


class Loop:
    """One process's share of a training."""

    def __init__(
        self, lesson: Lesson, student: torch.nn.Module, teacher: Teacher, served: Served, state: State, checkpoint: Path,
        precision: Precision, report: Report, started: float,
    ) -> None:  # fmt: skip
        import torch

        self.lesson, self.settings = lesson, lesson.settings
        self.student, self.teacher, self.served, self.state = student, teacher, served, state
        self.checkpoint, self.precision, self.report = checkpoint, precision, report
        self.started, self.before, self.first_step = started, state.progress.seconds, state.progress.step
        self.masters = [state.masters[name] for name in served.parameters]
        self.optimizer = torch.optim.AdamW(self.masters, lr=self.settings.learning_rate, betas=BETAS, weight_decay=0.0)
        restore_optimizer(self.optimizer, list(served.parameters), state)
        torch.set_rng_state(state.random)
        if self.settings.gradient_checkpointing:
            student.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})  # type: ignore[operator]

    def run(self) -> None:
        progress = self.state.progress
        if not progress.curve:
            self.measure()
        settings = self.settings
        stream = batches(
            self.lesson.texts,
            rows=settings.rows,
            row_tokens=settings.row_tokens,
            seed=settings.seed,
            start=progress.step,
        )
        while not progress.finished:
            loss = self.step(next(stream))
            progress.losses.append(loss)
            progress.step += 1
            progress.finished = progress.step >= settings.steps
            if progress.step % settings.checkpoint_every == 0 or progress.finished:
                self.measure()
            self.tell(loss)

    def step(self, batch: Packed) -> float:
        """One update; returns the loss before it."""
        import torch

        self.served.refresh()
        self.student.train()
        rate = rate_at(self.state.progress.step, self.settings)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self.gradients(batch)
        gradients = [parameter.grad for parameter in self.served.parameters.values()]
        for master, gradient in zip(self.masters, gradients, strict=True):
            master.grad = gradient
        norm = float(torch.nn.utils.clip_grad_norm_(self.masters, CLIP))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise self.diverged(loss, rate)
        self.optimizer.step()
        self.state.progress.tokens_seen += int(batch.counted.sum())
        return loss

    def gradients(self, batch: Packed) -> float:
        """Leave the batch's gradients in the parameters; returns its loss. Where memory is short, with fewer rows at once from then on."""
        micro = self.state.progress.micro_rows or self.settings.micro_rows or len(batch)
        while True:
            for parameter in self.served.parameters.values():
                parameter.grad = None
            try:
                return self.accumulated(batch, micro)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                if micro == 1:
                    raise one_row_too_many(self.settings) from error
            released(self.teacher.device)  # out here, where no traceback holds what the attempt had made
            micro = self.state.progress.micro_rows = -(-micro // 2)
            self.report(
                self.state.progress.step, self.settings.steps,
                f"steps; memory was short: {micro} rows at once from now on, {len(batch)} behind an update as before",
            )  # fmt: skip

    def accumulated(self, batch: Packed, micro: int) -> float:
        total, loss = int(batch.counted.sum()), 0.0
        for start in range(0, len(batch), micro):
            part = batch.part(slice(start, start + micro))
            with autocast(self.teacher.device, self.precision):
                part_loss = distance_sum(self.student, self.teacher, part, self.settings.objective) / total
            part_loss.backward()
            loss += float(part_loss.detach())
        return loss

    def measure(self) -> None:
        """Divergence on the dev text; a new best is kept, the checkpoint written, and patience counted."""
        import torch

        state, progress = self.state, self.state.progress
        self.served.refresh()
        divergence, top1 = measure_dev(self.student, self.teacher, self.lesson.dev, self.settings.objective)
        if not math.isfinite(divergence):
            raise self.diverged(divergence, rate_at(progress.step, self.settings))
        loss = sum(progress.losses) / len(progress.losses) if progress.losses else divergence
        progress.losses.clear()
        best = min((point.dev_kl_nats for point in progress.curve), default=math.inf)
        progress.curve.append(CurvePoint(step=progress.step, loss=loss, dev_kl_nats=divergence, dev_top1=top1))
        if divergence < best:
            progress.best_step = progress.step
            state.best = {name: one.detach().clone() for name, one in state.masters.items()}
        since = sum(1 for point in progress.curve if point.step > progress.best_step)
        if since >= self.settings.patience and not progress.finished:
            progress.finished = progress.stopped_early = True
        progress.seconds = self.before + time.perf_counter() - self.started
        state.random = torch.get_rng_state()
        state.first, state.second = moments(self.optimizer, list(self.served.parameters))
        save_state(self.checkpoint, self.lesson.identity, state)

    def tell(self, loss: float) -> None:
        progress, settings = self.state.progress, self.settings
        last, best = progress.curve[-1], min(progress.curve, key=lambda point: point.dev_kl_nats)
        done = progress.step - self.first_step
        left = (time.perf_counter() - self.started) / done * (settings.steps - progress.step)
        self.report(
            progress.step, settings.steps,
            f"steps; divergence {loss:.4f} in training, {last.dev_kl_nats:.4f} on dev (best {best.dev_kl_nats:.4f} at step "
            f"{best.step}), {words_for(left)} left",
        )  # fmt: skip

    def diverged(self, loss: float, rate: float) -> InputError:
        kept = self.state.progress.curve[-1].step if self.state.progress.curve else None
        return InputError(
            f"training diverged at step {self.state.progress.step + 1}: the loss is no number any more",
            value=f"loss {loss} at a learning rate of {rate:.2g}",
            fix="lower training.learning_rate, by half to begin with"
            + (f"; the state of step {kept} is kept in {self.checkpoint}" if kept is not None else ""),
        )


def rate_at(step: int, settings: TrainingSettings) -> float:
    """Linear up over the warm-up, then half a cosine down to `LOWEST_RATE` of the peak."""
    warmup = max(1, round(settings.warmup * settings.steps))
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, settings.steps - warmup)
    return settings.learning_rate * (LOWEST_RATE + (1 - LOWEST_RATE) * 0.5 * (1 + math.cos(math.pi * done)))


def words_for(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )
