"""llama.cpp's converter from a Hugging Face folder to GGUF, from the very sources the installed runtime was built of.

The package llama-cpp-python installs shared libraries only; the converter is in its source distribution. It is downloaded
once, checked against a sha256 written down here, and unpacked into the cache; the unpacked files are checked on each use.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from quantplay.digest import digest_of_file
from quantplay.engines.unpack import digest_of_tree, unpack
from quantplay.engines.whole_file import out_of_space, require_space, written_whole
from quantplay.errors import InputError, IntegrityError, MissingDependency
from quantplay.records import Digest

OutType = Literal["f32", "f16", "bf16"]


@dataclass(frozen=True, kw_only=True)
class Pin:
    """What one version of llama-cpp-python has to look like."""

    sdist: Digest  # sha256 of llama_cpp_python-VERSION.tar.gz
    tree: Digest  # digest of the unpacked converter (quantplay.engines.unpack.digest_of_tree)
    commit: str  # of llama.cpp, which the source distribution contains


# To add a version: `sha256sum` of its source distribution; then run `ensure_converter`, whose error names the tree's digest.
PINS: dict[str, Pin] = {
    "0.3.36": Pin(
        sdist="832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e",
        tree="b1e3e9dfd65ee0abd93700867f4b67a023c36beb09c8a1a0d33435295ef4138c",
        commit="0c1e57098bba43ac29e6e3b677cdceebdd22334f",
    ),
}

# The child that runs the converter dies with its parent, as every child of ours does.
LAUNCHER = """
import ctypes, os, runpy, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the process that asked for this conversion is gone")
sys.argv = sys.argv[2:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""
LEFT_OUT = (".py", ".bin", ".pt", ".pth", ".pkl", ".ckpt")  # code and pickles never reach the converter
ERROR_LINES = 12


@dataclass(frozen=True, kw_only=True)
class Converter:
    """An unpacked and checked converter."""

    path: Path  # folder with convert_hf_to_gguf.py
    version: str  # of llama-cpp-python
    digest: Digest  # of all its files


# --- getting it ----------------------------------------------------------------------------------------------------


def ensure_converter(cache: Path) -> Converter:
    """The converter that belongs to the installed llama-cpp-python, unpacked under `cache`; fetched where missing.

    An already downloaded `cache/sdist/llama_cpp_python-VERSION.tar.gz` is used. Safe to call from several processes.
    Raises MissingDependency where the sources can't be had, IntegrityError where they are not the ones we know.
    """
    version, pin = installed_pin()
    target = converter_folder(cache, version, pin)
    if not (target.is_dir() and digest_of_tree(target) == pin.tree):
        unpack_into(target, ensure_sdist(cache, version, pin), pin)
    return Converter(path=target, version=version, digest=pin.tree)


def converter_folder(cache: Path, version: str, pin: Pin) -> Path:
    return cache / "converter" / f"llama_cpp_python-{version}-{pin.tree[:12]}"


def sdist_file(cache: Path, version: str) -> Path:
    return cache / "sdist" / f"llama_cpp_python-{version}.tar.gz"


def installed_pin() -> tuple[str, Pin]:
    """Version of the installed llama-cpp-python and what we know about it."""
    known = " or ".join(f"llama-cpp-python=={version}" for version in PINS)
    try:
        version = metadata.version("llama-cpp-python")
    except metadata.PackageNotFoundError:
        raise MissingDependency("llama-cpp-python is not installed", allowed=known, fix="make install") from None
    if version not in PINS:
        raise MissingDependency(
            "the converter of this llama-cpp-python is not known to quantplay",
            value=version, allowed=known, fix=f"python -m pip install llama-cpp-python=={next(iter(PINS))}",
        )  # fmt: skip
    return version, PINS[version]


def ensure_sdist(cache: Path, version: str, pin: Pin) -> Path:
    """The source distribution in `cache/sdist`, downloaded through pip where it is not there or damaged."""
    target = sdist_file(cache, version)
    if target.is_file() and digest_of_file(target) == pin.sdist:
        return target
    with (
        written_whole(target) as partial,
        tempfile.TemporaryDirectory(dir=target.parent, prefix=".download-") as folder,
    ):
        found = Path(folder) / target.name
        download(version, Path(folder), target)
        digest = digest_of_file(found) if found.is_file() else "no such file"
        if digest != pin.sdist:
            raise IntegrityError(
                f"the downloaded {target.name} is not the file quantplay was made with",
                value=digest, allowed=pin.sdist,
                fix="look at `python -m pip config list`: the package index gave other bytes; nothing was unpacked",
            )  # fmt: skip
        found.replace(partial)
    return target


def download(version: str, folder: Path, target: Path) -> None:
    """Have pip put the source distribution into `folder`. Raises MissingDependency with the command to run by hand."""
    command = [
        sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input", "--progress-bar", "off",
        "--no-deps", "--no-binary", "llama-cpp-python", "--dest", str(folder), f"llama-cpp-python=={version}",
    ]  # fmt: skip
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    if done.returncode != 0:
        by_hand = " ".join(["python", *command[1:]]).replace(str(folder), str(target.parent))
        raise MissingDependency(
            f"the sources of llama-cpp-python {version}, which hold the GGUF converter, can't be downloaded\n"
            + last_lines(done.stderr, 3),
            fix=f"with a network: {by_hand}",
        )


def unpack_into(target: Path, sdist: Path, pin: Pin) -> None:
    """Unpack the converter's files and put them at `target` by one rename, replacing what is damaged there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=target.parent))
    try:
        unpack(sdist, work)
        found = digest_of_tree(work)
        if found != pin.tree:
            raise IntegrityError(
                "the unpacked converter is not the one quantplay knows", value=found, allowed=pin.tree,
                fix=f"delete {sdist} and run again",
            )  # fmt: skip
        work.chmod(0o755)
        old = work.with_name(work.name + ".old")
        if target.exists() and digest_of_tree(target) != pin.tree:
            target.replace(old)
            shutil.rmtree(old, ignore_errors=True)
        try:
            work.replace(target)
        except OSError:
            # Another process was faster; its tree has to be right too.
            if digest_of_tree(target) != pin.tree:
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


# --- using it ------------------------------------------------------------------------------------------------------


def convert(converter: Converter, model_folder: Path, out: Path, *, outtype: OutType = "f32") -> None:
    """Write the model as one GGUF file `out`; the bytes depend on the folder's files only, not on its name.

    Runs in a child process without network, user site and home folder. Python files and pickles of the folder are left out.
    Raises InputError where llama.cpp can't convert the model, OutOfSpace on a full disk.
    """
    files = sorted(path for path in model_folder.iterdir() if usable(path))
    weights = sum(path.stat().st_size for path in files if path.suffix == ".safetensors")
    if not weights:
        raise InputError(
            f"{model_folder} holds no safetensors weights", allowed="a folder with config.json and *.safetensors"
        )
    # At most: float16 or 8-bit weights become float32.
    require_space(out, weights)
    with written_whole(out) as partial, tempfile.TemporaryDirectory(prefix="quantplay-convert-") as scratch:
        # The converter puts the folder's name into the file, so it always sees the same one.
        staged = Path(scratch) / "model"
        staged.mkdir()
        for path in files:
            (staged / path.name).symlink_to(path.resolve())
        script = converter.path / "convert_hf_to_gguf.py"
        done = subprocess.run(
            [sys.executable, "-c", LAUNCHER, str(os.getpid()), str(script), str(staged), "--outfile", str(partial),
             "--outtype", outtype],
            env=clean_environment(converter, Path(scratch)), cwd=scratch,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
        if done.returncode != 0:
            raise refusal(model_folder, out, done.stdout)
        if partial.stat().st_size == 0:
            raise InputError(
                f"llama.cpp's converter wrote nothing for {model_folder}\n{last_lines(done.stdout, ERROR_LINES)}"
            )


def usable(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and path.suffix.lower() not in LEFT_OUT


def clean_environment(converter: Converter, scratch: Path) -> dict[str, str]:
    """Nothing of the user's: no user site, no PYTHONPATH, no hub, no token, a home that is empty and goes away."""
    environment = {
        "PATH": os.defpath,
        "HOME": str(scratch),
        "HF_HOME": str(scratch / "hub"),
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "TMPDIR": str(scratch),
        "LC_ALL": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",  # the unpacked tree stays as it was checked
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": str(converter.path / "gguf-py"),
    }
    # A Python outside the system's library path can't start without it.
    if "LD_LIBRARY_PATH" in os.environ:
        environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    return environment


def refusal(model_folder: Path, out: Path, output: str) -> Exception:
    """What went wrong, from the converter's output."""
    if "No space left on device" in output or "Disk quota exceeded" in output:
        return out_of_space(out)
    what = f"llama.cpp's converter can't convert {model_folder}\n{last_lines(output, ERROR_LINES)}"
    if "BPE pre-tokenizer was not recognized" in output:
        return InputError(what, allowed="a SentencePiece tokenizer, or a byte-level BPE tokenizer that llama.cpp knows",
                          fix="use a tokenizer of a released model of the same family")  # fmt: skip
    if unsupported := re.search(r"Model (\S+) is not supported", output):
        return InputError(what, value=unsupported[1], allowed="an architecture this version of llama.cpp knows",
                          fix="serve this model with another runtime, or update llama-cpp-python")  # fmt: skip
    return InputError(what, fix="the lines above are the converter's own")


def last_lines(text: str, count: int) -> str:
    """The last lines that say something: no progress bars, no log decoration."""
    lines = [line.rsplit("\r", 1)[-1].rstrip() for line in text.splitlines()]
    telling = [line for line in lines if line and not line.startswith(("INFO:", "Writing:", "** "))]
    return "\n".join(f"  | {line[:300]}" for line in telling[-count:])


def convert_job(payload: dict[str, Any], report: Callable[[int, int, str], None]) -> dict[str, Any]:
    """Job of quantplay.process. payload: model, out, cache, outtype (f32). Returns sha256, size_bytes, converter."""
    report(0, 2, "fetching the converter")
    converter = ensure_converter(Path(payload["cache"]))
    report(1, 2, "converting")
    out = Path(payload["out"])
    convert(converter, Path(payload["model"]), out, outtype=payload.get("outtype", "f32"))
    report(2, 2, "converted")
    return {"sha256": digest_of_file(out), "size_bytes": out.stat().st_size, "converter": converter.digest}
