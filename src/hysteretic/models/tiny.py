"""Makes the tiny model again: `python -m hysteretic.models.tiny --output DIR [--seed 0] [--careful 0.03]`."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

from hysteretic.tasks import countdown_problems

from . import LONGEST_RESPONSE, TASK, demonstrations, tokenizer, warmup
from .warmup import Warmup, warm_up

LIBRARIES = ("torch", "transformers", "tokenizers")
SOURCES = (tokenizer, demonstrations, warmup, countdown_problems)

_CARD = """\
# A tiny model of Countdown

Qwen2 architecture, one token a byte. It reads `3,7,5=26:` and writes a short search and an answer, at most
{longest} tokens. It is warmed up on procedural demonstrations: first mostly careful ones, then mostly careless
ones, so that it is seldom right and can learn to be (see `hysteretic/models/`). The demonstrations are of
the train split; no validation or test problem is among them. Problems for reinforcement: `Countdown({task})`.

Made by `python -m hysteretic.models.tiny --output DIR --seed {seed}{careful}` with one thread and {versions}.

```json
{settings}
```
"""


def versions() -> dict[str, str]:
    """The versions of the libraries that have a say in the weights."""
    return {name: version(name) for name in LIBRARIES}


def key(settings: Warmup) -> str:
    """Twelve characters that change with anything that makes the model: settings, sources, library versions."""
    sources = [Path(str(module.__file__)).read_text(encoding="utf-8") for module in SOURCES]
    everything = json.dumps([asdict(settings), sources, versions()])
    return hashlib.sha256(everything.encode()).hexdigest()[:12]


def card(settings: Warmup) -> str:
    """The README.md of the model's folder: what it is and how it was made."""
    careful = settings.phases[-1].careful_share
    is_usual = settings.phases == Warmup(seed=settings.seed).phases
    return _CARD.format(
        longest=LONGEST_RESPONSE,
        task=", ".join(f"{name}={value!r}" for name, value in TASK.items()),
        seed=settings.seed,
        careful="" if is_usual else f" --careful {careful:g}",
        versions=", ".join(f"{name} {number}" for name, number in versions().items()),
        settings=json.dumps(asdict(settings), indent=2),
    )


def make(settings: Warmup, output: Path) -> None:
    """Make the model in `output`, with one thread so that a second time gives the same bits."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        warm_up(settings, output)
    finally:
        torch.set_num_threads(threads)
    (output / "README.md").write_text(card(settings), encoding="utf-8")


def cached(seed: int, cache_dir: Path | str | None = None) -> Path:
    """The model of a seed, made now unless it is in the cache.

    Made in a folder of its own and then renamed, so that another process never sees half a model; of two
    processes that make it at the same time the second gives way.
    """
    settings = Warmup(seed=seed)
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hysteretic"
    folder = Path(cache_dir) if cache_dir is not None else home
    final = folder / f"tiny-{seed}-{key(settings)}"
    if not final.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix="making-") as temporary:
            made = Path(temporary) / "model"
            make(settings, made)
            try:
                made.rename(final)
            except OSError:
                if not final.exists():
                    raise
    return final


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m hysteretic.models.tiny", description="Make the tiny model again.")
    parser.add_argument("--output", type=Path, required=True, help="folder for the model; files in it are replaced")
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights and of the demonstrations")
    parser.add_argument(
        "--careful",
        type=float,
        help="share of careful demonstrations in the last phase: more of them, an easier start (0.03, which begins at "
        "about 2 %% right; 0.3 at 8.5 %%)",
    )
    chosen = parser.parse_args(arguments)
    settings = Warmup(seed=chosen.seed)
    if chosen.careful is not None:
        if not 0 <= chosen.careful <= 1:
            parser.error(f"--careful is {chosen.careful}; a share is 0 to 1")
        *early, last = settings.phases
        settings = replace(settings, phases=(*early, replace(last, careful_share=chosen.careful)))
    make(settings, chosen.output)
    print(f"Made in {chosen.output}")


if __name__ == "__main__":
    main()
