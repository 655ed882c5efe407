"""A task that is published as a package: pyproject.toml names the class, and nothing else is needed."""

import random
from dataclasses import dataclass

from hysteretic.tasks import Problem, Score

WORDS = ("apple", "banana", "cherry", "elderberry", "grape", "mango", "papaya", "raspberry", "strawberry", "watermelon")


@dataclass(frozen=True)
class LetterCount:
    """Count a letter in two words. This line is what `hysteretic list` shows; the fields are options."""

    letters: str = "aeinprt"
    name: str = "letter-count"

    def problems(self, split: str = "train", seed: int = 0, count: int | None = None) -> list[Problem]:
        """Pairs of words with a letter, in the order of the seed; every fourth is a test problem."""
        asked = [f"{letter}:{one}+{two}" for letter in self.letters for one in WORDS for two in WORDS if one != two]
        asked = asked[::4] if split == "test" else [name for index, name in enumerate(asked) if index % 4]
        random.Random(seed).shuffle(asked)
        if count is not None and count > len(asked):
            raise ValueError(f"{self.name} has {len(asked)} problems in the split {split!r}, not {count}.")
        return [self._problem(name) for name in asked[:count]]

    def _problem(self, name: str) -> Problem:
        letter, words = name.split(":")
        prompt = f"How often is the letter {letter} in '{words}'? Answer with the number alone."
        return Problem(f"letter-count:{name}", prompt, words.count(letter))

    def score(self, problem: Problem, response: str) -> Score:
        """Reward 1 if the response is the number."""
        said = response.strip()
        is_correct = said == str(problem.answer)
        return Score(float(is_correct), is_correct, has_format=said.isdecimal())
