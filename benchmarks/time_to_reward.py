"""How much sooner a run reaches a held-out pass@1: HPOTrainer as the README recommends it against TRL's GRPOTrainer.

    python benchmarks/time_to_reward.py --work countdown-3 --seeds 200-205       about an hour on one core
    python benchmarks/time_to_reward.py --work telelogs-compact --seeds 200-205

    stock     GRPOTrainer with TRL's default loss (loss_type "dapo"), everything else from the recipe
    lean      HPOTrainer with that same loss: what silent responses, shared prompts and decoding save
    adaptive  HPOTrainer(algorithm="adaptive-grpo"): the same, and the adaptive weight on GRPO's own length

The three alternate in one process on the same model, problems and seeds, with the learning rate that tuning chose for
the stock loss on other seeds (RATES says where); ours is not tuned. Every two rollouts the policy answers the same
held-out problems by sampling; the clocks stand still meanwhile (the second counts processor time: others may share the
machine). A run ends when it reaches the last threshold or after
--updates (censored). Results are saved after each run, and a second call continues where the first stopped. Seconds
include everything else in training: generation, rewards, updates, and what our trainer does once at the start.

Ratios are stock over ours, geometric means over seeds with 95 % intervals (paired Student's t on logarithms). If stock
is censored, its updates so far count, which understates the ratio; if ours is, there is no ratio.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import tempfile
import time
from collections.abc import Sequence
from functools import wraps
from pathlib import Path
from statistics import median
from typing import Any

import yaml
from step_time import machine, set_up
from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback, TrainerCallback, set_seed
from trl import GRPOConfig, GRPOTrainer

import hysteretic.tasks
from hysteretic.evals.evaluate import rate, score_all
from hysteretic.evals.generate import respond
from hysteretic.models import tiny_model
from hysteretic.rewards.reward_function import as_dataset, task_reward
from hysteretic.statistics import mean_interval
from hysteretic.trl import HPOConfig, HPOTrainer

ROOT = Path(__file__).parents[1]
THRESHOLDS = {"countdown-3": (0.10, 0.15, 0.20), "telelogs-compact": (0.5, 0.7)}
RATES = {"countdown-3": 6e-4, "telelogs-compact": 1.2e-3}
"""Chosen for TRL's default loss on other seeds, in results/default and results/telelogs-default-rate."""
ARMS = ("stock", "lean", "adaptive")
COUNTED = ("seconds", "processor_seconds", "generated_tokens", "updates")
OWN_KEYS = {"about", "task", "task_options", "model", "train_problems", "eval_problems", "eval_samples", "processes"}
"""Keys of a recipe that are not arguments of GRPOConfig."""


class UntilReached(TrainerCallback):
    """Stops the clock for evaluations, notes when each threshold is first reached, and ends the run after the last."""

    def __init__(self, held_out: Any, thresholds: Sequence[float], every: int) -> None:
        self.pass_at_1, self.every = held_out, every
        self.left = list(thresholds)
        self.curve: list[dict[str, float]] = []
        self.reached: dict[str, dict[str, float]] = {}
        self.generated_tokens = 0
        self.seconds = self.processor_seconds = 0.0

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.since = time.perf_counter(), time.process_time()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.seconds += time.perf_counter() - self.since[0]
        self.processor_seconds += time.process_time() - self.since[1]
        if state.global_step % self.every == 0:
            now = self.counted(state.global_step)
            value = self.pass_at_1()
            self.curve.append(now | {"pass@1": value})
            while self.left and value >= self.left[0]:
                self.reached[str(self.left.pop(0))] = now
            control.should_training_stop = control.should_training_stop or not self.left
        self.since = time.perf_counter(), time.process_time()

    def counted(self, updates: int) -> dict[str, float]:
        """What it took so far."""
        return {name: getattr(self, name) for name in COUNTED[:3]} | {"updates": updates}


def trainer_of(arm: str, recipe: dict[str, Any], seed: int, updates: int, folder: str) -> tuple[Any, UntilReached]:
    """A trainer of the tiny model and the callback that measures it."""
    set_seed(seed)
    task = hysteretic.tasks.load(recipe["task"], **recipe.get("task_options", {}))
    problems = task.problems("train", seed=seed, count=recipe["train_problems"])
    held_out = task.problems("test", seed=seed, count=recipe["eval_problems"])
    tokenizer = AutoTokenizer.from_pretrained(tiny_model(task=recipe["task"]))
    model = AutoModelForCausalLM.from_pretrained(tiny_model(task=recipe["task"]))
    fields = {key: value for key, value in recipe.items() if key not in OWN_KEYS}
    fields |= {"output_dir": folder, "learning_rate": RATES[recipe["task"]], "max_steps": updates, "seed": seed}
    fields |= {"save_strategy": "no", "report_to": "none", "logging_steps": 1, "disable_tqdm": True}

    def pass_at_1() -> float:
        responses = respond(model, tokenizer, held_out, 2, recipe["max_completion_length"])
        scores = score_all(task, held_out, responses)
        return rate([[score.is_correct for score in row] for row in scores]).value

    watch = UntilReached(pass_at_1, THRESHOLDS[recipe["task"]], every=2 * recipe["steps_per_generation"])
    scored = task_reward(task, problems)

    @wraps(scored)
    def reward(*arguments: Any, completion_ids: Sequence[Sequence[int]], **columns: Any) -> Any:
        watch.generated_tokens += sum(map(len, completion_ids))
        return scored(*arguments, **columns)

    if arm == "stock":
        kind, config = GRPOTrainer, GRPOConfig(**fields)
    elif arm == "lean":
        kind, config = HPOTrainer, HPOConfig(algorithm="dapo", epsilon_high=0.2, **fields)
    else:
        kind, config = HPOTrainer, HPOConfig(algorithm="adaptive-grpo", **fields)
    trainer = kind(
        model, reward, config, train_dataset=as_dataset(problems), processing_class=tokenizer, callbacks=[watch]
    )
    trainer.remove_callback(PrinterCallback)
    return trainer, watch


def run(arm: str, recipe: dict[str, Any], seed: int, updates: int) -> dict[str, Any]:
    """One run: when it reached which threshold, and its whole curve."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        trainer, watch = trainer_of(arm, recipe, seed, updates, folder)
        trainer.train()
    total = watch.counted(trainer.state.global_step)
    return {"arm": arm, "seed": seed, "reached": watch.reached, "total": total, "curve": watch.curve}


def ratios(runs: Sequence[dict[str, Any]], arm: str, threshold: str, counted: str) -> dict[str, Any]:
    """Stock over this arm, for the seeds that both have."""
    by = {(one["arm"], one["seed"]): one for one in runs}
    seeds = sorted(seed for other, seed in by if other == arm and ("stock", seed) in by)
    logs, ours_censored, stock_censored = [], 0, 0
    for seed in seeds:
        stock, ours = by["stock", seed], by[arm, seed]
        ours_censored += threshold not in ours["reached"]
        stock_censored += threshold not in stock["reached"]
        if threshold in ours["reached"]:
            until = stock["reached"].get(threshold, stock["total"])
            logs.append(math.log(until[counted] / ours["reached"][threshold][counted]))
    found: dict[str, Any] = {
        "seeds": len(seeds),
        "stock_censored": stock_censored,
        "ours_censored": ours_censored,
        "ratio": None,
        "interval": None,
    }
    if len(logs) > 1 and not ours_censored:
        mean, low, high = mean_interval(logs)
        found |= {"ratio": math.exp(mean), "interval": [math.exp(low), math.exp(high)]}
    return found


def summary(results: dict[str, Any]) -> list[str]:
    """A table in Markdown."""
    runs = results["runs"]
    lines = [
        "| pass@1 | arm | seconds, median | time | processor time | tokens | updates | not reached |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for threshold in map(str, THRESHOLDS[results["work"]]):
        for arm in ARMS:
            mine = [one for one in runs if one["arm"] == arm]
            missed = f"{sum(threshold not in one['reached'] for one in mine)} of {len(mine)}"
            cells = ["1"] * len(COUNTED)
            if arm != "stock":
                found = [ratios(runs, arm, threshold, counted) for counted in COUNTED]
                cells = [with_interval(one) for one in found]
            seconds = f"{median_seconds(results, arm, threshold):.0f}" if mine else ""
            lines.append(f"| {threshold} | {arm} | {seconds} | " + " | ".join(cells) + f" | {missed} |")
    return lines


def median_seconds(results: dict[str, Any], arm: str, threshold: str) -> float:
    """Until the threshold, or until the end of a run that never reached it."""
    mine = [one for one in results["runs"] if one["arm"] == arm]
    return median(one["reached"].get(threshold, one["total"])["seconds"] for one in mine)


def with_interval(found: dict[str, Any]) -> str:
    if found["ratio"] is None:
        return "no ratio"
    low, high = found["interval"]
    least = "at least " if found["stock_censored"] else ""
    return f"{least}{found['ratio']:.2f} ({low:.2f} to {high:.2f})"


def begun(path: Path, fresh: dict[str, Any]) -> dict[str, Any]:
    """The results so far, if the file is there. Raises SystemExit if they were measured otherwise."""
    results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else fresh
    for key in ("work", "updates", "learning_rate", "held_out_problems"):
        if results[key] != fresh[key]:
            raise SystemExit(f"{path} was measured with {key} {results[key]}, not {fresh[key]}; give another --save.")
    return results


def _seeds(text: str) -> list[int]:
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, save after each run, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", choices=[*THRESHOLDS], default="countdown-3")
    parser.add_argument("--seeds", type=_seeds, default=_seeds("200-205"), metavar="FIRST-LAST")
    parser.add_argument("--updates", type=int, default=200, help="updates after which a run is censored")
    parser.add_argument("--eval-problems", type=int, help="held-out problems (default: the recipe's)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--save", type=Path, help="default: results/time-to-reward-WORK.json")
    choice = parser.parse_args(arguments)
    set_up(choice.threads)
    recipe = yaml.safe_load((ROOT / "recipes" / f"tiny-{choice.work}.yaml").read_text(encoding="utf-8"))
    recipe["eval_problems"] = choice.eval_problems or recipe["eval_problems"]
    path = choice.save or ROOT / "results" / f"time-to-reward-{choice.work}.json"
    fresh = {"work": choice.work, "updates": choice.updates, "learning_rate": RATES[choice.work], "runs": []}
    fresh |= {"held_out_problems": recipe["eval_problems"], "threads": choice.threads, "machine": machine()}
    results = begun(path, fresh)
    for seed in choice.seeds:
        turn = seed % len(ARMS)
        for arm in ARMS[turn:] + ARMS[:turn]:
            if any(one["arm"] == arm and one["seed"] == seed for one in results["runs"]):
                continue
            results["runs"].append(run(arm, recipe, seed, choice.updates))
            path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
            last = results["runs"][-1]
            print(f"{arm} seed {seed}: {last['total']}, reached {list(last['reached'])}", flush=True)
    print("\n".join(summary(results)))


if __name__ == "__main__":
    main()
