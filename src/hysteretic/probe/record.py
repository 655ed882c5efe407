"""The record of a probe: success rates, the forecast for each group size, the verdict, and examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from hysteretic.common.environment import now, versions
from hysteretic.probe.sampling import ProbeSettings, Sampled
from hysteretic.sparsity import (
    LARGEST_GROUP,
    Forecast,
    fit_beta_binomial,
    forecasts,
    mean_estimate,
    outcomes,
    start,
    verdict,
)
from hysteretic.statistics import mean_interval
from hysteretic.tasks.task import Problem, Task, warm_start

BATCHES = 10
"""The predicted range is for the fraction of silent groups over this many batches."""
LONGEST_EXAMPLE = 4_000
"""The maximum number of characters kept of a response."""


def describe(
    sampled: Sampled, problems: Sequence[Problem], settings: ProbeSettings, task: Task | None = None
) -> dict[str, Any]:
    """The record: everything that is shown, and the rewards that it is computed from. task: for advice that fits it."""
    rewards_NK = np.array([[score.reward for score in row] for row in sampled.scores])
    correct_NK = np.array([[score.is_correct for score in row] for row in sampled.scores])
    values, samples = outcomes(rewards_NK), rewards_NK.shape[1]
    kinds, prompts = int(values.max()) + 1, settings.prompts_per_batch
    curve = forecasts(rewards_NK, {*range(4, LARGEST_GROUP + 1), *settings.group_sizes}, BATCHES * prompts)
    asked = [forecast for forecast in curve if forecast.group_size in settings.group_sizes]
    record: dict[str, Any] = {
        **{key: value for key, value in asdict(settings).items() if key != "device"},
        "problems": len(problems),
        "made": now(),
        "versions": versions(),
        "sampled_by": sampled.way,
        "warnings": list(sampled.warnings),
        "tokens": {"prompt": sampled.prompt_tokens, "response": sampled.response_tokens, "cut": sampled.cut},
        "reward_values": kinds,
        "correct": asdict(mean_estimate(correct_NK.mean(axis=1))),
    }
    rate = None
    if kinds <= 2:
        # The higher of two values is a success; for a single value the task decides.
        is_success = values == 1 if kinds == 2 else np.full(values.shape, bool(correct_NK.all()))
        counts = is_success.sum(axis=1)
        fit, rate = fit_beta_binomial(counts, samples), float(is_success.mean())
        record["success"] = asdict(mean_estimate(counts / samples))
        record["success_reward"] = float(rewards_NK[is_success].max()) if is_success.any() else None
        record["beta_binomial"] = asdict(fit)
        record["counts"] = {
            "problems": np.bincount(counts, minlength=samples + 1).tolist(),
            "fitted": (len(problems) * fit.probabilities(samples)).tolist(),
        }
    else:
        mean, low, high = mean_interval(rewards_NK.mean(axis=1)) if len(rewards_NK) > 1 else (rewards_NK.mean(),) * 3
        record["mean_reward"] = {"value": float(mean), "low": float(low), "high": float(high)}
    wanted = settings.informative * prompts
    record["curve"] = [_row(forecast, prompts, wanted, sampled) for forecast in curve]
    enough = [forecast.group_size for forecast in curve if forecast.informative >= settings.informative]
    record["smallest_group"] = min(enough, default=None)
    record["verdict"] = asdict(verdict(asked, curve, prompts, rate, warm_start(task))) if asked else None
    record["examples"] = examples(problems, sampled)
    record["rewards"] = {problem.id: row.tolist() for problem, row in zip(problems, rewards_NK, strict=True)}
    return record


def examples(problems: Sequence[Problem], sampled: Sampled) -> list[dict[str, Any]]:
    """A few responses with their rewards, to check the reward function: the best of each problem, best first."""
    kept = []
    for problem, texts, scores in zip(problems, sampled.responses, sampled.scores, strict=True):
        best = max(range(len(texts)), key=lambda i: scores[i].reward)
        kept.append({"problem": problem.id, "prompt": problem.prompt, "response": texts[best]} | asdict(scores[best]))
    ordered = sorted(kept, key=lambda example: -float(example["reward"]))
    return [{**example, "response": example["response"][:LONGEST_EXAMPLE]} for example in (*ordered[:2], *ordered[-2:])]


def _row(forecast: Forecast, prompts: int, wanted: float, sampled: Sampled) -> dict[str, Any]:
    def tokens(prompts: int) -> float:
        return prompts * (sampled.prompt_tokens + forecast.group_size * sampled.response_tokens)

    needed = forecast.prompts_for(wanted)
    return {
        **asdict(forecast),
        "informative": forecast.informative,
        "informative_responses": asdict(forecast.informative_responses(prompts)),
        "alpha": forecast.alpha(),
        "tokens": tokens(prompts),
        "start": start(forecast.silent.value, prompts),
        "prompts_needed": needed,
        "tokens_needed": None if needed is None else tokens(needed),
    }
