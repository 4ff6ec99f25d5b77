"""Training towards a served grid on the pilot model: it helps, it survives a kill, and what is exported is what was simulated."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from quantize_models import number_of, recipe
from safetensors.numpy import load_file, save_file

from quantplay.digest import digest_of_file
from quantplay.engines.llama_quantize import quantize_file
from quantplay.errors import InputError, IntegrityError
from quantplay.plays.qat import grid_recipe, placed, trained_recipe
from quantplay.qat.export import export_job
from quantplay.qat.job import train_job
from quantplay.quantizers.gguf import quantize, read_tensors
from quantplay.records import Artifact, Recipe, Training, TrainingSettings
from quantplay.settings import settings

SMALL = TrainingSettings(
    steps=6, learning_rate=1e-3, rows=2, row_tokens=128, checkpoint_every=3, seed=3, precision="float32", device="cpu"
)


def silent(done: int, total: int, text: str) -> None:
    pass


class Bench:
    """Files of one training."""

    def __init__(self, pilot: Path, reference: Path, folder: Path, kind: str) -> None:
        self.pilot, self.reference, self.folder = pilot, reference, folder
        self.recipe = recipe(kind)
        self.artifact = quantize(
            self.recipe, reference_gguf=reference, model_folder=pilot / "model",
            calibration_file=pilot / "calibration" / "traffic.jsonl", out=folder / "ptq.gguf",
        )  # fmt: skip
        self.dev = folder / "dev.jsonl"
        lines = (pilot / "evaluation" / "dev.jsonl").read_text().splitlines()
        self.dev.write_text("\n".join(lines[::20]) + "\n")

    def payload(self, name: str, wanted: TrainingSettings, data: Path | None = None) -> dict[str, Any]:
        calibration = self.pilot / "calibration" / "traffic.jsonl"
        return {
            "model": str(self.pilot / "model"), "model_content": "0" * 64, "reference": str(self.reference),
            "recipe": grid_recipe(self.recipe, self.artifact).body(), "artifact": self.artifact.body(),
            "calibration": str(calibration), "data": str(data or calibration), "data_content": digest_of_file(data or calibration),
            "gate": str(self.dev), "dev": str(self.dev), "heldout": str(self.pilot / "heldout" / "text.jsonl"),
            "settings": wanted.body(), "workdir": str(self.folder / name), "out": str(self.folder / f"{name}.safetensors"),
        }  # fmt: skip

    def train(self, name: str, wanted: TrainingSettings, data: Path | None = None) -> Training:
        return Training.model_validate(train_job(self.payload(name, wanted, data), silent))

    def export(self, name: str, training: Training) -> tuple[Recipe, Artifact]:
        made_by = trained_recipe(self.recipe, self.artifact, training)
        body = export_job(
            {
                "recipe": made_by.body(), "model": str(self.pilot / "model"), "reference": str(self.reference),
                "calibration": str(self.pilot / "calibration" / "traffic.jsonl"), "weights": str(self.folder / f"{name}.safetensors"),
                "out": str(self.folder / f"{name}.gguf"), "cache": str(settings().cache), "scratch": str(self.folder),
            },
            silent,
        )  # fmt: skip
        return made_by, Artifact.model_validate(body)


@pytest.fixture(scope="module")
def bench(pilot: Path, pilot_model: Path, reference_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(pilot, reference_gguf, tmp_path_factory.mktemp("qat"), "TQ1_0")


@pytest.fixture(scope="module")
def training(bench: Bench) -> Training:
    return bench.train("whole", SMALL)


def test_a_few_steps_bring_the_rounded_model_closer(training: Training) -> None:
    assert [point.step for point in training.curve] == [0, 3, 6]
    assert training.curve[-1].dev_kl_nats < 0.95 * training.curve[0].dev_kl_nats
    assert training.chosen.dev_kl_nats == min(point.dev_kl_nats for point in training.curve)
    assert training.tokens_seen > 6 * 2 * 64


def test_what_is_served_is_what_was_simulated(bench: Bench, training: Training) -> None:
    made_by, artifact = bench.export("whole", training)
    assert artifact.tensors == bench.artifact.tensors
    assert made_by.trained == training.weights == digest_of_file(bench.folder / "whole.safetensors")
    stored = read_tensors(bench.folder / "whole.gguf")
    assert {tensor.kind for tensor in stored.values()} >= {"TQ1_0", "Q6_K"}
    assert artifact.sha256 != bench.artifact.sha256


def test_one_changed_weight_is_noticed(bench: Bench, training: Training, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rounded file is made of weights that are not the trained ones, as a converter that changes numbers would make it."""
    from quantplay.qat import gguf

    convert = gguf.convert

    def meddled(converter: Any, folder: Path, out: Path) -> None:
        copy = folder.with_name("meddled")
        copy.mkdir()
        for path in folder.iterdir():
            (copy / path.name).symlink_to(path.resolve())
        weights = load_file(folder / "model.safetensors")
        weights["model.layers.1.mlp.up_proj.weight"][7, :256] *= 1.5
        (copy / "model.safetensors").unlink()
        save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
        convert(converter, copy, out)

    monkeypatch.setattr(gguf, "convert", meddled)
    with pytest.raises(IntegrityError, match=r"not what training simulated[\s\S]*blk\.1\.ffn_up\.weight"):
        bench.export("whole", training)


