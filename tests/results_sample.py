"""A results dict as `hysteretic compare` makes it (schema 1): invented numbers, and text that attacks the page."""

from __future__ import annotations

import math
import random
from itertools import combinations
from statistics import fmean, stdev
from typing import Any

ARMS = ("grpo", "a-hpo", "hpo alpha=0.3", "dr-grpo", "gspo with A-HPO's adaptive weight and a name that goes on and on")
SEEDS = 8
ROLLOUTS = 30
UPDATES_PER_ROLLOUT = 4

SCRIPT = "</script><script>alert(1)</script>"
IMAGE = '<img src=x onerror="alert(2)">'
HOSTILE = [
    f"{SCRIPT}{IMAGE}",
    "]]> --> </style></textarea></title></pre></details> &amp; &lt;b&gt; ${title} {{title}} %s {0}",
    "long" * 600,
    "right to left \u202e drowkcab \u2067\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    "null \x00 bell \x07 escape \x1b[31m return \r\n lone surrogate \ud800 separators \u2028\u2029 end",
    "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd, 3*7+5=26",
    "",
]

MEASURES = {
    "area": ("reward, whole run", "Mean reward over all rollouts of the run."),
    "early": ("reward, first quarter", "Mean reward over the first quarter of the rollouts."),
    "end": ("reward, last quarter", "Mean reward over the last quarter of the rollouts."),
    "pass@1 greedy": ("held-out pass@1, greedy", "Share of held-out problems solved by greedy decoding."),
    "pass@1 sampled": ("held-out pass@1, sampled", "Share of held-out responses that are right at temperature 1."),
    "pass@4": ("held-out pass@4", "Probability that one of four responses to a held-out problem is right."),
    "area_by_token": ("reward by trained tokens", "Mean reward over the tokens that all runs reached."),
    "area_by_second": ("reward by seconds", "Mean reward over the seconds that all runs reached."),
}

_STRENGTH = (0.20, 0.27, 0.215, 0.21, 0.14)
_SHIFT = {"area": 0.0, "early": -0.15, "end": 0.12, "pass@1 greedy": 0.07, "pass@1 sampled": 0.06, "pass@4": 0.2}


def sample_results() -> dict[str, Any]:
    """Five arms, eight seeds, thirty rollouts; one failed run; every text hostile that can be."""
    chance = random.Random(0)
    values = {
        (arm, seed): {
            measure: max(0.0, strength + _SHIFT.get(measure, 0.0) + 0.03 * math.sin(seed * 2.4) + chance.gauss(0, 0.02))
            for measure in MEASURES
        }
        for arm, strength in zip(ARMS, _STRENGTH, strict=True)
        for seed in range(SEEDS)
    }
    couples = [(arm, ARMS[0]) for arm in ARMS[1:]] + [(b, a) for a, b in combinations(ARMS[1:], 2)]
    pairs = [_pair(*couple, measure, values) for measure in MEASURES for couple in couples]
    return {
        "schema": 1,
        "title": "Five weights on countdown-3 <b>from a sparse start</b>",
        "created": "2026-01-31T12:34:56+00:00",
        "command": f"hysteretic compare --task countdown-3 --model tiny --seeds 0:8 --title '{SCRIPT}' --output out",
        "comparison": {"algorithms": list(ARMS), "seeds": SEEDS, "settings": {"task": SCRIPT}},
        "task": "countdown-3",
        "model": "tiny",
        "settings": {
            "max_steps": 120,
            "num_generations": 8,
            "temperature": 1.0,
            "use_vllm": False,
            "beta": 0.0,
            "task_options": {"largest": 9, "prompt": IMAGE},
            "output_dir": "runs/" + "very-long-folder-name-" * 12,
        },
        "versions": {"hysteretic": "0.1.0", "python": "3.11.2", "torch": "2.13.0+cpu", "trl": "1.16.0"},
        "device": "2 cores of an AMD EPYC, float32",
        "source_sha256": ["3f" * 32, "a7" * 32],
        "progress": {"planned": 40, "finished": 39, "failed": 1},
        "primary": "area",
        "baseline": "grpo",
        "confidence": 0.95,
        "budgets": {"area_by_token": {"budget": 1.1e6, "median_total": 1.2e6}},
        "measures": {name: {"label": label, "description": text} for name, (label, text) in MEASURES.items()},
        "arms": [_arm(i, arm) for i, arm in enumerate(ARMS)],
        "runs": [_run(arm, seed, values[arm, seed]) for arm in ARMS for seed in range(SEEDS)],
        "summary": [
            _summary(arm, measure, [values[arm, seed][measure] for seed in range(SEEDS)])
            for arm in ARMS
            for measure in MEASURES
        ],
        "pairs": pairs,
        "verdicts": [_sentence(pair) for pair in pairs[:4]],
        "notes": [
            "The best learning rate of a-hpo is at the edge of its grid; a wider grid may change its place.",
            f"One run failed and is left out of its pair: {HOSTILE[0]}",
            "Runs were made by 2 versions of the code.",
        ],
        "panels": _panels(),
        "samples": _samples(),
    }


def _interval(values: list[float]) -> list[float]:
    half = 2.365 * stdev(values) / math.sqrt(len(values))
    return [fmean(values) - half, fmean(values) + half]


def _summary(arm: str, measure: str, values: list[float]) -> dict[str, Any]:
    return {"arm": arm, "measure": measure, "mean": fmean(values), "interval": _interval(values), "seeds": len(values)}


def _sentence(pair: dict[str, Any]) -> str:
    arms = f"{pair['treatment']} is {pair['verdict']} than {pair['baseline']}"
    if pair["verdict"] == "cannot tell":
        arms = f"Cannot tell whether {pair['treatment']} is better than {pair['baseline']}"
    low, high = pair["interval"]
    return f"{arms} (reward, whole run): {pair['mean_difference']:+.4f} (95 % interval {low:+.4f} to {high:+.4f})."


def _pair(arm: str, other: str, measure: str, values: dict[tuple[str, int], dict[str, float]]) -> dict[str, Any]:
    baseline = [values[other, seed][measure] for seed in range(SEEDS)]
    differences = [values[arm, seed][measure] - baseline[seed] for seed in range(SEEDS)]
    low, high = _interval(differences)
    return {
        "treatment": arm,
        "baseline": other,
        "measure": measure,
        "seeds": SEEDS,
        "mean_difference": fmean(differences),
        "interval": [low, high],
        "relative_gain": fmean(differences) / fmean(baseline),
        "relative_interval": [low / fmean(baseline), high / fmean(baseline)],
        "probability_of_improvement": sum(difference > 0 for difference in differences) / SEEDS,
        "p": 0.0004 if low > 0 else 0.21,
        "p_holm": 0.0016 if low > 0 else 0.63,
        "verdict": "better" if low > 0 else "worse" if high < 0 else "cannot tell",
        "seeds_to_tell": None if low > 0 or high < 0 else 34,
    }


def _arm(index: int, name: str) -> dict[str, Any]:
    rates = [{"learning_rate": rate, "mean": mean, "seeds": 2} for rate, mean in [(1.5e-4, 0.17), (3e-4, 0.21)]]
    return {
        "name": name,
        "objective": "ratio=token gate=clip(0.2, 0.2) weight=adaptive(floor=0.1) length=batch mean",
        "settings": {"algorithm": name.split()[0], "alpha": 0.3} if index == 2 else {"algorithm": name.split()[0]},
        "learning_rate": None if index == 3 else 3e-4,
        "tuning": None
        if index == 3
        else {
            "rates": [*rates, {"learning_rate": 6e-4, "mean": None if index == 4 else 0.19, "seeds": 2}],
            "seeds": [100, 101],
            "at_edge": index == 1,
        },
    }


def _run(arm: str, seed: int, measures: dict[str, float]) -> dict[str, Any]:
    failed = arm == ARMS[4] and seed == 7
    return {
        "arm": arm,
        "seed": seed,
        "state": "failed" if failed else "finished",
        "error": "Traceback (most recent call last):\n" + "\n".join(HOSTILE) if failed else None,
        "measures": dict.fromkeys(measures) if failed else dict(measures),
        "updates": 52 if failed else 120,
        "tokens": 1.1e6 + 1000 * seed,
        "seconds": 301.5 + seed,
        "folder": f"runs/{arm}/seed{seed}",
    }


_TITLES = {
    "hpo/alpha": ("Weight of failures (alpha)", "", 0.3, 0.9),
    "hpo/positive_share": ("Responses with a positive advantage", "share", 0.05, 0.3),
    "hpo/negative_share": ("Responses with a negative advantage", "share", 0.1, 0.35),
    "hpo/silent_share": ("Responses in silent groups", "share", 0.9, 0.4),
    "hpo/mean_length": ("Mean response length", "tokens", 34, 21),
    "clip_ratio/low_mean": ("Tokens clipped from below", "share", 0.0002, 0.004),
    "clip_ratio/high_mean": ("Tokens clipped from above", "share", 0.0001, 0.003),
    "hpo/positive_mass": ("Gradient mass of positive advantages", "share", 0.3, 0.6),
    "hpo/negative_mass": ("Gradient mass of negative advantages", "share", 0.7, 0.4),
}


def _panels() -> list[dict[str, Any]]:
    chance = random.Random(1)
    scales = {"update": UPDATES_PER_ROLLOUT, "token": 9200.0, "second": 10.3}
    reward = ("Mean reward of a rollout", "reward", 0.02, 0.35)
    keys = [("reward", x, reward) for x in scales] + [(key, "update", about) for key, about in _TITLES.items()]
    panels = []
    for key, x, (title, unit, start, end) in keys:
        curves = []
        for i, arm in enumerate(ARMS):
            shape = [1 / (1 + math.exp(-(t - 14 + 2 * i) / 4)) for t in range(ROLLOUTS)]
            constant = key == "hpo/alpha" and "grpo" in arm
            noise = 0.0 if constant else abs(end - start) * 0.04
            mean = [max(0.0, start + (end - start) * s * (1 - 0.1 * i) + chance.gauss(0, noise)) for s in shape]
            mean = [1.0] * ROLLOUTS if constant else mean
            xs = [(1 + t * scales[x]) * (1 if x == "update" else 1 + 0.05 * i) for t in range(ROLLOUTS)]
            low, high = [max(0.0, m - 3 * noise) for m in mean], [m + 3 * noise for m in mean]
            curves.append({"arm": arm, "x": xs, "mean": mean, "low": low, "high": high, "seeds": SEEDS})
        panels.append({"key": key, "title": title, "unit": unit, "x": x, "curves": curves})
    return panels


def _samples() -> list[dict[str, Any]]:
    return [
        {
            "arm": arm,
            "seed": 0,
            "when": when,
            "decoding": "greedy" if problem % 2 else "sampled",
            "problem": f"countdown-3/{problem}",
            "prompt": [{"role": "user", "content": f"3,7,5=26 {IMAGE}"}] if problem % 2 else "3,7,5=26",
            "response": f"(3*7)+5 {problem}" if when == "after" and problem < 2 else HOSTILE[problem],
            "is_correct": when == "after" and problem < 2,
            "has_format": problem < 3,
            "reward": 1.0 if when == "after" and problem < 2 else 0.0,
        }
        for arm in ARMS
        for problem in range(len(HOSTILE))
        for when in ("before", "after")
    ]
