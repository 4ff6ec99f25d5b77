"""Which build of llama.cpp is here: its version says nothing of compiler options, patches or a damaged file."""

from __future__ import annotations

from pathlib import Path

from quantplay.digest import digest_of_entries, digest_of_file


def runtime_build() -> str:
    """Digest of the name and bytes of every shared library llama.cpp consists of here; links and copies of one count once."""
    import llama_cpp

    folder = Path(llama_cpp.__file__).parent / "lib"
    libraries = (path for path in folder.iterdir() if path.suffix in (".so", ".dylib", ".dll"))
    return digest_of_entries((path.name, digest_of_file(path)) for path in sorted(libraries))
