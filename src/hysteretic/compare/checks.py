"""Check a comparison before any run: each arm's settings alone, and the arms against each other."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

from hysteretic.common.errors import SettingWarning, UsageError, nearest
from hysteretic.compare.scheduler import Length
from hysteretic.compare.spec import Comparison
from hysteretic.config.facts import named


def check_comparison(comparison: Comparison) -> Length:
    """Read every arm's settings; returns the length of a run.

    Raises UsageError for an unknown setting, or one that contradicts another or the comparison.
    """
    from hysteretic.config.settings import parse_settings  # slow to import
    from hysteretic.models.loading import check_vllm, load_tokenizer, quieten, warn_plain_prompts
    from hysteretic.parts import AdaptiveWeight
    from hysteretic.tasks.checked import draw, load_task
    from hysteretic.trl.weighting import few_groups

    quieten()
    for arm in comparison.arms:
        _check_likely_model({**comparison.settings, **arm.settings}.get("model", "tiny"), arm.name)
    requests = {
        arm.name: parse_settings({**comparison.settings, **arm.settings}, f"arm {arm.name!r}")
        for arm in comparison.arms
    }
    for key in sorted(named(lambda facts: facts.same_in_arms)):
        values = {
            name: getattr(request.run if hasattr(request.run, key) else request.training, key)
            for name, request in requests.items()
        }
        if len(set(values.values())) > 1:
            said = ", ".join(f"{name} {value}" for name, value in values.items())
            raise UsageError(f"Arms differ in {key} ({said}), so their measures would not be comparable.")
    if any(request.training.use_vllm for request in requests.values()):
        check_vllm(
            "use_vllm is true", "use_vllm: false"
        )  # not the model's heads: that would start CUDA in this process
    first = next(iter(requests.values()))
    if first.training.max_steps < 1:
        raise UsageError("A comparison needs runs of equal length; set max_steps, such as --max_steps 200.")
    if first.training.logging_steps != 1 or str(first.training.logging_strategy.value) != "steps":
        raise UsageError("A comparison needs the metrics of every update; leave logging_steps at 1.")
    needs = {"pass@1 greedy": ["eval_problems"], "pass@1 sampled": ["eval_problems", "eval_samples"]}
    for key in needs.get(comparison.measure, []):
        if not getattr(first.run, key):
            raise UsageError(f"measure is {comparison.measure!r}, but {key} is 0; set it above 0.")
    different = {(r.run.model, r.model.model_revision, str(r.run.load_options())): r for r in requests.values()}
    for request in different.values():
        tokenizer = load_tokenizer(request.run.model, request.run.task, revision=request.model.model_revision)
        task = load_task(request.run.task, **request.run.load_options())
        for problem in draw(task, "train", request.run.data_problem_seed, 1)[:1]:  # bad data is reported before any run
            warn_plain_prompts(tokenizer, problem, task, request.run.model)
    weighted = [r.training for r in requests.values() if isinstance(r.training.objective().weight, AdaptiveWeight)]
    for words in dict.fromkeys(map(few_groups, weighted)):
        if words is not None:  # the runs say it too, in their logs
            warnings.warn(words, SettingWarning, stacklevel=2)
    return Length(
        first.training.max_steps, max(request.training.updates_per_rollout() for request in requests.values())
    )


def _check_likely_model(model: Any, arm: str) -> None:
    """Raises UsageError for a model that is neither a folder nor a possible hub name, or is a near miss of 'tiny'.

    Checked first: with a misspelt 'tiny' other settings are missing too, and those errors would hide the cause.
    """
    name = str(model)
    hint = "" if "/" in name else nearest(name, ["tiny"])
    if name == "tiny" or Path(name).is_dir() or (not hint and re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name)):
        return
    raise UsageError(
        f"arm {arm!r} has the model {name!r}, which is neither a folder nor a hub name.{hint} Give 'tiny', a folder "
        "with a saved model, or a hub name such as Qwen/Qwen2.5-1.5B-Instruct."
    )
