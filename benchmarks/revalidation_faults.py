"""Does a re-validation catch what it must, and confirm what is harmless? `python -m benchmarks.revalidation_faults [--quick]`

A 4-bit pilot is locked by measuring it here. Then its surroundings change, one fault at a time, while the locked file stays as it is
(but where the fault is in the file): each is re-validated in a fresh process with that fault. Caught: stale or regressed, as expected, and
the reason or the list of changes names what it was. Harmless: confirmed, and the change is named.
`--quick`: 40 items a slice instead of 200, tolerances of 20 points instead of 6, and the five faults that matter most.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faulty_stacks import other_version, patched, plain_kernels, reinstalled_runtime, wrong_kernel
from benchmarks.report import at_least, at_most, finish, print_table, quick_asked
from benchmarks.revalidation_lab import Lab, make_lab
from quantplay.records import Revalidation

CACHE_TYPE = """
from quantplay.engines import llama_cpp as here
plain = LlamaModel.context_parameters
def context_parameters(self, *arguments):
    parameters = plain(self, *arguments)
    parameters.type_k = parameters.type_v = {kind}
    return parameters
LlamaModel.context_parameters = context_parameters
"""
TEMPLATE = """
plain = ItemTask.fewshot_context
ItemTask.fewshot_context = lambda self, doc, *a, **k: "user: " + plain(self, doc, *a, **k)
"""
TOKENIZER = """
plain = LlamaLM.tok_encode
LlamaLM.tok_encode = lambda self, text, *a, **k: plain(self, " " + text, *a, **k)
"""
SCORER = 'SCORERS["exact"] = lambda response, item: float(response == item.answer and len(response) < 12)'
Q4_0 = 2  # enum ggml_type


@dataclass(frozen=True)
class Fault:
    """What is changed, what must come of it, and what has to be named."""

    name: str
    expected: tuple[str, ...]  # statuses that count
    names: str  # a word of the reasons, changes or alarms; "" where nothing can be named
    make: Callable[[Lab, Path], dict[str, str]]  # changes something, returns the environment
    quick: bool = False
    threads: int | None = None
    undo: Callable[[Lab], None] = lambda lab: None

    @property
    def harmless(self) -> bool:
        return self.expected == ("confirmed",)


def stored(lab: Lab, sha256: str) -> Path:
    path = lab.artifacts.local_path(sha256)
    assert path is not None
    return path


def candidate(lab: Lab) -> Path:
    return stored(lab, lab.locked.artifact.sha256)


def gate_file(lab: Lab) -> Path:
    return stored(lab, next(file.sha256 for file in lab.inputs.evaluation.files if file.path == "gate.jsonl"))


def flip_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) * 3 // 4] ^= 1
    replace(path, bytes(data))


def other_chat_template(path: Path) -> None:
    """The same tensors in a file with another chat template, written by the gguf package's own tool."""
    tool = [
        sys.executable,
        "-m",
        "gguf.scripts.gguf_new_metadata",
        "--chat-template",
        "{{ messages[0].content }}",
        "--force",
    ]
    made = path.with_name("made.gguf")
    subprocess.run([*tool, str(path), str(made)], check=True, capture_output=True)
    replace(path, made.read_bytes())
    made.unlink()


