"""The map: mean reward over the run by start, updates per rollout and learning rate, the rate shared by all arms.

    python benchmarks/evidence/map.py run sparse 4     one comparison: 4 arms x 4 rates x 5 seeds; a second call resumes
    python benchmarks/evidence/map.py draw             the picture results/map/gains.{svg,png} of what was run

The starts are those of sparse.yaml and easy.yaml (which says how the model of the second is made). All cells have 25
rollouts of 32 problems x 8 responses; 1, 4 or 16 updates cut the same 256 responses into so many parts. A cell's gain
is over TRL's default loss at the same rate, updates and start, paired by seed; it is told where Holm's p over all cells
of a comparison is below 0.05. Results are kept by comparison in results/map/START-UPDATES.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert
import yaml

from hysteretic.cli import main as hysteretic
from hysteretic.html.theme import LIGHT, chart_config
from hysteretic.statistics import holm, paired_comparison

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results" / "map"
ARMS: dict[str, dict[str, Any]] = {
    "trl-default": {"algorithm": "dapo", "epsilon_high": 0.2},
    "grpo": {"algorithm": "grpo"},
    "a-hpo": {"algorithm": "a-hpo"},
    "adaptive-grpo": {"algorithm": "adaptive-grpo"},
}
BASELINE = "trl-default"
RATES = (1.5e-4, 3e-4, 6e-4, 1.2e-3)
UPDATES = (1, 4, 16)
STARTS = {"sparse": "2 % right at first", "easy": "8.5 % right at first"}
SEEDS = list(range(400, 405))
ROLLOUTS, ROWS = 25, 256
EASY_MODEL = "runs/tiny-easy"


def comparison(start: str, updates: int) -> dict[str, Any]:
    """What `hysteretic compare` is asked for."""
    recipe = yaml.safe_load((ROOT / "recipes" / "tiny-countdown-3.yaml").read_text(encoding="utf-8"))
    recipe = {key: value for key, value in recipe.items() if key not in ("about", "learning_rate")}
    rows = min(ROWS // updates, 64)
    return recipe | {
        "model": "tiny" if start == "sparse" else EASY_MODEL,
        "arms": ARMS,
        "vary": {"learning_rate": list(RATES)},
        "seeds": SEEDS,
        "baseline": f"{BASELINE} learning_rate={RATES[0]}",
        "measure": "area",
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": ROWS // updates // rows,
        "steps_per_generation": ROWS // rows,
        "max_steps": ROLLOUTS * updates,
        "eval_problems": 0,
    }


def run(start: str, updates: int, output: Path, jobs: int) -> None:
    """Run one comparison and keep each cell's mean reward by seed."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as file:
        yaml.safe_dump(comparison(start, updates), file, sort_keys=False)
        file.flush()
        if code := hysteretic(["compare", "--config", file.name, "--output", str(output), "--jobs", str(jobs)]):
            raise SystemExit(code)
    found = json.loads((output / "results.json").read_text(encoding="utf-8"))
    cells: dict[str, dict[str, dict[str, float]]] = {}
    settings = {arm["name"]: arm["settings"] for arm in found["arms"]}
    for one in found["runs"]:
        arm, rate = one["arm"].split(" ")[0], str(settings[one["arm"]]["learning_rate"])
        cells.setdefault(arm, {}).setdefault(rate, {})[str(one["seed"])] = one["measures"]["area"]
    RESULTS.mkdir(exist_ok=True)
    kept = {"start": start, "updates": updates, "cells": cells}
    kept |= {key: found[key] for key in ("created", "versions", "device", "source_sha256")}
    (RESULTS / f"{start}-{updates}.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def gains(kept: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row per arm and rate: mean, and against the default at that rate the relative gain and whether it is told."""
    pairs = {}
    for arm, rate in itertools.product(list(ARMS)[1:], map(str, RATES)):
        ours, theirs = (list(kept["cells"][name][rate].values()) for name in (arm, BASELINE))
        pairs[arm, rate] = paired_comparison(ours, theirs)
    corrected = dict(zip(pairs, holm([pair.p_value for pair in pairs.values()]), strict=True))
    rows = []
    for arm, rate in itertools.product(ARMS, map(str, RATES)):
        values = list(kept["cells"][arm][rate].values())
        row = {"start": kept["start"], "updates": kept["updates"], "arm": arm, "rate": float(rate)}
        row |= {"mean": sum(values) / len(values), "gain": None, "told": False}
        if (arm, rate) in pairs:
            pair = pairs[arm, rate]
            row |= {"gain": pair.relative_gain, "told": corrected[arm, rate] < 0.05}
        rows.append(row)
    return rows


def panel(start: str, updates: int) -> str:
    """The title of a comparison."""
    return f"{STARTS[start]}, {updates} update{'s' if updates > 1 else ''} per rollout"


def heat_map(rows: Sequence[Mapping[str, Any]]) -> alt.TopLevelMixin:
    """One panel per start and number of updates; text: the arm's mean reward and its gain, with a star where told."""
    values = []
    for row in rows:
        gain = "" if row["gain"] is None else f"{100 * row['gain']:+.0f} %"
        values.append(
            {
                **row,
                "panel": panel(row["start"], row["updates"]),
                "learning rate": f"{row['rate']:.2g}",
                "gain": row["gain"] if row["gain"] is None else max(-0.6, min(0.6, row["gain"])),
                "text": f"{row['mean']:.3f} {gain}" + ("*" if row["told"] else ""),
            }
        )
    order = [f"{rate:.2g}" for rate in RATES]
    base = alt.Chart().encode(
        x=alt.X("learning rate:N", sort=order, axis=alt.Axis(labelAngle=0)),
        y=alt.Y("arm:N", sort=list(ARMS), title=None),
    )
    scale = alt.Scale(scheme="blueorange", domain=[-0.6, 0.6], domainMid=0, reverse=True)
    cells = base.mark_rect(stroke=LIGHT["ground"]).encode(
        color=alt.Color("gain:Q", scale=scale, legend=alt.Legend(format="+.0%", title="gain over trl-default"))
    )
    is_dark = "datum.gain > 0.35 || datum.gain < -0.35"
    texts = base.mark_text(fontSize=10).encode(
        text="text:N", color=alt.condition(is_dark, alt.value(LIGHT["ground"]), alt.value(LIGHT["ink"]))
    )
    chart = alt.layer(cells, texts, data=alt.Data(values=values)).properties(width=360, height=120)
    title = alt.Title(
        "Mean reward over 25 rollouts, and gain over trl-default",
        subtitle="* told apart at 5 %, over all cells of a panel",
    )
    panels = [panel(start, updates) for start in STARTS for updates in UPDATES]
    return chart.facet(alt.Facet("panel:N", sort=panels, title=None), columns=1).properties(title=title)


def draw() -> None:
    """The picture of all comparisons that were run."""
    rows = [row for file in sorted(RESULTS.glob("*-*.json")) for row in gains(json.loads(file.read_text("utf-8")))]
    svg = vl_convert.vegalite_to_svg(heat_map(rows).configure(**chart_config(LIGHT, LIGHT["ground"])).to_dict())
    (RESULTS / "gains.svg").write_text(svg, encoding="utf-8")
    (RESULTS / "gains.png").write_bytes(vl_convert.svg_to_png(svg, scale=2))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a comparison of the map, or draw it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run")
    one.add_argument("start", choices=STARTS)
    one.add_argument("updates", type=int, choices=UPDATES)
    one.add_argument("--output", type=Path, help="default: runs/map-START-UPDATES")
    one.add_argument("--jobs", type=int, default=2)
    commands.add_parser("draw")
    choice = parser.parse_args(arguments)
    if choice.command == "draw":
        draw()
    else:
        run(
            choice.start,
            choice.updates,
            choice.output or Path(f"runs/map-{choice.start}-{choice.updates}"),
            choice.jobs,
        )


if __name__ == "__main__":
    main()