def test_killed_and_resumed_gives_the_same_bytes(bench: Bench, training: Training) -> None:
    """kill -9 after the first checkpoint; the second process goes on from there."""
    payload = bench.payload("killed", SMALL)
    code = (
        "import json, sys, torch\nfrom quantplay.qat.job import train_job\ntorch.set_num_threads(1)\n"
        "train_job(json.load(sys.stdin), lambda done, total, text: print(done, flush=True))"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(json.dumps(payload))
    child.stdin.close()
    for line in child.stdout:
        if int(line) >= 4:
            break
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert not Path(payload["out"]).exists()
    steps = []
    resumed = Training.model_validate(train_job(payload, lambda done, total, text: steps.append(done)))
    assert min(step for step in steps if step) == 4
    assert resumed.curve == training.curve
    assert resumed.weights == training.weights
    assert resumed.tokens_seen == training.tokens_seen


def test_a_checkpoint_that_does_not_fit_is_named_and_not_gone_on_from(bench: Bench) -> None:
    first = SMALL.model_copy(update={"steps": 1})
    bench.train("unfit", first)
    for spoil, said in ((False, "is of another training"), (True, "is damaged")):
        if spoil:
            (bench.folder / "unfit" / "checkpoint.safetensors").write_bytes(b"cut short")
        told: list[tuple[int, int, str]] = []
        other = first.model_copy(update={"seed": 4})
        train_job(bench.payload("unfit", other), lambda *one, told=told: told.append(one))
        (line,) = [one[2] for one in told if "the checkpoint" in one[2]]
        assert said in line
        assert "training starts over" in line
        assert [one[0] for one in told if "divergence" in one[2]] == [1]


def test_parts_of_a_batch_and_blocks_computed_again_change_little(bench: Bench, training: Training) -> None:
    wanted = SMALL.model_copy(update={"micro_rows": 1, "gradient_checkpointing": True})
    other = bench.train("parts", wanted)
    first, second = (load_file(bench.folder / f"{name}.safetensors") for name in ("whole", "parts"))
    start = load_file(bench.pilot / "model" / "model.safetensors")
    for name, weights in first.items():
        moved = np.abs(weights - start[name]).mean()
        assert np.abs(weights - second[name]).mean() < 0.05 * moved, name
    assert other.chosen.dev_kl_nats == pytest.approx(training.chosen.dev_kl_nats, rel=0.05)


def test_short_memory_means_fewer_rows_at_once_and_the_same_update(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if two rows did not fit: from the first attempt on one at a time, which gives what one at a time always gives."""
    from quantplay.qat import train

    wanted = SMALL.model_copy(update={"steps": 2, "checkpoint_every": 1})
    one_by_one = bench.train("one-by-one", wanted.model_copy(update={"micro_rows": 1}))
    real, tried = train.distance_sum, []

    def short_of_memory(student: Any, teacher: Any, batch: Any, objective: Any) -> Any:
        tried.append(len(batch))
        if len(batch) > 1:
            raise MemoryError
        return real(student, teacher, batch, objective)

    monkeypatch.setattr(train, "distance_sum", short_of_memory)
    told: list[tuple[int, int, str]] = []
    found = Training.model_validate(train_job(bench.payload("short-of-memory", wanted), lambda *one: told.append(one)))
    assert tried == [2, 1, 1, 1, 1], "no second attempt is wasted"
    assert found.weights == one_by_one.weights
    assert (found.micro_rows, one_by_one.micro_rows) == (1, None)
    (line,) = [one[2] for one in told if "memory" in one[2]]
    assert "1 rows at once from now on, 2 behind an update as before" in line


def test_where_one_row_does_not_fit_that_is_said(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from quantplay.qat import train
    from quantplay.qat.memory import is_out_of_memory

    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value), "what torch says on a processor"
    assert not is_out_of_memory(RuntimeError("shapes do not match"))

    def full(*_: Any) -> Any:
        raise caught.value

    monkeypatch.setattr(train, "distance_sum", full)
    with pytest.raises(
        InputError, match=r"one row of training texts does not fit the memory[\s\S]*gradient_checkpointing"
    ):
        bench.train("full", SMALL)


def test_training_stops_when_nothing_improves(bench: Bench) -> None:
    wanted = SMALL.model_copy(update={"steps": 40, "learning_rate": 1e-12, "checkpoint_every": 1, "patience": 3})
    found = bench.train("idle", wanted)
    assert found.stopped_early
    assert found.steps_done < 40
    assert found.steps_done - found.chosen_step >= 3


def test_a_loss_that_is_no_number_is_one_clear_error(bench: Bench) -> None:
    wanted = SMALL.model_copy(update={"steps": 30, "learning_rate": 1e30, "checkpoint_every": 2, "warmup": 0.5})
    with pytest.raises(
        InputError, match=r"training diverged at step \d+[\s\S]*training\.learning_rate[\s\S]*is kept in"
    ):
        bench.train("diverged", wanted)
    assert (bench.folder / "diverged" / "checkpoint.safetensors").is_file()
    assert not (bench.folder / "diverged.safetensors").exists()


def test_texts_that_hold_a_question_are_refused(bench: Bench, tmp_path: Path) -> None:
    item = json.loads(bench.dev.read_text().splitlines()[0])
    data = tmp_path / "leaky.jsonl"
    rows = [
        {"id": "good", "text": "the desk is closed on sunday"},
        {"id": "bad", "text": f"so: {item['prompt']} {item['answer']}"},
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match=rf"the dev split: 1 of its texts[\s\S]*{item['id']} in bad"):
        bench.train("leaky", SMALL, data)


@pytest.mark.parametrize(
    ("text", "said"), [("", "no training texts|empty"), ('{"id": "a"}\n', "text"), ("{\n", "JSON")]
)
def test_files_without_texts_are_refused(bench: Bench, tmp_path: Path, text: str, said: str) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text(text)
    with pytest.raises(InputError, match=said):
        bench.train("nothing", SMALL, data)


def test_types_that_need_importance_are_trained_and_served_with_it(
    pilot: Path, pilot_model: Path, reference_gguf: Path, tmp_path: Path
) -> None:
    plain = Bench(pilot, reference_gguf, tmp_path, "Q4_0")
    importance = recipe("IQ2_XS", importance=True)
    artifact = quantize(
        importance, reference_gguf=reference_gguf, model_folder=pilot / "model",
        calibration_file=pilot / "calibration" / "traffic.jsonl", out=tmp_path / "iq.gguf",
    )  # fmt: skip
    plain.recipe, plain.artifact = importance, artifact
    found = plain.train("iq", SMALL.model_copy(update={"steps": 2, "checkpoint_every": 2}))
    made_by, made = plain.export("iq", found)
    assert made_by.importance_matrix
    assert made.importance_matrix == artifact.importance_matrix


def test_the_served_types_stay(bench: Bench, reference_gguf: Path, tmp_path: Path) -> None:
    """The recipe writes every type out, so llama.cpp's own mix plays no part any more."""
    wanted = grid_recipe(bench.recipe, bench.artifact)
    quantize_file(
        reference_gguf, tmp_path / "plain.gguf", ftype=number_of("TQ1_0"), threads=1,
    )  # fmt: skip
    kinds = {name: tensor.kind for name, tensor in read_tensors(tmp_path / "plain.gguf").items()}
    assert len(wanted.tensor_types) == sum(kind != "F32" for kind in kinds.values())
    assert not wanted.importance_matrix


def test_the_last_step_is_told_in_words(bench: Bench) -> None:
    told: list[tuple[int, int, str]] = []
    wanted = SMALL.model_copy(update={"steps": 2, "checkpoint_every": 1})
    started = time.monotonic()
    train_job(bench.payload("told", wanted), lambda *one: told.append(one))
    assert told[-1][:2] == (2, 2)
    assert "divergence" in told[-1][2]
    assert "0 s left" in told[-1][2]
    assert time.monotonic() - started < 120


def test_what_the_plan_leaves_open_is_taken_from_this_machine() -> None:
    import torch

    found = placed(
        SMALL.model_copy(update={"device": None, "precision": None}), accelerators=("one that torch may not use",)
    )
    assert found.device == ("cuda" if torch.cuda.is_available() else "cpu")
    assert found.precision in ("float32", "bfloat16")
    assert placed(SMALL, accelerators=("any",)) == SMALL, "what is asked for is kept"
