#!/usr/bin/env bash
# What a person with an NVIDIA card runs before a release: the tests marked gpu, the kernels' tests, then each
# CUDA benchmark, whose results go to benchmarks/results. It uses the `python` that is there (or PYTHON=...),
# which must have PyTorch with CUDA and the pack's requirements; of the test tools it installs pytest alone.
# Each step has its time, and the whole ends within 8 minutes (or TIME_LIMIT=SECONDS). A step that fails does not
# stop the others. --ablation runs benchmarks/ablation.py in place of all that, within the same time; it needs the
# train extra, too. Exit code: 0 if all passed, 1 if not, 2 without a card or with another argument.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

if (($# > 1)) || [[ ${1:---ablation} != --ablation ]]; then
  echo "gpu_check: takes --ablation or no argument, got: $*" >&2
  exit 2
fi
PYTHON=${PYTHON:-$(command -v python || command -v python3)}
TIME_LIMIT=${TIME_LIMIT:-470}
LOGS=out/gpu_check
names=() results=() failed=0

say() { printf '\033[1m== %s\033[0m\n' "$*"; }

# Runs a step within its own time and what is left of the whole; its output goes to the screen and to a file.
step() {
  local name=$1 limit=$2 left=$((TIME_LIMIT - SECONDS)) started=$SECONDS code
  shift 2
  ((limit < left)) || limit=$left
  names+=("$name")
  if ((limit < 2)); then
    results+=("not run: the $TIME_LIMIT s of the whole were over")
    failed=1
    return
  fi
  say "$name (at most $limit s)"
  timeout --kill-after=5 "$limit" "$@" 2>&1 | tee "$LOGS/$name.txt"
  code=${PIPESTATUS[0]}
  case $code in
    0) results+=("passed in $((SECONDS - started)) s") ;;
    124 | 137) results+=("ended after its $limit s") failed=1 ;;
    *) results+=("failed with exit code $code after $((SECONDS - started)) s") failed=1 ;;
  esac
}

card=$("${PYTHON:-python}" -c '
import torch
assert torch.cuda.is_available()
print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}")
' 2>/dev/null) || {
  echo "gpu_check: needs an NVIDIA card that PyTorch can use, and ${PYTHON:-python} finds none; use a machine" \
    "with one, and name its Python with PYTHON=..." >&2
  exit 2
}
say "$card"
rm -rf "$LOGS"
mkdir -p "$LOGS"
# The second folder lets PyPI's torchvision be imported beside any build of torch.
export PYTHONPATH=$PWD:$PWD/tests/comfyui/server_site
if ! "$PYTHON" -c 'import pytest' 2>/dev/null; then
  say "Installing pytest, which is missing"
  timeout 60 "$PYTHON" -m pip install --quiet --disable-pip-version-check pytest || echo "pytest could not be installed"
fi

run_all() {
  # Only the files that have such tests: others may need packages that a bare machine lacks.
  mapfile -t marked < <(grep -rl --include='test_*.py' 'mark\.gpu' tests/spatialdreamer_core tests/nodes)
  mapfile -t kernels < <(grep -rl --include='test_*.py' 'kernels_run\|triton' tests/spatialdreamer_core)
  pytest=("$PYTHON" -m pytest -q -p no:cacheprovider --durations=10)
  step gpu_tests 180 "${pytest[@]}" -m gpu "${marked[@]}"
  step kernel_tests 80 "${pytest[@]}" -m "not gpu" -k "not interpreter and not compile" "${kernels[@]}"
  step warp_cuda 60 "$PYTHON" -m benchmarks.warp_cuda
  step film 90 "$PYTHON" -m benchmarks.film --cuda
  step sampler 150 "$PYTHON" -m benchmarks.sampler --cuda
  step frame_matrix 80 "$PYTHON" -m benchmarks.frame_matrix_time --cuda
}

if [[ ${1:-} == --ablation ]]; then
  step ablation "$TIME_LIMIT" "$PYTHON" -m benchmarks.ablation --cuda
else
  run_all
fi

say "$card: $SECONDS s; logs in $LOGS, results in benchmarks/results"
for index in "${!names[@]}"; do
  printf '%-14s %s\n' "${names[index]}" "${results[index]}"
done
exit "$failed"
