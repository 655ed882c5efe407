"""`hysteretic probe`: before any training, will it start on this model and task, and with which group size?"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout

from hysteretic.common.errors import UsageError
from hysteretic.common.files import write_json
from hysteretic.evals.evaluate import prompt_text, respond, score_all
from hysteretic.evals.evaluation import load_model, mapping, task_and_problems
from hysteretic.lean.attention import UnsupportedAttentionError
from hysteretic.lean.decode import sample
from hysteretic.models import model_path
from hysteretic.probe.page import save_page
from hysteretic.probe.summary import as_text
from hysteretic.runs.folder import now, versions
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
from hysteretic.tasks.task import Problem, RewardError, Score, Task

FILES = {"probe.json", "index.html", ".lock"}
BATCHES = 10
"""The predicted range is for the share of silent groups in so many batches."""
ROWS = 256
"""Responses sampled side by side."""
LONGEST_EXAMPLE = 4_000
"""Characters of a response that are kept."""
MOST_PROMPTS = 1_000_000
"""Of a batch."""


def main(arguments: Sequence[str]) -> int:
    """Sample, print a table and a verdict, and write them to a folder."""
    options = _parser().parse_args(arguments)
    _check(options)
    task, problems = task_and_problems(options)
    options.max_completion_length = options.max_completion_length or 1024
    folder = default_folder(options) if options.output is None else Path(options.output)
    with _claimed(folder):
        try:
            sampled = sample_task(task, problems, options)
        except RewardError as error:
            raise UsageError(f"{error} Mend the reward function; nothing was counted as 0.") from error
        record = describe(sampled, problems, options)
        write_json(folder / "probe.json", record)
        save_page(record, folder / "index.html")
    print(as_text(record))
    print(f"Figures and curves: {folder / 'index.html'}")
    return 0


# Settings.


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hysteretic probe",
        description="Samples responses and predicts how many groups will be silent, for each group size.",
    )
    add = parser.add_argument
    add("--task", required=True, help="as for `hysteretic train`")
    add("--task-options", "--task_options", type=mapping, help="JSON mapping of the task's options")
    add("--reward", help="for a data file or hub data set: file.py:function")
    add("--model", required=True, help="'tiny', a hub name, or a folder")
    add("--split", default="train")
    add("--problems", type=int, help="how many (default 200, or all there are)")
    add("--samples", type=int, default=16, help="responses a problem (default 16); larger groups are extrapolated")
    add("--group-sizes", "--group_sizes", type=_sizes, default=_sizes("4,8,16,32,64"), help="default 4,8,16,32,64")
    add("--prompts-per-batch", "--prompts_per_batch", type=int, default=32, help="prompts in a rollout (default 32)")
    add("--informative", type=float, default=0.5, help="wanted share of informative groups (default 0.5)")
    add("--temperature", type=float, default=1.0)
    add("--max-completion-length", "--max_completion_length", type=int, help="tokens (default 1024)")
    add("--seed", type=int, default=0, help="which problems are drawn, and the sampling (default 0)")
    add("--dtype", default="auto", help="of the weights (default: as saved)")
    add("--device", help="cuda, mps or cpu (default: the best there is)")
    add("--vllm", action="store_true", help="sample with vLLM, where it is installed")
    add("--output", help="folder; runs/probe-TASK-MODEL when not given")
    return parser


def _sizes(text: str) -> list[int]:
    try:
        sizes = sorted({int(word) for word in text.split(",")})
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers; write it as 4,8,16.") from error
    if not 2 <= sizes[0] <= sizes[-1] <= LARGEST_GROUP:
        raise argparse.ArgumentTypeError(f"{text!r} has sizes outside 2 to {LARGEST_GROUP}; write it as 4,8,16.")
    return sizes


def _check(options: argparse.Namespace) -> None:
    for name, least, why in [
        ("problems", 1, "probe on at least one"),
        ("samples", 2, "a group has two responses or more, so sample at least 2"),
        ("prompts_per_batch", 1, "a batch has at least one prompt"),
        ("max_completion_length", 1, "a response has one token or more"),
    ]:
        value = getattr(options, name)
        if value is not None and value < least:
            raise UsageError(f"--{name.replace('_', '-')} is {value}; {why}.")
    if options.prompts_per_batch > MOST_PROMPTS:
        raise UsageError(f"--prompts-per-batch is {options.prompts_per_batch}; give {MOST_PROMPTS} at most.")
    if not 0 <= options.seed < 2**32:
        raise UsageError(f"--seed is {options.seed}; seeds are 0 to 2^32 - 1.")
    if not 0 < options.temperature < float("inf"):
        raise UsageError(f"--temperature is {options.temperature}; training samples above 0 (1.0 is usual).")
    if not 0 < options.informative < 1:
        raise UsageError(f"--informative is {options.informative}; it is a share between 0 and 1 (0.5 is the default).")


def default_folder(options: argparse.Namespace) -> Path:
    """runs/probe-TASK-MODEL."""
    return Path("runs") / f"probe-{Path(options.task).stem}-{Path(options.model).name}".lower().replace(":", "-")


@contextlib.contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """The folder for this probe alone. An earlier one's files stay until the new ones are there.

    Raises UsageError where it cannot be written, holds anything else, or another probe is at work.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if {path.name for path in folder.iterdir() if path.suffix != ".part"} - FILES:
            raise UsageError(f"{folder} holds other files than an earlier probe's; give another --output.")
        lock = FileLock(folder / ".lock", timeout=0)
        lock.acquire()
    except Timeout as error:
        raise UsageError(
            f"Another `hysteretic probe` is at work in {folder}; wait for it, or give another --output."
        ) from error
    except OSError as error:
        raise UsageError(f"Cannot write to {folder} ({error.strerror}); give another --output.") from error
    try:
        yield
    finally:
        lock.release()


