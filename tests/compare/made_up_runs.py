"""Run folders as `hysteretic train` leaves them, without training: the metrics are chosen by the test."""

import json

from hysteretic.compare.folder import ComparisonFolder
from hysteretic.compare.spec import read


def write_run(
    folder,
    rewards,
    lengths=None,
    seconds=1.0,
    state="finished",
    correct=(0, 1, 2, 4),
    updates=2,
    source="a",
    grad_norm=0.5,
):
    """One rollout per reward, each of some updates and 10 responses; 4 samples of each held-out problem."""
    folder.mkdir(parents=True)
    lines = []
    for i, reward in enumerate(rewards):
        for update in range(updates):
            line = {"step": i * updates + update + 1, "loss": 0.0, "step_time": seconds / updates}
            line |= {
                "grad_norm": grad_norm,
                "clip_ratio/low_mean": 0.1 * update,
                "hpo/alpha": 0.5,
                "hpo/silent_share": 0.9,
            }
            if update == 0:
                line |= {"reward": reward, "completions/mean_length": (lengths or [20.0] * len(rewards))[i]}
            lines.append(line)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    settings = {"generation_batch_size": 10, "learning_rate": 1e-3, "output_dir": "/somewhere", "seed": 1}
    about = {"state": state, "task": "countdown-3", "model": "tiny", "settings": settings, "objective": "Objective(…)"}
    about["updates"] = len(lines)
    about |= {"held_out_problems": len(correct), "versions": {"torch": "2"}, "source_sha256": source}
    (folder / "run.json").write_text(json.dumps(about))
    share = sum(correct) / 4 / len(correct)
    sampled = {"pass@1": {"value": share}, "responses_per_problem": 4, "correct_by_problem": list(correct)}
    greedy = {"pass@1": {"value": 0.25}, "responses_per_problem": 1, "correct_by_problem": [1, 0, 0, 0]}
    (folder / "evaluation.json").write_text(json.dumps({"after": {"sampled": sampled, "greedy": greedy}}))
    sample = {"when": "after", "decoding": "greedy", "problem": "p", "prompt": "1:", "response": "</script>"}
    sample |= {"reward": 0.0, "is_correct": False, "has_format": True}
    (folder / "samples.jsonl").write_text(json.dumps(sample) + "\n")


def comparison_folder(path, rewards_by_arm, **changes):
    """A comparison whose finished runs have these rewards: {arm: [rewards of seed 0, of seed 1, ...]}."""
    content = {"algorithms": list(rewards_by_arm), "seeds": max(map(len, rewards_by_arm.values())), **changes}
    comparison = read(content, "test")
    folder = ComparisonFolder(path)
    folder.claim(comparison)
    folder.release()
    for run in folder.runs(comparison, {}):
        seeds = rewards_by_arm[run.arm.name]
        if run.seed < len(seeds) and seeds[run.seed] is not None:
            write_run(run.folder, seeds[run.seed])
    return folder
