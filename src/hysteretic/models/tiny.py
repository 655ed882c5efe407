"""Train a tiny model from scratch: `python -m hysteretic.models.tiny --output DIR [--task countdown-3] [--seed 0]`."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

from hysteretic.tasks import countdown_problems
from hysteretic.tasks.telelogs import compact, drive, faults, radio, rules, scenario

from . import countdown_demonstrations, telelogs_demonstrations, tokenizer, warmup
from .countdown_demonstrations import LONGEST_RESPONSE, TASK
from .telelogs_demonstrations import ReportHabits
from .warmup import Phase, Warmup, warm_up


@dataclass(frozen=True)
class Kind:
    """One of the embedded models.

    warmup: its settings for a seed. sources: modules that determine the weights. title, reads, problems: for its card.
    """

    warmup: Callable[[int], Warmup]
    sources: tuple[ModuleType, ...]
    title: str
    reads: str
    problems: str


KINDS = {
    "countdown-3": Kind(
        warmup=lambda seed: Warmup(seed=seed),
        sources=(tokenizer, countdown_demonstrations, warmup, countdown_problems),
        title="Countdown",
        reads="one token per byte. It reads `3,7,5=26:` and writes a short search and an answer, at most\n"
        f"{LONGEST_RESPONSE} tokens.",
        problems="the train split; no validation or test problem is among them. Problems for RL:\n"
        f"`Countdown({', '.join(f'{name}={value!r}' for name, value in TASK.items())})`.",
    ),
    "telelogs-compact": Kind(
        warmup=lambda seed: Warmup(
            seed=seed,
            phases=(Phase(2000, 0.9, 6e-3), Phase(120, 0.05, 2e-3)),
            habits=ReportHabits(),
        ),
        sources=(tokenizer, telelogs_demonstrations, warmup, compact, drive, faults, radio, rules, scenario),
        title="TeleLogs",
        reads="one token per byte, two-digit number, or word of its reports. It reads a compact drive\n"
        "and writes measurements and a boxed root cause.",
        problems="separate drives; no problem of any split is among them. Problems for RL: the task\n"
        "`telelogs-compact`.",
    ),
}
"""By task."""

LIBRARIES = ("torch", "transformers", "tokenizers")

_CARD = """\
# A tiny model for {title}

Qwen2 architecture, {reads} It was warmed up on procedural demonstrations: first mostly careful ones, then mostly
careless ones, so that it is rarely right but can learn to be (see `hysteretic/models/`). The demonstrations are of
{problems}

Made by `python -m hysteretic.models.tiny --output DIR{task} --seed {seed}{careful}` with one thread and {versions}.

```json
{settings}
```
"""


def versions() -> dict[str, str]:
    """The versions of the libraries that determine the weights."""
    return {name: version(name) for name in LIBRARIES}


def key(settings: Warmup, task: str = "countdown-3") -> str:
    """Twelve characters that change with everything that determines the model: settings, sources, library versions."""
    sources = [Path(str(module.__file__)).read_text(encoding="utf-8") for module in KINDS[task].sources]
    everything = json.dumps([asdict(settings), sources, versions()])
    return hashlib.sha256(everything.encode()).hexdigest()[:12]


def card(settings: Warmup, task: str = "countdown-3") -> str:
    """The README.md of the model folder: what the model is and how it was made."""
    kind = KINDS[task]
    careful = settings.phases[-1].careful_fraction
    is_usual = settings.phases == kind.warmup(settings.seed).phases
    return _CARD.format(
        title=kind.title,
        reads=kind.reads,
        problems=kind.problems,
        task="" if task == "countdown-3" else f" --task {task}",
        seed=settings.seed,
        careful="" if is_usual else f" --careful {careful:g}",
        versions=", ".join(f"{name} {number}" for name, number in versions().items()),
        settings=json.dumps(asdict(settings), indent=2),
    )


def make(settings: Warmup, output: Path, task: str = "countdown-3") -> None:
    """Make the model in `output`, with one thread so that the result is bitwise reproducible."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        warm_up(settings, output)
    finally:
        torch.set_num_threads(threads)
    (output / "README.md").write_text(card(settings, task), encoding="utf-8")


def cached(seed: int, cache_dir: Path | str | None = None, task: str = "countdown-3") -> Path:
    """The model of a seed for a task, made now unless it is in the cache.

    It is made in a temporary folder that is then renamed, so that other processes never see a partial model; if two
    processes make it at the same time, the second discards its own.
    """
    task = task if task in KINDS else "countdown-3"
    settings = KINDS[task].warmup(seed)
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hysteretic"
    folder = Path(cache_dir) if cache_dir is not None else home
    final = folder / f"tiny-{seed}-{key(settings, task)}"
    if not final.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix="making-") as temporary:
            made = Path(temporary) / "model"
            make(settings, made, task)
            try:
                made.rename(final)
            except OSError:
                if not final.exists():
                    raise
    return final


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m hysteretic.models.tiny", description="Train a tiny model from scratch."
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for the model; existing files are replaced")
    parser.add_argument(
        "--task", choices=list(KINDS), default="countdown-3", help="the task it is made for (default: countdown-3)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights and the demonstrations (default: 0)")
    parser.add_argument(
        "--careful",
        type=float,
        help="fraction of careful demonstrations in the last phase; more make an easier start (0.03 starts at about "
        "2 %% right answers, 0.3 at 8.5 %%)",
    )
    chosen = parser.parse_args(arguments)
    settings = KINDS[chosen.task].warmup(chosen.seed)
    if chosen.careful is not None:
        if not 0 <= chosen.careful <= 1:
            parser.error(f"--careful is {chosen.careful}; it must be between 0 and 1")
        *early, last = settings.phases
        settings = replace(settings, phases=(*early, replace(last, careful_fraction=chosen.careful)))
    make(settings, chosen.output, chosen.task)
    print(f"Made in {chosen.output}")


if __name__ == "__main__":
    main()
