"""Evaluate a model on problems: generate, score, and report pass@1 with 95 % intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist, fmean, stdev
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from hysteretic.common.errors import UsageError, usage_errors
from hysteretic.rewards.scoring import Scoring, here
from hysteretic.statistics import wilson
from hysteretic.tasks.scored import Unscored
from hysteretic.tasks.task import Problem, RewardError, Score, Task

Z = NormalDist().inv_cdf(0.975)

Generate = Callable[[Sequence[Problem], int], list[list[str]]]
"""Responses by problem: so many sampled ones to each, or one greedy response for 0."""


@dataclass(frozen=True)
class Rate:
    """A fraction with its 95 % interval. problems: how many it is computed over."""

    value: float
    low: float
    high: float
    problems: int

    def __str__(self) -> str:
        return f"{100 * self.value:.1f} % ({100 * self.low:.1f} to {100 * self.high:.1f})"


def rate(successes_by_problem: Sequence[Sequence[float]]) -> Rate:
    """Mean success, with its interval over problems (the independent units; responses to one problem are not).

    With one response per problem, or no variation between problems: Wilson's score interval. Otherwise: the mean of the
    problems' success rates +- 1.96 standard errors.
    Raises ValueError without problems.
    """
    if not successes_by_problem:
        raise ValueError("There are no problems to compute a rate over; evaluate on at least one.")
    shares, n = [fmean(successes) for successes in successes_by_problem], len(successes_by_problem)
    mean = fmean(shares)
    if n > 1 and len(successes_by_problem[0]) > 1 and (spread := stdev(shares)) > 0:
        half = Z * spread / math.sqrt(n)
        return Rate(mean, max(mean - half, 0.0), min(mean + half, 1.0), n)
    return Rate(mean, *wilson(mean, n), n)


def report(scores: dict[str, list[list[Score]]]) -> dict[str, Any]:
    """By decoding ("greedy", "sampled"): pass@1, the fraction of responses in the required format, and counts.

    correct_by_problem: correct responses to each problem, from which pass@k is estimated.
    """
    return {
        decoding: {
            "pass@1": asdict(rate([[score.is_correct for score in row] for row in rows])),
            "format": asdict(rate([[score.has_format for score in row] for row in rows])),
            "responses_per_problem": len(rows[0]),
            "correct_by_problem": [sum(score.is_correct for score in row) for row in rows],
        }
        for decoding, rows in scores.items()
        if rows
    }


def respond(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    problems: Sequence[Problem],
    samples: int,
    max_new_tokens: int,
    batch_rows: int = 128,
    seed: int = 0,
    temperature: float = 1.0,
) -> list[list[str]]:
    """Responses by problem: `samples` at the temperature, or one greedy response if samples is 0.

    The seed applies to this call only; torch's global random state is restored.
    """
    if temperature <= 0:
        raise ValueError(f"temperature is {temperature}; sample above 0, or greedily with samples=0.")
    per_problem = max(samples, 1)
    prompts = [prompt_text(problem, tokenizer) for problem in problems]
    order = [index for index in range(len(problems)) for _ in range(per_problem)]
    options: dict[str, Any] = {"do_sample": False}
    if samples:
        options = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
    ends = model.generation_config.eos_token_id
    generation = GenerationConfig(
        max_new_tokens=max_new_tokens,
        pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id if ends is None else ends,
        **options,
    )
    was_training = model.training
    model.eval()
    responses: list[list[str]] = [[] for _ in problems]
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        torch.manual_seed(seed)
        for start in range(0, len(order), batch_rows):
            chunk = order[start : start + batch_rows]
            batch = tokenizer(
                [prompts[index] for index in chunk],
                return_tensors="pt",
                padding=True,
                padding_side="left",
                add_special_tokens=not any(isinstance(problems[index].prompt, list) for index in chunk),
            ).to(model.device)
            sequences = model.generate(
                input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], generation_config=generation
            )
            texts = tokenizer.batch_decode(sequences[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
            for index, text in zip(chunk, texts, strict=True):
                responses[index].append(text)
    model.train(was_training)
    return responses


def prompt_text(problem: Problem, tokenizer: PreTrainedTokenizerBase, options: Mapping[str, Any] | None = None) -> str:
    """The prompt as the model reads it. Raises ValueError for chat messages without a chat template that takes them.

    options: keywords of the chat template, such as enable_thinking.
    """
    if isinstance(problem.prompt, str):
        return problem.prompt
    if not tokenizer.chat_template:
        raise ValueError(
            f"Problem {problem.id} is a list of chat messages, but this model's tokenizer has no chat template; use an "
            "instruct model, "
            'or plain prompts (for Countdown: task_options {"prompt": "plain"}).'
        )
    from jinja2 import TemplateError

    try:
        text: str = tokenizer.apply_chat_template(
            problem.prompt, tokenize=False, add_generation_prompt=True, **(options or {})
        )
    except TemplateError as error:  # such as a system message for a model that takes none
        raise ValueError(
            f"The chat template of this model's tokenizer fails on problem {problem.id}: {error}. Fix the messages, or "
            "chat_template in the tokenizer."
        ) from error
    return text


def prompt_tokens(problems: Sequence[Problem], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """The prompts as token ids. Raises UsageError for an empty one, and for chat messages without a chat template."""
    with usage_errors(kinds=ValueError):
        texts = [prompt_text(problem, tokenizer) for problem in problems]
    tokens = [
        tokenizer(text, add_special_tokens=isinstance(problem.prompt, str))["input_ids"]
        for problem, text in zip(problems, texts, strict=True)
    ]
    if not all(tokens):
        raise UsageError(f"The prompt of problem {problems[tokens.index([])].id!r} is empty; fix the data.")
    return tokens


def score_all(
    task: Task, problems: Sequence[Problem], responses: Sequence[Sequence[str]], scoring: Scoring | None = None
) -> list[list[Score]]:
    """The task's scores of each problem's responses. scoring: where they are scored; in this process by default.

    Raises RewardError if a response has no score.
    """
    asked = [problem for problem, texts in zip(problems, responses, strict=True) for _ in texts]
    found = iter((scoring or here(task))(asked, [text for texts in responses for text in texts]))
    return [[_scored(next(found), problem) for _ in texts] for problem, texts in zip(problems, responses, strict=True)]


def _scored(found: Score | Unscored, problem: Problem) -> Score:
    if isinstance(found, Unscored):
        raise RewardError(f"A response to problem {problem.id} has no score: {found.reason}.")
    return found


def decodings(samples: int) -> list[tuple[str, int]]:
    """The names of the decodings of an evaluation, each with the number that `Generate` is called with."""
    return [("greedy", 0), ("sampled", samples)] if samples else [("greedy", 0)]


def evaluate(
    generate: Generate, task: Task, problems: Sequence[Problem], samples: int, scoring: Scoring | None = None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The report, and a few sample responses."""
    scores, kept = {}, []
    for decoding, count in decodings(samples):
        responses = generate(problems, count)
        scores[decoding] = score_all(task, problems, responses, scoring)
        for problem, texts, row in list(zip(problems, responses, scores[decoding], strict=True))[:4]:
            kept.append(
                {"problem": problem.id, "decoding": decoding, "prompt": problem.prompt, "response": texts[0]}
                | asdict(row[0])
            )
    return report(scores), kept
