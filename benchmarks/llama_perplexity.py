"""llama.cpp's own llama-perplexity, built from the source distribution against the installed shared libraries.

Its scoring is compiled unchanged. Its options are read by perplexity_arguments.cpp instead of common/arg.cpp, and unused
sections are dropped by the linker, so a few files are enough: about half a minute of one core, once a version.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from pathlib import Path

from quantplay.digest import digest_of_file
from quantplay.engines.converter import ensure_sdist, installed_pin
from quantplay.errors import MissingDependency

ARGUMENTS = Path(__file__).with_name("perplexity_arguments.cpp")
COMMON = ("common", "fit", "json", "log", "reasoning-budget", "sampling", "trie", "unicode")
FOLDERS = ("common/", "include/", "ggml/include/", "src/llama-ext.h", "vendor/nlohmann/", "tools/perplexity/")
FLAGS = ("-std=c++17", "-O0", "-w", "-ffunction-sections", "-fdata-sections")
NUMBER = r"([-+0-9.einfa]+)"
FIGURES = {
    "mean_kl_nats": rf"^Mean +KLD: +{NUMBER}",
    "p99_kl_nats": rf"^99\.0% +KLD: +{NUMBER}",
    "max_kl_nats": rf"^Maximum KLD: +{NUMBER}",
    "top1_percent": rf"^Same top p: +{NUMBER}",
    "perplexity_reference": rf"^Mean PPL\(base\) +: +{NUMBER}",
    "perplexity_candidate": rf"^Mean PPL\(Q\) +: +{NUMBER}",
}


def build(cache: Path) -> Path:
    """The program, under `cache`. Raises MissingDependency without a C++ compiler."""
    version, pin = installed_pin()
    folder = cache / "llama-perplexity" / f"{version}-{digest_of_file(ARGUMENTS)[:12]}"
    program = folder / "llama-perplexity"
    if program.is_file():
        return program
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        raise MissingDependency("there is no C++ compiler", fix="apt-get install g++")
    sources = folder / "sources"
    unpack(ensure_sdist(cache, version, pin), sources)
    includes = [f"-I{sources / name}" for name in ("common", "include", "ggml/include", "vendor")]
    files = [ARGUMENTS, sources / "tools/perplexity/main.cpp", sources / "tools/perplexity/perplexity.cpp"]
    files += [sources / "common" / f"{name}.cpp" for name in COMMON]
    objects = []
    for file in files:
        objects.append(folder / f"{file.stem}.o")
        subprocess.run([compiler, *FLAGS, *includes, "-c", str(file), "-o", str(objects[-1])], check=True)
    libraries = library_folder()
    subprocess.run(
        [compiler, "-Wl,--gc-sections", *map(str, objects), f"-L{libraries}", f"-Wl,-rpath,{libraries}",
         "-lllama", "-lggml", "-lggml-base", "-lggml-cpu", "-lpthread", "-o", str(program) + ".new"],
        check=True,
    )  # fmt: skip
    Path(f"{program}.new").rename(program)
    return program


def unpack(sdist: Path, target: Path) -> None:
    """The folders of llama.cpp that are compiled."""
    with tarfile.open(sdist) as archive:
        for member in archive:
            _, found, path = member.name.partition("/vendor/llama.cpp/")
            if found and member.isfile() and path.startswith(FOLDERS):
                archive.extract(member.replace(name=path), target, filter="data")


def library_folder() -> Path:
    import llama_cpp

    return Path(llama_cpp.__file__).parent / "lib"


def measure(
    program: Path, reference: Path, candidate: Path, text: Path, work: Path, *, context_tokens: int, cache_type: str
) -> dict[str, float]:
    """Its figures for candidate against reference: two runs, the first writes the reference's log-probabilities.

    They are stored in 16 bits and cut off at 16 nats below the highest, so its perplexity of the reference is too low
    where the text surprises the model; its perplexity of the candidate is not.
    """
    logits = work / "reference.logits"
    common = ["-c", str(context_tokens), "-b", str(context_tokens), "-t", "1", "-ct", cache_type]
    base = ["--kl-divergence-base", str(logits)]
    run([str(program), "-m", str(reference), "-f", str(text), *base, *common])
    output = run([str(program), "-m", str(candidate), "--kl-divergence", *base, *common])
    logits.unlink()
    found = {name: re.search(pattern, output, re.MULTILINE) for name, pattern in FIGURES.items()}
    missing = [name for name, match in found.items() if match is None]
    if missing:
        raise RuntimeError(f"llama-perplexity did not print {', '.join(missing)}:\n{output[-2000:]}")
    return {name: float(match[1]) for name, match in found.items() if match is not None}


def run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with status {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout
