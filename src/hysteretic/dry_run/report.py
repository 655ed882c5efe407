"""The report of a dry run: what was checked (read from the trainer itself), shrunk and replaced."""

from __future__ import annotations

import textwrap
from collections import Counter
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from hysteretic.dry_run.checks import Watch, local
from hysteretic.dry_run.task import ShortTask
from hysteretic.runs.record import objective_data, objective_text
from hysteretic.trl import HPOTrainer
from hysteretic.trl.compat import base_model

WIDTH = 110


@dataclass
class Report:
    """The printed report. checked: facts by topic. missing: what the run needs and this machine lacks."""

    title: str
    checked: dict[str, str] = field(default_factory=dict)
    shrunk: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        lines = [f"Dry run of {self.title}: passed in {self.seconds:.1f} s.", "checked"]
        lines += [_line(f"  {word:14}{text}", 16) for word, text in self.checked.items()]
        for heading, items in (("shrunk", self.shrunk), ("replaced", self.replaced), ("missing here", self.missing)):
            lines += [heading, *(_line(f"  {item}", 4) for item in items)] if items else []
        lines += ["not checked", _line("  the real weights and tokenizer, memory (`hysteretic plan`), speed, GPUs", 4)]
        return "\n".join(lines)


def _line(text: str, indent: int) -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)


def facts_of(trainer: HPOTrainer, watch: Watch, task: ShortTask) -> dict[str, str]:
    """How the update was made."""
    model, accelerator = trainer.accelerator.unwrap_model(trainer.model), trainer.accelerator
    config = base_model(model).config
    keys = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    tied = "tied" if config.tie_word_embeddings else "untied"
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type")
    weights = Counter[str]()
    for parameter in model.parameters():
        weights[str(parameter.dtype).removeprefix("torch.")] += parameter.numel()
    held = sum(local(parameter).numel() for parameter in model.parameters())
    adapter = [name for name in watch.trainable if "lora_" in name]
    names = sorted({name.split(".lora_")[0].rpartition(".")[2] for name in adapter})
    precision = accelerator.mixed_precision
    kind = type(base_model(model)).__name__.removeprefix("FSDP")
    shared = f", {held:,} parameters in this process" if held < sum(weights.values()) else ""
    objective = objective_text(objective_data(trainer.objective))
    facts = {
        "architecture": f"{kind}: {config.num_attention_heads} query heads, {keys} key heads, {tied} embeddings"
        + ("" if rope is None else f", rope {rope}"),
        "parameters": ", ".join(f"{count:,} in {dtype}" for dtype, count in weights.items())
        + ("" if precision == "no" else f"; autocast to {precision}")
        + f"; gradient checkpointing {'on' if watch.checkpoints_gradients else 'off'}",
        "objective": f"{trainer.args.objective_name()}, beta {trainer.beta:g}: {objective}",
        "processes": f"{accelerator.num_processes} ({_spread(accelerator)}){shared}",
        "rewards": f"{_scored(task)}; a spread is added so that there is a gradient",
    }
    if adapter:
        facts["adapter"] = f"LoRA of rank {_rank(model)} on {', '.join(names)}"
    return facts


def _scored(task: ShortTask) -> str:
    if not task.rewards:  # scored in other processes
        return f"of {task.name}"
    return f"{len(task.rewards)} responses scored by {task.name} here, mean {fmean(task.rewards):.3g}"


def _rank(model: Any) -> int:
    return int(model.active_peft_config.r)


def _spread(accelerator: Any) -> str:
    """How the model is distributed over the processes."""
    kind = str(accelerator.distributed_type.value)
    if kind == "FSDP":
        return f"FSDP{accelerator.state.fsdp_plugin.fsdp_version}"
    return {"NO": "single", "MULTI_CPU": "DDP"}.get(kind, kind)
