"""A task in one file: spell a word backwards. Use it as `--task examples/my_task.py:ReverseWord`."""

import random
from dataclasses import dataclass
from string import ascii_lowercase

from hysteretic.tasks import Problem, Score


@dataclass(frozen=True)
class ReverseWord:
    """Spell a made-up word backwards. The fields are the options of the task."""

    letters: int = 4
    name: str = "reverse-word"

    def problems(self, split: str = "train", seed: int = 0, count: int | None = None) -> list[Problem]:
        """Distinct words. Train words start with a to s, all others with t to z, so no word is in both splits."""
        rng = random.Random(f"{split} {seed}")
        first = ascii_lowercase[:19] if split == "train" else ascii_lowercase[19:]
        words: dict[str, None] = {}  # a set that keeps its order
        while len(words) < (100 if count is None else count):
            word = rng.choice(first) + "".join(rng.choice(ascii_lowercase) for _ in range(self.letters - 1))
            words[word] = None
        return [
            Problem(id=f"reverse:{word}", prompt=f"Spell '{word}' backwards. End with the answer.", answer=word[::-1])
            for word in words
        ]

    def score(self, problem: Problem, response: str) -> Score:
        """Reward 1 if the last word of the response is the reversed word. Must accept any text, even none."""
        words = response.split()
        is_correct = words[-1:] == [problem.answer]
        return Score(reward=float(is_correct), is_correct=is_correct, has_format=bool(words))
