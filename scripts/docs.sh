#!/usr/bin/env bash
# Builds the API pages from the docstrings: out/api/index.html. Nothing that is generated goes into git.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/setup.sh

setup run
pip_install --no-build-isolation -e ".[docs]"
# The folder declares the operators that PyPI's torchvision lacks beside a CPU build of torch.
PYTHONPATH=$PWD/tests/comfyui/server_site .venv/bin/python scripts/api_page.py out/api
say "out/api/index.html"
