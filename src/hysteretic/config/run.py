"""RunConfig: the settings of a run that are not the trainer's, and Facts about settings."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import Any

from hysteretic.common.errors import UsageError

UNSET: Any = object()


@dataclass(frozen=True)
class Facts:
    """What the rest of the package needs to know about a setting.

    group: its heading in `train --help`; without one it only appears under --help-all.
    short: its text in the short help, instead of the full text or TRL's.
    resume: a resumed run may change it.
    per_run: it differs between the runs of a comparison, so an arm cannot set it.
    of_call: it belongs to the command, not to the run; config.yaml does not keep it.
    same_in_arms: arms that differ in it are not comparable.
    of_task: it describes the problems, and changes with the task.
    verl: True if `launch verl` translates it; a text if it does not affect learning in verl, saying why ("" without a
        note); None if verl has no counterpart.
    verl_default: what verl does instead, if `--without` may leave it out.
    """

    group: str = ""
    short: str = ""
    resume: bool = False
    per_run: bool = False
    of_call: bool = False
    same_in_arms: bool = False
    of_task: bool = False
    verl: bool | str | None = None
    verl_default: Any = UNSET


def setting(text: str, default: Any = None, *, verl: bool | str | None = None, group: str = "", **facts: Any) -> Any:
    """A field of a configuration with its help and its Facts."""
    return field(default=default, metadata={"help": text, "facts": Facts(group=group, verl=verl, **facts)})


SCORING = "rewards"


@dataclass
class RunConfig:
    """The settings of a run besides HPOConfig and TRL's ModelConfig."""

    task: str = setting(
        "Task name (`hysteretic list`), file.py:MyTask, data file, or hub data set.",
        "countdown-3",
        group="run",
        same_in_arms=True,
        of_task=True,
        verl=True,
    )
    task_options: dict | str | None = setting(  # noqa: RUF009
        'Options of the task, as a mapping (JSON as a flag): {"largest": 30}, or {"is_chat": true} to make each prompt '
        "of a data file a user message, for an instruct model.",
        group="run",
        of_task=True,
        verl=True,
    )
    reward: str | None = setting(
        "For a data file or hub data set: path/to/file.py:function or package.module:function.", group="run", verl=True
    )
    model: str = setting("'tiny' (the embedded default), a hub name, or a folder.", "tiny", group="run", verl=True)
    output: str | None = setting(
        "The run's folder (default: runs/TASK-OBJECTIVE-MODEL-seedN).",
        group="run",
        per_run=True,
        of_call=True,
        verl=True,
    )
    resume: bool = setting(
        "Continue the run in the output folder from its newest checkpoint.",
        False,
        group="run",
        per_run=True,
        of_call=True,
        verl=True,
    )
    processes: int | None = setting(
        "Number of processes that the batch sizes are written for; the batch is kept on another number.",
        group="batch",
        verl=True,
    )
    train_problems: int | None = setting(
        "Number of training problems (default: the task's).", group="run", of_task=True, verl=True
    )
    data_problem_seed: int = setting("Seed that selects the problems (not the run's seed).", 0, group="run", verl=True)
    eval_problems: int = setting(
        "Number of held-out problems to evaluate on before and after training; 0 for none.",
        200,
        group="run",
        same_in_arms=True,
        of_task=True,
        verl=True,
    )
    eval_samples: int = setting(
        "Sampled responses per held-out problem, besides the greedy one.",
        4,
        group="run",
        same_in_arms=True,
        verl="verl validates with one greedy response per problem",
    )
    reward_processes: int = setting(
        "Score responses in this many separate processes (on each rank): one that hangs or crashes does not end the "
        "run, but leaves responses without a reward, up to max_unscored (then 100). 0: in the run's own process.",
        0,
        group=SCORING,
        short="Score in this many separate processes, which may hang or crash; 0: in the run's own process.",
        resume=True,
        verl="verl scores in processes of its own (reward.num_workers)",
    )
    reward_seconds: float = setting(
        "Time limit in seconds for scoring one response, in separate processes or by an async task.",
        60.0,
        group=SCORING,
        resume=True,
        verl="verl has no time limit for rewards",
    )
    reward_gib: float = setting(
        "Memory limit in GiB of a scoring process, beyond what it starts with.",
        4.0,
        group=SCORING,
        resume=True,
        verl="verl does not limit a reward's memory",
    )
    stop_seconds: float = setting(
        "Seconds after SIGTERM that the current rollout may take before it is abandoned; then the last update is "
        "saved (not with a sharded model).",
        15.0,
        group="run",
        short="Seconds that the current rollout may take after SIGTERM.",
        resume=True,
        verl="verl continues from its last checkpoint",
    )

    def __post_init__(self) -> None:
        if isinstance(self.task_options, str):
            try:
                self.task_options = json.loads(self.task_options)
            except json.JSONDecodeError as error:
                raise UsageError(
                    f"task_options is {self.task_options!r}, which is not valid JSON ({error}); write it as "
                    "'{\"largest\": 30}'."
                ) from error
        if self.task_options is not None and not isinstance(self.task_options, dict):
            raise UsageError(f"task_options is {self.task_options!r}; it must be a mapping such as {{'largest': 30}}.")
        if self.processes is not None and self.processes < 1:
            raise UsageError(f"processes is {self.processes}; set it to 1 or more, or leave it out.")
        for name in ("eval_problems", "eval_samples", "stop_seconds", "reward_processes"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} is {getattr(self, name)}; set it to 0 or more.")
        for name in ("reward_seconds", "reward_gib"):
            if getattr(self, name) <= 0:
                raise UsageError(f"{name} is {getattr(self, name)}; set it above 0.")

    def load_options(self) -> dict[str, Any]:
        """The options for `hysteretic.tasks.load`."""
        options = dict(self.task_options or {})  # type: ignore[arg-type]
        return options if self.reward is None else {**options, "reward": self.reward}


def run_facts() -> dict[str, Facts]:
    """The facts of RunConfig's fields, by name."""
    return {each.name: each.metadata["facts"] for each in fields(RunConfig)}