def replace(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


def restore_candidate(lab: Lab) -> None:
    candidate(lab).unlink(missing_ok=True)
    shutil.copy(lab.top / "candidate.gguf", candidate(lab))


def without_inputs(lab: Lab) -> dict[str, str]:
    shutil.rmtree(lab.top / "inputs", ignore_errors=True)
    return {}


def on_file(change: Callable[[Path], None]) -> Callable[[Lab, Path], dict[str, str]]:
    def make(lab: Lab, _: Path) -> dict[str, str]:
        change(candidate(lab))
        return {}

    return make


def take_gate_file(lab: Lab, _: Path) -> dict[str, str]:
    shutil.move(gate_file(lab), lab.top / "gate.away")
    return without_inputs(lab)


def give_gate_file_back(lab: Lab) -> None:
    shutil.move(lab.top / "gate.away", gate_file(lab))


def on_import(module: str, code: str) -> Callable[[Lab, Path], dict[str, str]]:
    return lambda lab, folder: patched(folder, module, code)


FAULTS = (
    Fault("nothing", ("confirmed",), "Nothing that is recorded", lambda lab, folder: {}),
    Fault("another version recorded, same code", ("confirmed",), "safetensors: ", lambda lab, folder: other_version(folder, "safetensors"), quick=True),
    Fault("llama.cpp reinstalled: other version, other build", ("confirmed",), "9.9.9", lambda lab, folder: reinstalled_runtime(folder)),
    Fault("lm-eval of another version, same prompts and scores", ("confirmed",), "lm-eval: ", lambda lab, folder: other_version(folder, "lm-eval")),
    Fault("other kernels, right but rounded otherwise", ("confirmed",), "safetensors: ", lambda lab, folder: other_version(folder / "info", "safetensors") | plain_kernels(folder)),
    Fault("two threads instead of one", ("confirmed",), "threads: 1 → 2", lambda lab, folder: {}, threads=2),
    Fault("kernel of quantized weights wrong by half", ("regressed",), "Against what was locked", lambda lab, folder: wrong_kernel(folder, 0.5), quick=True),
    Fault("kernel of quantized weights wrong by 10 %", ("regressed", "stale"), "", lambda lab, folder: wrong_kernel(folder, 0.9)),
    Fault("kernel of quantized weights wrong by 1 %", ("regressed", "stale"), "nothing that is recorded", lambda lab, folder: wrong_kernel(folder, 0.99)),
    Fault("chat template in the harness", ("regressed",), "renders the prompts", on_import("quantplay.harness.tasks", TEMPLATE), quick=True),
    Fault("chat template in the file's metadata", ("regressed",), "no longer the one that was locked", on_file(other_chat_template), quick=True, undo=restore_candidate),
    Fault("tokenizer", ("regressed",), "other tokens", on_import("quantplay.harness.lm_llama", TOKENIZER)),
    Fault("key-value cache q4_0", ("regressed", "stale"), "f16 then, q4_0 today", on_import("quantplay.engines.llama_cpp", CACHE_TYPE.format(kind=Q4_0)), quick=True),
    Fault("scorer that finds long answers wrong", ("regressed", "stale"), "word for word", on_import("quantplay.harness.scorers", SCORER)),
    Fault("one bit of the file", ("regressed",), "no longer the one that was locked", on_file(flip_bit), undo=restore_candidate),
    Fault("file missing from the store", ("stale",), "missing from the artifact store", on_file(Path.unlink), undo=restore_candidate),
    Fault("evaluation file missing from the store", ("stale",), "gate.jsonl", take_gate_file, undo=give_gate_file_back),
)  # fmt: skip


def said(found: Revalidation) -> str:
    return " ".join([*found.reasons, *(alarm.text for alarm in found.alarms)])


def main() -> int:
    quick = quick_asked()
    items, tolerance = (40, (20.0, 40.0)) if quick else (200, (6.0, 9.0))
    top = Path(tempfile.mkdtemp(prefix="quantplay-revalidation-"))
    top.chmod(0o755)
    rows, caught, confirmed, harmful, harmless = [], 0, 0, 0, 0
    try:
        lab = make_lab(top, items=items, tolerance=tolerance, threads=1)
        for number, fault in enumerate(fault for fault in FAULTS if fault.quick or not quick):
            started = time.perf_counter()
            environment = fault.make(lab, top / f"fault-{number}")
            found = lab.again(environment, fault.threads)
            fault.undo(lab)
            right = found.status in fault.expected and fault.names in said(found)
            harmless, harmful = harmless + fault.harmless, harmful + (not fault.harmless)
            confirmed, caught = confirmed + (right and fault.harmless), caught + (right and not fault.harmless)
            seconds = f"{time.perf_counter() - started:.0f} s"
            flips = f"{found.lost}/{found.won}"
            answer = "yes" if right else "NO"
            rows.append(
                (fault.name, " or ".join(fault.expected), found.status, flips, found.responses_changed, answer, seconds)
            )
            print(f"{fault.name}: {found.status}\n    {said(found)[:300]}", file=sys.stderr)
    finally:
        shutil.rmtree(top, ignore_errors=True)
    print_table(("fault", "expected", "status", "lost/won", "answers changed", "as expected", "time"), rows)
    return finish(
        "revalidation_faults",
        {"items": items * 5, "faults": {row[0]: row[2] for row in rows}},
        {
            "faults caught and named": at_least(caught / harmful, 1.0),
            "harmless changes confirmed and named": at_least(confirmed / harmless, 1.0),
            "harmless changes reported as faults": at_most(harmless - confirmed, 0),
        },
    )


if __name__ == "__main__":
    sys.exit(main())
