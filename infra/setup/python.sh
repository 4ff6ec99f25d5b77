#!/bin/sh
# Prints the path of a Python that quantplay can use, or says in one line what to do. Where $PYTHON is set, only that
# one is tried. Each is really run: a pyenv shim exists for versions that are not installed.
set -eu

if [ -n "${PYTHON:-}" ]; then
    set -- "$PYTHON"
else
    set -- python3.11 python3.12 python3 python
fi

found=""
for name in "$@"; do
    path=$(command -v "$name" 2>/dev/null) || continue
    version=$("$path" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
    case $version in
        3.11 | 3.12)
            printf '%s\n' "$path"
            exit 0
            ;;
    esac
    found="$found $name is $version;"
done
echo "set-up: quantplay needs Python 3.11 or 3.12; found${found:- none}. Install python3.11 with its venv module (Debian: apt-get install python3.11 python3.11-venv) or name one: make PYTHON=/path/to/python3.11" >&2
exit 3
