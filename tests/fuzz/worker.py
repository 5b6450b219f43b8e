"""Runs fuzz cases in a process of its own and prints a line of JSON before and after each.

`python tests/fuzz/worker.py KIND FIRST COUNT FOLDER` runs the cases FIRST to FIRST + COUNT - 1; a case is
the same in every run. FOLDER takes the files and keeps those of the last case.
"""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
import sys
import threading
import time
import traceback
from pathlib import Path

_THREAD_SECONDS = 5.0  # transformers' loading threads are told to end, not waited for
_ADDRESS_SPACE = 24 << 30  # bytes; what would bring the machine down fails in the process that asks for it


def main(kind_name: str, first: int, count: int, folder: Path) -> None:
    """Run the cases."""
    out = os.fdopen(os.dup(1), "w", buffering=1)  # what libraries print must not mix with the lines
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.environ.update(
        SPATIALDREAMER_MODELS=str(folder / "work" / "models"),
        HF_HUB_OFFLINE="1",
        HF_HUB_CACHE=str(folder / "hub"),
        TORCH_HOME=str(folder / "torch"),
    )
    import resource

    import torch

    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, resource.RLIM_INFINITY))
    torch.set_num_threads(1)
    from corpus import KINDS

    from spatialdreamer_core.checks import InputError

    logging.disable(logging.CRITICAL)
    sound = folder / "sound"
    sound.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    kind = KINDS[kind_name](sound)
    work = folder / "work"
    for index in range(first, first + count):
        shutil.rmtree(work, ignore_errors=True)
        (work / "out").mkdir(parents=True)
        print(json.dumps({"begin": index}), file=out)
        start, threads = time.monotonic(), threading.active_count()
        result: dict[str, object] = {"index": index, "outcome": "done"}
        try:
            kind.run(random.Random(f"{kind_name} {index}"), work)
        except InputError as error:
            result.update(outcome="refused", text=str(error))
            if "\n" in str(error):
                result.update(outcome="raw", text="more than one line: " + str(error)[:300])
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            result.update(
                outcome="raw",
                text=f"{type(error).__name__}: {error}"[:300],
                where=f"{Path(where.filename).name}:{where.lineno}",
            )
        left = sorted(path.name for path in (work / "out").iterdir())
        if left and result["outcome"] != "done" and (len(left) > 1 or ".partial" in left[0]):
            result.update(outcome="raw", text=f"left {left}; {result.get('text', '')}")
        seconds = time.monotonic() - start
        while threading.active_count() > threads and time.monotonic() - start < seconds + _THREAD_SECONDS:
            time.sleep(0.01)
        if threading.active_count() > threads:
            result.update(outcome="raw", text=f"{threading.active_count() - threads} threads were left")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({**result, "seconds": seconds, "peak": peak}), file=out)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
