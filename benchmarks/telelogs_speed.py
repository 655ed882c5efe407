"""Time to generate 10,000 synthetic TeleLogs questions, and to parse and answer them.

    python benchmarks/telelogs_speed.py                  # about half a minute on one core; --count for fewer

Prints the processor seconds for 10,000 questions: generating and rendering, parsing, and solving by the rules.
The target for the first is 20 s.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

from hysteretic.tasks.telelogs import CAUSES, Difficulty, draw, parse_question, render, solve

WANTED = 10_000


def seconds(count: int, work: Callable[[int], object]) -> float:
    """Processor seconds of this process for WANTED calls, measured on `count`."""
    start = time.process_time()
    for index in range(count):
        work(index)
    return (time.process_time() - start) * WANTED / count


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=WANTED, help="questions to generate (times are scaled to 10,000)")
    count = parser.parse_args(arguments).count
    if count < 1:
        parser.error(f"--count is {count}; it must be at least 1.")
    causes, difficulty = list(CAUSES), Difficulty()
    texts: list[str] = []
    made = seconds(count, lambda n: texts.append(render(draw(f"speed {n}", causes[n % len(causes)], difficulty))))
    read = seconds(count, lambda n: parse_question(texts[n]))
    solved = seconds(count, lambda n: solve(texts[n]))
    print(f"{WANTED:,} questions: generated in {made:.1f} s, parsed in {read:.1f} s, solved in {solved:.1f} s")


if __name__ == "__main__":
    main()
