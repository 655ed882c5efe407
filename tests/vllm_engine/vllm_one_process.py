"""Several `hysteretic` commands in one process that share an engine: starting one takes half a minute."""

import json
import sys

import vllm

from hysteretic.cli import main

start, started = vllm.LLM, []


def engine(**options):
    if not started:
        started.append(start(**options))
    return started[0]


if __name__ == "__main__":
    vllm.LLM = engine
    for words in json.loads(sys.argv[1]):
        if code := main(words):
            sys.exit(code)
    assert len(started) == 1
