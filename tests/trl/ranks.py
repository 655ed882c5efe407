"""Runs a worker script of this folder in one process, or in several under torchrun."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def run_worker(name, *arguments, processes=2, timeout=540):
    """Its standard output. The scripts import the helpers of tests/."""
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"] if processes > 1 else []
    path = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    environment = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore", "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, *launch, str(HERE / name), *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