# Sampling.


@dataclass(frozen=True)
class Sampled:
    """Responses and scores by problem, and the mean tokens of a prompt and of a response. way: what sampled them."""

    responses: list[list[str]]
    scores: list[list[Score]]
    prompt_tokens: float
    response_tokens: float
    way: str


def sample_task(task: Task, problems: Sequence[Problem], options: argparse.Namespace) -> Sampled:
    """Responses of the model as training would sample them, scored. Raises UsageError, RewardError."""
    tokenizer, model = load_model(options, has_weights=not options.vllm)
    try:
        texts = [prompt_text(problem, tokenizer) for problem in problems]
    except ValueError as error:
        raise UsageError(str(error)) from error
    prompts = [
        tokenizer(text, add_special_tokens=isinstance(problem.prompt, str))["input_ids"]
        for problem, text in zip(problems, texts, strict=True)
    ]
    if not all(prompts):
        raise UsageError(f"The prompt of problem {problems[prompts.index([])].id!r} is empty; mend the data.")
    print(f"Sampling {options.samples} responses to each of {len(problems)} problems …", flush=True)
    if model is None:
        path = model_path(options.model, options.task)
        responses, lengths = _with_vllm(path, prompts, options)
        way = "vLLM"
    else:
        model.eval()
        reason = against_own_loop(model, prompts)
        if reason is None:
            responses, lengths = _with_own_loop(model, tokenizer, prompts, options)
            way = "hysteretic.lean.decode"
        else:
            print(f"Responses are generated by transformers: {reason}.")
            limit = options.max_completion_length
            responses = respond(
                model, tokenizer, problems, options.samples, limit, ROWS, options.seed, options.temperature
            )
            lengths = [  # of the text, and the end token
                min(len(tokenizer(text, add_special_tokens=False)["input_ids"]) + 1, limit)
                for row in responses
                for text in row
            ]
            way = "transformers"
    scores = score_all(task, problems, responses)
    return Sampled(responses, scores, float(np.mean([len(p) for p in prompts])), float(np.mean(lengths)), way)


