#!/usr/bin/env bash
# Checks the types of both packages. The pack's relative imports need a package above them, whatever the folder is
# called that the repository lies in: a link in mypy's cache is that package. Arguments go to mypy.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mkdir -p .mypy_cache
ln -sfn .. .mypy_cache/pack
exec .venv/bin/mypy "$@"
