"""A task of your own in one file: spell a word backwards. Use it as `examples/my_task.py:ReverseWord`."""

import random
from dataclasses import dataclass

from hysteretic.tasks.task import Problem, Score


@dataclass(frozen=True)
class ReverseWord:
    """Spell a made-up word of `letters` letters backwards; the last word of the response is the answer."""

    letters: int = 4
    name: str = "reverse-word"

    def problems(self, split: str = "train", seed: int = 0, count: int | None = None) -> tuple[Problem, ...]:
        """Distinct words. Train words start with a to s, the others with t to z: no word is on both sides."""
        first = "abcdefghijklmnopqrs" if split == "train" else "tuvwxyz"
        source = random.Random(f"{split} {seed}")
        words: dict[str, None] = {}
        while len(words) < (100 if count is None else count):
            rest = (source.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(self.letters - 1))
            words[source.choice(first) + "".join(rest)] = None
        return tuple(
            Problem(f"reverse:{word}", f"Spell '{word}' backwards. End with the answer.", word[::-1]) for word in words
        )

    def score(self, problem: Problem, response: str) -> Score:
        """1 when the last word of the response is the word reversed. Any text is fine, even none."""
        said = response.split()
        is_correct = said[-1:] == [problem.answer]
        return Score(reward=float(is_correct), is_correct=is_correct, has_format=len(said) > 0)
