#!/usr/bin/env bash
# All checks, on a person's machine and in CI alike: linters, types, the registry's rules, the scripts of ComfyUI's page,
# then pytest, which also drives a real ComfyUI and a real browser. Arguments go to pytest: `bash scripts/test.sh --slow -k flow`.
# With another version of ComfyUI's page, which tests marked `browser` open: `COMFYUI_FRONTEND=1.58.1 bash scripts/test.sh -m browser`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/setup.sh

setup test
if ! command -v chromium >/dev/null; then
  if can_apt; then
    say "Installing Chromium for the browser tests"
    apt_install chromium
  else
    say "Chromium is missing, so the browser tests are skipped; to run them: sudo apt-get install chromium"
  fi
fi

if [ -n "${COMFYUI_FRONTEND:-}" ]; then download_frontend "$COMFYUI_FRONTEND"; fi

say "ruff, mypy, comfy node validate"
.venv/bin/ruff check .
.venv/bin/ruff format --check .
bash scripts/types.sh
# This command exits with 0 whatever it finds, so its words decide.
verdict=$(DO_NOT_TRACK=1 COMFY_NO_TELEMETRY=1 .venv/bin/comfy --skip-prompt node validate </dev/null 2>&1)
echo "$verdict"
grep -q "All validation checks passed" <<<"$verdict" || fail "comfy node validate found the above"

if setup_web; then
  say "tsc, vitest"
  npm run --silent types
  npm test --silent
fi

say "pytest"
# The folder declares the operators that PyPI's torchvision lacks beside a CPU build of torch. Two workers, each of one
# thread, take half the time of one with two; a file's tests stay together, as they share servers.
export OMP_NUM_THREADS=1 PYTHONPATH=$PWD/tests/comfyui/server_site
exec .venv/bin/python -m pytest --numprocesses "${PYTEST_WORKERS:-2}" --dist loadfile "$@"
