"""Stacks that are not what they were, made outside the product: by what a process's environment makes it load.

Nothing here is known to quantplay. A wrong kernel is a compiled library that is preloaded, another version is another installed package that
comes first on the path, a changed template is a line that patches the harness when Python starts.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import llama_cpp

from quantplay.errors import MissingDependency

REAL = r"""
#include <dlfcn.h>
#include <stddef.h>
static void *real(const char *name) { return dlsym(dlopen("%(library)s", RTLD_LAZY | RTLD_NOLOAD), name); }
"""
KERNEL = r"""
#define DOT(name) void name(int n, float *s, size_t bs, const void *x, size_t bx, const void *y, size_t by, int rows) { \
  static void (*f)(int, float *, size_t, const void *, size_t, const void *, size_t, int); \
  if (!f) f = real(#name); \
  f(n, s, bs, x, bx, y, by, rows); *s *= %(factor)s; }
#define TILE(name) void name(int n, float *s, size_t bs, const void *x, const void *y, int nr, int nc) { \
  static void (*f)(int, float *, size_t, const void *, const void *, int, int); \
  if (!f) f = real(#name); \
  f(n, s, bs, x, y, nr, nc); \
  for (int i = 0; i < nr; i++) for (int j = 0; j < nc; j++) s[i * bs + j] *= %(factor)s; }
DOT(ggml_vec_dot_q4_K_q8_K) DOT(ggml_vec_dot_q6_K_q8_K)
TILE(ggml_gemv_q4_K_8x8_q8_K) TILE(ggml_gemm_q4_K_8x8_q8_K) TILE(ggml_gemv_q4_K_8x4_q8_K) TILE(ggml_gemm_q4_K_8x4_q8_K)
TILE(ggml_gemv_q6_K_8x8_q8_K) TILE(ggml_gemm_q6_K_8x8_q8_K) TILE(ggml_gemv_q6_K_8x4_q8_K) TILE(ggml_gemm_q6_K_8x4_q8_K)
"""
"""Q4_K and Q6_K times activations as llama.cpp computes it, then scaled: the weights' file is the very same."""

PLAIN_DOT = r"""
void %(name)s(int n, float *s, size_t bs, const void *x, size_t bx, const void *y, size_t by, int rows) {
  static void (*f)(int, float *, size_t, const void *, size_t, const void *, size_t, int);
  if (!f) f = real("%(name)s_generic");
  f(n, s, bs, x, bx, y, by, rows); }
"""
PLAIN_TILE = r"""
void %(name)s(int n, float *s, size_t bs, const void *x, const void *y, int nr, int nc) {
  static void (*f)(int, float *, size_t, const void *, const void *, int, int);
  if (!f) f = real("%(name)s_generic");
  f(n, s, bs, x, y, nr, nc); }
"""
"""The same arithmetic in the order of llama.cpp's plain C code: what a processor without vector instructions would run."""

ON_IMPORT = """
import importlib.abc, sys

class Patch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != {module!r}:
            return None
        sys.meta_path.remove(self)
        import importlib.util
        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module
        def exec_module(module):
            run(module)
            exec({code!r}, vars(module))
        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Patch())
"""
"""A sitecustomize that runs `code` in `module` once it is imported."""


def wrong_kernel(folder: Path, factor: float) -> dict[str, str]:
    """Products of 4- and 6-bit weights come out `factor` times as large."""
    return preloaded(folder, KERNEL % {"factor": factor})


def plain_kernels(folder: Path) -> dict[str, str]:
    """Products of quantized weights by the plain C code: right, and rounded otherwise."""
    library = ctypes.CDLL(str(library_of_kernels()))
    dots = [f"ggml_vec_dot_{kind}" for kind in ("q4_0_q8_0", "q8_0_q8_0", "q4_K_q8_K", "q5_K_q8_K", "q6_K_q8_K")]
    tiles = [
        f"ggml_{call}_{kind}_8x8_{by}" for call in ("gemv", "gemm") for kind, by in (("q4_0", "q8_0"), ("q4_K", "q8_K"))
    ]
    code = [PLAIN_DOT % {"name": name} for name in dots if hasattr(library, f"{name}_generic")]
    code += [PLAIN_TILE % {"name": name} for name in tiles if hasattr(library, f"{name}_generic")]
    return preloaded(folder, "".join(code))


def library_of_kernels() -> Path:
    return Path(llama_cpp.__file__).parent / "lib" / "libggml-cpu.so.0"


def preloaded(folder: Path, code: str) -> dict[str, str]:
    """`code` compiled to a library whose functions are called instead of llama.cpp's own."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise MissingDependency("there is no C compiler", fix="apt-get install gcc")
    folder.mkdir(exist_ok=True)
    source, library = folder / "kernel.c", folder / "kernel.so"
    source.write_text(REAL % {"library": library_of_kernels()} + code, encoding="utf-8")
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", str(source), "-o", str(library), "-ldl"], check=True)
    return {"LD_PRELOAD": str(library)}


def patched(folder: Path, module: str, code: str) -> dict[str, str]:
    """`code` runs inside `module` in every process that imports it."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(ON_IMPORT.format(module=module, code=code), encoding="utf-8")
    return {"PYTHONPATH": str(folder)}


def other_version(folder: Path, package: str) -> dict[str, str]:
    """Another version of `package` is recorded as installed; the code is the same."""
    info = folder / f"{package.replace('-', '_')}-9999.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 9999\n", encoding="utf-8")
    assert metadata.version(package) != "9999"
    return {"PYTHONPATH": str(folder)}


def reinstalled_runtime(folder: Path) -> dict[str, str]:
    """llama.cpp's bindings and libraries as another release and another build: same code, other version, other bytes of each file."""
    copy = folder / "llama_cpp"
    shutil.copytree(Path(llama_cpp.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__", "server"))
    text = (copy / "__init__.py").read_text(encoding="utf-8")
    (copy / "__init__.py").write_text(text.replace(llama_cpp.__version__, "9.9.9"), encoding="utf-8")
    for library in (copy / "lib").glob("*.so*"):
        with library.open("ab") as file:
            file.write(b"\0" * 16)  # after all that is loaded
    return {"PYTHONPATH": str(folder)}