def _with_own_loop(
    model: Any, tokenizer: Any, prompts: Sequence[list[int]], options: argparse.Namespace
) -> tuple[list[list[str]], list[int]]:
    ends = model.generation_config.eos_token_id
    ends = tokenizer.eos_token_id if ends is None else ends
    ends = ends if isinstance(ends, list) else [] if ends is None else [ends]
    responses: list[list[str]] = []
    lengths: list[int] = []
    at_once = max(ROWS // options.samples, 1)
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        torch.manual_seed(options.seed)
        for first in range(0, len(prompts), at_once):
            rows = [prompt for prompt in prompts[first : first + at_once] for _ in range(options.samples)]
            try:
                tokens = sample(model, model.config, rows, options.max_completion_length, ends, options.temperature)
            except FloatingPointError as error:
                raise UsageError(f"{error} Or give another --dtype.") from error
            texts = tokenizer.batch_decode(tokens.tokens, skip_special_tokens=True)
            responses += [texts[i : i + options.samples] for i in range(0, len(texts), options.samples)]
            lengths += [len(row) for row in tokens.tokens]
    return responses, lengths


@torch.no_grad()
def against_own_loop(model: Any, prompts: Sequence[list[int]]) -> str | None:
    """Why `hysteretic.lean.decode` would not sample from this model's distribution; None where it does.

    Compares entropies of a few tokens sampled after the shortest and the longest prompt with whole forward passes.
    """
    name, config = type(model).__name__, model.config.get_text_config()
    if not getattr(model, "_supports_attention_backend", False):
        return f"{name} does not let its attention be replaced"
    if set(getattr(config, "layer_types", None) or []) - {"full_attention"}:
        return f"not all layers of {name} attend to the whole text"
    rope = str(getattr(config, "rope_parameters", None))
    if any(kind in rope for kind in ("dynamic", "longrope", "llama_4_scaling")):
        return "its positions depend on the length of the text"
    short, long = min(prompts, key=len), max(prompts, key=len)
    differences = []
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        for rows in ([short] * 2, [long, short] * 2):
            try:
                sampled = sample(model, model.config, rows, 4, [])
            except (RuntimeError, UnsupportedAttentionError) as error:
                return f"{name} cannot be decoded token by token: {str(error).splitlines()[0]}"
            for prompt, tokens, entropy in zip(rows, sampled.tokens, sampled.entropy, strict=True):
                ids = torch.tensor([prompt + tokens], device=model.device)
                logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1].float()
                differences.append(abs(float(torch.special.entr(logits.softmax(dim=-1)).sum()) - entropy))
    is_exact = model.dtype == torch.float32
    if not (max(differences) <= 1e-3 if is_exact else float(np.mean(differences)) <= 0.4):
        return "the entropies of tokens decoded one by one differ from those of whole forward passes"
    return None


def _with_vllm(
    path: str, prompts: Sequence[list[int]], options: argparse.Namespace
) -> tuple[list[list[str]], list[int]]:
    try:
        from vllm import LLM, SamplingParams  # type: ignore[import-not-found]
    except ImportError as error:
        raise UsageError("--vllm needs vLLM, which is not installed; pip install vllm, or leave --vllm out.") from error
    engine = LLM(model=path, dtype=options.dtype, seed=options.seed)
    settings = SamplingParams(  # no seed of a request: every prompt would meet the same random numbers
        n=options.samples, temperature=options.temperature, top_p=1.0, max_tokens=options.max_completion_length
    )
    found = engine.generate([{"prompt_token_ids": prompt} for prompt in prompts], settings)
    responses = [[output.text for output in request.outputs] for request in found]
    return responses, [len(output.token_ids) for request in found for output in request.outputs]


# What was found.


def describe(sampled: Sampled, problems: Sequence[Problem], options: argparse.Namespace) -> dict[str, Any]:
    """Everything that is shown, and the rewards it was made from."""
    rewards_NK = np.array([[score.reward for score in row] for row in sampled.scores])
    correct_NK = np.array([[score.is_correct for score in row] for row in sampled.scores])
    values, samples = outcomes(rewards_NK), rewards_NK.shape[1]
    kinds, prompts = int(values.max()) + 1, options.prompts_per_batch
    curve = forecasts(rewards_NK, {*range(4, LARGEST_GROUP + 1), *options.group_sizes}, BATCHES * prompts)
    asked = [forecast for forecast in curve if forecast.group_size in options.group_sizes]
    record: dict[str, Any] = {
        **{key: value for key, value in vars(options).items() if key not in ("output", "device")},
        "problems": len(problems),
        "made": now(),
        "versions": versions(),
        "sampled_by": sampled.way,
        "tokens": {"prompt": sampled.prompt_tokens, "response": sampled.response_tokens},
        "reward_values": kinds,
        "correct": asdict(mean_estimate(correct_NK.mean(axis=1))),
    }
    rate = None
    if kinds <= 2:
        # Of two values the higher one is a success; of a single one we know from the task.
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
    wanted = options.informative * prompts
    record["curve"] = [_row(forecast, prompts, wanted, sampled) for forecast in curve]
    enough = [forecast.group_size for forecast in curve if forecast.informative >= options.informative]
    record["smallest_group"] = min(enough, default=None)
    record["verdict"] = asdict(verdict(asked, curve, prompts, rate)) if asked else None
    record["examples"] = examples(problems, sampled)
    record["rewards"] = {problem.id: row.tolist() for problem, row in zip(problems, rewards_NK, strict=True)}
    return record


def examples(problems: Sequence[Problem], sampled: Sampled) -> list[dict[str, Any]]:
    """A few responses with their rewards, the highest of its problem first: is the reward what it should be?"""
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
