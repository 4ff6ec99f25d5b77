"""Builds the llama.cpp wheel of an image: as set-up does, but for every x86-64 CPU with AVX2, because an image travels.

Leaves the wheel in `--out` and its sources in `--cache`/sdist, where quantplay's converter comes from. Standard library only.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "setup"))

from commands import SetupError
from llama_wheel import build, ensure_sdist

PORTABLE = ("GGML_NATIVE=OFF",)
"""Without it the build takes every instruction the building machine has. With it: AVX2, FMA, F16C and BMI2."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Build llama-cpp-python for an image.")
    parser.add_argument("--cache", type=Path, required=True, help="where the source distribution goes and stays")
    parser.add_argument("--out", type=Path, required=True, help="folder of the wheel")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    log = given.out / "build.log"
    try:
        sdist = ensure_sdist(given.cache, Path(sys.executable), log)
        print(build(sdist, given.out, Path(sys.executable), log, PORTABLE))
    except SetupError as error:
        print(f"wheel: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
