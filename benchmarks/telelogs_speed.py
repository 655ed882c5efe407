"""How long do 10,000 synthetic TeleLogs questions take to make, and how long to read back and answer?

    python benchmarks/telelogs_speed.py                  # about half a minute on one core; --count for fewer

Prints the seconds of this process for 10,000 questions: drawing and rendering, reading strictly, and answering by the
rules (which reads tolerantly). The aim for the first is 20 s.
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
    parser.add_argument("--count", type=int, default=WANTED, help="questions to make (the figures are for 10,000)")
    count = parser.parse_args(arguments).count
    if count < 1:
        parser.error(f"--count is {count}; give 1 or more.")
    causes, difficulty = list(CAUSES), Difficulty()
    texts: list[str] = []
    made = seconds(count, lambda n: texts.append(render(draw(f"speed {n}", causes[n % len(causes)], difficulty))))
    read = seconds(count, lambda n: parse_question(texts[n]))
    solved = seconds(count, lambda n: solve(texts[n]))
    print(f"{WANTED:,} questions: made in {made:.1f} s, read in {read:.1f} s, answered in {solved:.1f} s")


if __name__ == "__main__":
    main()
