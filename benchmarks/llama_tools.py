"""llama.cpp's own tools, built from the source distribution against the installed shared libraries: independent oracles.

What they compute is compiled unchanged. Their options are read by llama_arguments.cpp instead of common/arg.cpp, and unused
sections are dropped by the linker, so a few files are enough: about half a minute of one core for the first tool, once a
version; the others share its objects.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

from quantplay.digest import digest_of, digest_of_file
from quantplay.engines.converter import ensure_sdist, installed_pin
from quantplay.errors import MissingDependency

ARGUMENTS = Path(__file__).with_name("llama_arguments.cpp")
TOOLS = {
    "perplexity": ("tools/perplexity/main.cpp", "tools/perplexity/perplexity.cpp"),
    "imatrix": ("tools/imatrix/imatrix.cpp",),
    "quantize": ("tools/quantize/main.cpp", "tools/quantize/quantize.cpp"),
}
COMMON = (
    "common", "fit", "imatrix-loader", "json", "log", "reasoning-budget", "sampling", "trie", "unicode",
)  # fmt: skip
FOLDERS = ("common/", "include/", "ggml/include/", "src/llama-ext.h", "vendor/nlohmann/", "tools/")
FLAGS = ("-std=c++17", "-O1", "-w", "-ffunction-sections", "-fdata-sections")
LIBRARIES = ("llama", "ggml", "ggml-base", "ggml-cpu")


def build(tool: str, cache: Path) -> Path:
    """The program `llama-TOOL`, under `cache`; kept there until version, sources or libraries change.

    Raises MissingDependency without a C++ compiler.
    """
    version, pin = installed_pin()
    folder = cache / "llama-tools" / f"{version}-{identity(pin.sdist)[:12]}"
    program = folder / f"llama-{tool}"
    if program.is_file():
        return program
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        raise MissingDependency("there is no C++ compiler", fix="apt-get install g++")
    sources = folder / "sources"
    unpack(ensure_sdist(cache, version, pin), sources)
    files = [ARGUMENTS, *(sources / name for name in TOOLS[tool])]
    files += [sources / "common" / f"{name}.cpp" for name in COMMON]
    objects = [compiled(compiler, file, folder, sources) for file in files]
    libraries = library_folder()
    link = [f"-L{libraries}", f"-Wl,-rpath,{libraries}", *(f"-l{name}" for name in LIBRARIES), "-lpthread"]
    make(program, [compiler, "-Wl,--gc-sections", *map(str, objects), *link])
    return program


def identity(sdist: str) -> str:
    """Digest of all that determines a program: sources, options, and the libraries it is bound to, with their place."""
    folder = library_folder()
    libraries = {name: digest_of_file(folder / f"lib{name}.so") for name in LIBRARIES}
    return digest_of([sdist, digest_of_file(ARGUMENTS), FLAGS, TOOLS, COMMON, str(folder), libraries])


def compiled(compiler: str, file: Path, folder: Path, sources: Path) -> Path:
    """The object of one source file."""
    inner = file.relative_to(sources) if file.is_relative_to(sources) else Path(file.name)
    target = folder / "objects" / inner.with_suffix(".o")
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        includes = [f"-I{sources / name}" for name in ("common", "include", "ggml/include", "vendor")]
        make(target, [compiler, *FLAGS, *includes, "-c", str(file)])
    return target


def make(target: Path, command: list[str]) -> None:
    """Run a compiler; what it makes appears whole, also where two processes build at once."""
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    subprocess.run([*command, "-o", str(partial)], check=True)
    partial.replace(target)


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


def run(command: list[str]) -> str:
    """What a tool printed. Raises RuntimeError with its last words when it failed."""
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with status {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout
