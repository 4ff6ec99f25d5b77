from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType
from quantize_models import even_importance, number_of, recipe, save_random_llama, write_random_gguf

from quantplay import process
from quantplay.digest import digest_of_file
from quantplay.engines.llama_cpp import LlamaModel
from quantplay.engines.llama_quantize import quantize_file, quantizer_log
from quantplay.envelope.memory import estimate
from quantplay.envelope.mix import BULK, stored_types
from quantplay.envelope.shape import read_shape
from quantplay.errors import InputError, IntegrityError, OutOfSpace
from quantplay.formats import TYPES, types_of
from quantplay.quantizers import METHODS, method
from quantplay.quantizers.gguf import RECIPE_KEY, expand_overrides, quantize, read_tensors, require_covered
from quantplay.quantizers.importance import ImportanceMatrix
from quantplay.records import Artifact

# --- llama.cpp's quantizer -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", types_of("llama.cpp"))
def test_a_type_is_as_large_as_foretold_loads_and_answers(
    kind: str, reference_gguf: Path, pilot: Path, tmp_path: Path
) -> None:
    importance = TYPES[kind].nominal_bits <= 4
    out = tmp_path / f"{kind}.gguf"
    quantize_file(
        reference_gguf, out, ftype=number_of(kind), threads=1, importance=even_importance(reference_gguf) if importance else None
    )  # fmt: skip
    made = read_tensors(out)
    found = estimate(read_shape(pilot / "model"), kind, context_tokens=512, batch=1, importance=importance)
    assert sum(tensor.size_bytes for tensor in made.values()) == found.weights_bytes
    assert out.stat().st_size == pytest.approx(found.file_bytes, rel=0.02)
    assert [tensor.kind for tensor in made.values()].count(BULK[kind]) >= len(made) / 3
    with LlamaModel(out, threads=1, context_tokens=64) as model:
        (answer,) = model.generate([model.tokenize("order 1: fan to rome")], max_tokens=4, stop=())
    assert len(answer.tokens) > 0


@pytest.mark.parametrize(
    ("layers", "heads", "key_value_heads", "tied"), [(32, 8, 2, False), (9, 4, 4, True), (17, 4, 2, False)]
)
@pytest.mark.parametrize(("hidden", "intermediate"), [(256, 512), (96, 256), (256, 352), (80, 80)])
def test_the_mix_is_llama_cpps_own(
    layers: int, heads: int, key_value_heads: int, tied: bool, hidden: int, intermediate: int, tmp_path: Path
) -> None:
    """Against the quantizer's own dry run, for every type, with odd row sizes and layer counts."""
    source = write_random_gguf(
        tmp_path / "m.gguf", layers=layers, heads=heads, key_value_heads=key_value_heads, tied=tied, hidden=hidden,
        intermediate=intermediate,
    )  # fmt: skip
    shapes = {name: tensor.shape for name, tensor in read_tensors(source).items()}
    importance = even_importance(source)
    for kind in types_of("llama.cpp"):
        for given in (False, True):
            expected = stored_types(
                shapes, kind, layers=layers, heads_per_group=heads // key_value_heads, importance=given
            )
            assert dry_run(source, kind, importance if given else None) == expected, (kind, given)


def dry_run(source: Path, kind: str, importance: dict[str, np.ndarray] | None) -> dict[str, str]:
    """Tensor name -> type, as llama.cpp's log of a dry run says it."""
    import ctypes

    import llama_cpp

    from quantplay.engines.llama_quantize import importance_entries

    library: Any = llama_cpp
    params = library.llama_model_quantize_default_params()
    params.ftype, params.nthread, params.dry_run = number_of(kind), 1, True
    entries = importance_entries(importance or {})
    if importance:
        params.imatrix = entries
    with quantizer_log(None) as lines:
        assert library.llama_model_quantize(str(source).encode(), b"", ctypes.byref(params)) == 0
    steps = re.findall(r"\[ *\d+/ *\d+\] (\S+).*?size = .*?MiB(?: -> .*? \((\w+)\))?\n", "".join(lines))
    assert len(steps) > 0
    return {name: stored.upper() or "F32" for name, stored in steps}


def test_the_bytes_depend_on_neither_run_nor_threads(reference_gguf: Path, tmp_path: Path) -> None:
    importance = even_importance(reference_gguf)
    digests = set()
    for run, threads in enumerate((1, 1, 2)):
        out = tmp_path / f"{run}.gguf"
        quantize_file(reference_gguf, out, ftype=number_of("IQ4_XS"), threads=threads, importance=importance)
        digests.add(digest_of_file(out))
    assert len(digests) == 1


def test_an_importance_matrix_moves_the_error_to_where_it_does_not_matter(reference_gguf: Path, tmp_path: Path) -> None:
    import gguf

    rng = np.random.default_rng(1)
    importance = {
        name: rng.lognormal(0, 2, values.size).astype(np.float32)
        for name, values in even_importance(reference_gguf).items()
    }
    source = {tensor.name: np.array(tensor.data) for tensor in gguf.GGUFReader(reference_gguf).tensors}

    def weighted_error(given: dict[str, np.ndarray] | None) -> float:
        out = tmp_path / "out.gguf"
        quantize_file(reference_gguf, out, ftype=number_of("Q3_K_S"), threads=1, importance=given)
        stored = {tensor.name: tensor for tensor in gguf.GGUFReader(out).tensors}
        return sum(
            float((weights * (source[name] - gguf.dequantize(stored[name].data, stored[name].tensor_type)) ** 2).sum())
            for name, weights in importance.items()
        )

    assert weighted_error(importance) < 0.8 * weighted_error(None)


def test_progress_names_every_tensor(reference_gguf: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    quantize_file(
        reference_gguf, tmp_path / "o", ftype=number_of("Q8_0"), threads=1, on_progress=lambda *step: seen.append(step)
    )
    names = read_tensors(reference_gguf).keys()
    assert [done for done, _, _ in seen] == list(range(1, len(names) + 1))
    assert {name for _, _, name in seen} == names


def test_llama_cpps_reason_reaches_the_error(reference_gguf: Path, candidate_gguf: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="requires an imatrix"):
        quantize_file(reference_gguf, tmp_path / "o", ftype=number_of("IQ2_XS"), threads=1)
    with pytest.raises(InputError, match="requantizing"):
        quantize_file(candidate_gguf, tmp_path / "o", ftype=number_of("Q3_K_S"), threads=1)
    with pytest.raises(InputError, match="failed to load model"):
        quantize_file(tmp_path / "missing", tmp_path / "o", ftype=number_of("Q8_0"), threads=1)
    not_finite = {name: values * np.float32(np.inf) for name, values in even_importance(reference_gguf).items()}
    with pytest.raises(InputError, match="non-finite"):
        quantize_file(reference_gguf, tmp_path / "o", ftype=number_of("Q4_K_M"), threads=1, importance=not_finite)


def test_a_full_disk_leaves_the_older_file_and_nothing_else(
    reference_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    out = tmp_path / "model.gguf"
    out.write_bytes(b"older")
    payload = {"source": str(reference_gguf), "out": str(out), "limit": 500_000}
    with pytest.raises(OutOfSpace, match="disk is too full"):
        process.run("quantize_models:quantize_on_a_full_disk", payload, threads=1)
    assert [path.name for path in tmp_path.iterdir()] == ["model.gguf"]
    assert out.read_bytes() == b"older"


def test_a_file_cut_short_is_noticed(candidate_gguf: Path, tmp_path: Path) -> None:
    whole = candidate_gguf.read_bytes()
    for length in (0, 3, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.gguf").write_bytes(whole[:length])
        with pytest.raises(IntegrityError):
            read_tensors(tmp_path / "cut.gguf")


# --- the quantizer of ours -----------------------------------------------------------------------------------------


def test_a_recipe_gives_the_same_artifact_twice(reference_gguf: Path, pilot: Path, tmp_path: Path) -> None:
    import gguf

    wanted = recipe("Q4_K_M", importance=True, tensor_types={r"^blk\.0\.ffn_up": "Q8_0", r"attn_output": "IQ4_NL"})
    steps: list[str] = []
    made = [
        quantize(
            wanted, reference_gguf=reference_gguf, model_folder=pilot / "model", out=tmp_path / name / "model.gguf",
            calibration_file=pilot / "calibration" / "traffic.jsonl", on_progress=lambda _d, _t, text: steps.append(text),
        )
        for name in ("one", "two")
    ]  # fmt: skip
    first, second = made
    assert first.sha256 == second.sha256 == digest_of_file(tmp_path / "two" / "model.gguf")
    assert (first.recipe, first.type, first.file_name) == (wanted.digest(), "Q4_K_M", "model.gguf")
    assert first.importance_matrix is not None
    assert first.tensors["blk.0.ffn_up.weight"] == "Q8_0"
    assert first.tensors["blk.1.ffn_up.weight"] == "Q4_K"
    assert first.tensors["blk.3.attn_output.weight"] == "IQ4_NL"
    assert 4.5 < first.bits_per_weight < 6
    assert first.size_bytes == (tmp_path / "one" / "model.gguf").stat().st_size
    assert {"calibration texts", "blk.0.attn_q.weight"} <= set(steps)
    reader = gguf.GGUFReader(tmp_path / "one" / "model.gguf")
    field = reader.get_field(RECIPE_KEY)
    assert field is not None
    assert field.contents() == wanted.digest()
    assert Artifact.model_validate(first.body()) == first


def test_rows_that_fit_no_block_are_listed(pilot: Path, tmp_path: Path) -> None:
    source = write_random_gguf(tmp_path / "m.gguf", layers=1, heads=2, key_value_heads=2, hidden=64, intermediate=80)
    with pytest.raises(InputError, match="1 tensors can't be stored as Q8_0") as caught:
        quantize(
            recipe("Q8_0"), reference_gguf=source, model_folder=pilot / "model", calibration_file=Path(),
            out=tmp_path / "out.gguf",
        )  # fmt: skip
    (fault,) = caught.value.faults
    assert fault.where == "blk.0.ffn_down.weight"
    assert "80 weights" in fault.what
    assert not (tmp_path / "out.gguf").exists()


def test_a_weight_that_is_no_number_is_named(reference_gguf: Path, tmp_path: Path) -> None:
    damaged = save_random_llama(tmp_path / "m", damage="model.layers.0.mlp.up_proj.weight")
    for importance in (False, True):
        with pytest.raises(InputError, match=r"model\.layers\.0\.mlp\.up_proj\.weight") as caught:
            quantize(
                recipe("Q4_K_M", importance=importance), reference_gguf=reference_gguf, model_folder=damaged,
                calibration_file=Path(__file__).parents[2] / "examples" / "pilot" / "calibration" / "traffic.jsonl",
                out=tmp_path / "out.gguf",
            )  # fmt: skip
        assert len(caught.value.faults) == 1


SHAPES = {"blk.0.attn_q.weight": (256, 256), "blk.1.attn_q.weight": (256, 256), "blk.0.attn_norm.weight": (256,)}


def test_overrides_become_names() -> None:
    assert expand_overrides({r"blk\.0": "Q8_0"}, SHAPES) == {"blk.0.attn_q.weight": "Q8_0"}
    assert expand_overrides({"attn_q": "Q6_K", "blk.1": "Q6_K"}, SHAPES).keys() == {
        "blk.0.attn_q.weight",
        "blk.1.attn_q.weight",
    }


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"attn_q": "Q9_X"}, "no such ggml type"),
        ({"(": "Q8_0"}, "no regular expression"),
        ({"attn_norm": "Q8_0"}, "matches no matrix"),
        ({"attn_q": "Q8_0", "blk.0": "Q6_K"}, "two types"),
    ],
)
def test_overrides_that_can_not_be_followed(overrides: dict[str, str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        expand_overrides(overrides, SHAPES)


def test_rows_must_fit_an_override() -> None:
    with pytest.raises(InputError, match="no multiple of 256"):
        expand_overrides({"attn_q": "Q6_K"}, {"blk.0.attn_q.weight": (96, 96)})


@pytest.fixture(scope="module")
def one_block(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("one-block") / "m.gguf"
    return write_random_gguf(out, layers=1, heads=4, key_value_heads=2, hidden=256, intermediate=256)


@pytest.mark.parametrize("kind", sorted(GGMLQuantizationType.__members__))
def test_an_override_is_refused_or_followed_and_never_ends_the_process(
    kind: str, one_block: Path, tmp_path: Path
) -> None:
    name, out = "token_embd.weight", tmp_path / "out.gguf"
    try:
        wanted = expand_overrides(
            {f"^{name}$": kind}, {name: tensor.shape for name, tensor in read_tensors(one_block).items()}
        )
    except InputError:
        return
    quantize_file(
        one_block, out, ftype=number_of("Q8_0"), threads=1, importance=even_importance(one_block), tensor_types=wanted
    )
    assert read_tensors(out)[name].kind == kind


@pytest.mark.parametrize("tensor", ["token_embd.weight", "output.weight"])
@pytest.mark.parametrize("kind", ["IQ2_XXS", "IQ2_XS", "IQ1_S"])
def test_what_needs_importance_is_refused_where_none_is_measured(kind: str, tensor: str) -> None:
    with pytest.raises(InputError, match="needs an importance matrix") as caught:
        expand_overrides({tensor: kind}, {tensor: (256, 512)})
    assert caught.value.faults[0].value == kind


def test_an_importance_matrix_has_to_cover_the_model() -> None:
    matrix = ImportanceMatrix(values={"blk.0.attn_q.weight": np.ones(128, np.float32)}, samples=1, tokens=1)
    with pytest.raises(InputError) as caught:
        require_covered(matrix, SHAPES)
    assert [fault.where for fault in caught.value.faults] == ["blk.0.attn_q.weight", "blk.1.attn_q.weight"]


def test_the_registry_is_complete() -> None:
    assert {kind.format for kind in TYPES.values()} == METHODS.keys()
    for serving_format in METHODS:
        module = method(serving_format)
        assert all(callable(getattr(module, name)) for name in ("build_recipe", "quantize_job"))
    with pytest.raises(InputError, match="gguf"):
        method("safetensors-of-tomorrow")
