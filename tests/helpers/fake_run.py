"""Behaves as a run of an experiment does, without any training: ``python -m tests.helpers.fake_run --workdir=FOLDER``.

Its result has the seed and the cores that it may use. With ``--fail`` it ends with an error.
"""

import json
import os
import sys
from pathlib import Path

if __name__ == "__main__":
    flags = dict(argument.partition("=")[::2] for argument in sys.argv[1:])
    figures = Path(flags["--workdir"]) / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    (figures / "curve.png").write_bytes(b"png")
    print("run folder: there\nstep 10/40  loss 1.0\nstep 20/40  loss 0.5", file=sys.stderr)
    if "--fail" in flags:
        sys.exit("error: no data")
    seed = int(flags["--config.seed"])
    print("some words")
    print(
        "result:",
        json.dumps(
            {"accuracy": 0.5 + seed / 10, "loss": 0.01, "seconds": 3.0, "cores": len(os.sched_getaffinity(0))}
        ),
    )
