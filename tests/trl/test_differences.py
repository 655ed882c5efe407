"""What differs from GRPOTrainer on purpose: each row of the table in docs/trl.md, on stock TRL and on the drop-in.

A difference that is not in the table is a defect, and so is a row that stock TRL has caught up with.
"""

import math
import re
from pathlib import Path

import pytest
import torch
from policy import prompts, random_policy, settings
from trl import GRPOConfig, GRPOTrainer

from hysteretic.trl import BadUpdateError, HPOConfig, HPOTrainer, RewardError

DOCS = Path(__file__).parents[2] / "docs" / "trl.md"
STOCK, OURS = (GRPOTrainer, GRPOConfig), (HPOTrainer, HPOConfig)
CASES = {}


def case(row):
    """The test of a row of the table; it is given a function that makes a trainer of either kind."""

    def keep(function):
        CASES[row] = function
        return function

    return keep


@pytest.fixture
def made(tmp_path):
    def make(kind, rewards, **changes):
        trainer, config = kind
        if kind is STOCK:
            changes.pop("algorithm", None)
        model, tokenizer = random_policy()
        folder = tmp_path / trainer.__name__
        data = {"train_dataset": prompts(48), "processing_class": tokenizer}
        return trainer(model, rewards, config(**settings(folder, **changes)), **data)

    return make


def batch_of(trainer):
    """The rollout that a trainer trains on."""
    kept, original = [], trainer._generate_and_score_completions
    trainer._generate_and_score_completions = lambda inputs: kept.append(original(inputs)) or kept[-1]
    trainer.train()
    return kept[0]


def log_of(trainer):
    return next(log for log in trainer.state.log_history if "loss" in log)


def by_row(*rewards):
    def reward(completions, **_):
        return [rewards[row % len(rewards)] for row in range(len(completions))]

    return reward


sparse = by_row(*[1.0] + [0.0] * 7)


def raising(completions, **_):
    raise KeyError("answer")


@case("adaptive weight")
def check_weight(made):
    stock, ours = (batch_of(made(kind, sparse))["advantages"] for kind in (STOCK, OURS))
    torch.testing.assert_close(ours[:4], torch.where(stock[:4] < 0, stock[:4] / 3, stock[:4]))
    uniform = batch_of(made(OURS, sparse, weight="uniform"))["advantages"]
    torch.testing.assert_close(uniform, stock, atol=1e-4, rtol=0)


@case("`algorithm` with another `loss_type`")
def check_contradiction(made):
    with pytest.raises(ValueError, match="loss_type is 'grpo'"):
        made(OURS, sparse, algorithm="a-hpo", loss_type="grpo")
    assert made(OURS, sparse, loss_type="grpo").loss_type == made(STOCK, sparse, loss_type="grpo").loss_type


@case("no reward for a row")
def check_no_reward(made):
    nothing = by_row(None, 1.0, 0.0, 0.0)
    made(STOCK, [nothing, nothing]).train()
    with pytest.raises(RewardError, match="row 0 of the batch"):
        made(OURS, [nothing, nothing]).train()


@case("NaN or infinity as a reward")
def check_bad_reward(made):
    for flaw in (math.nan, math.inf):
        made(STOCK, by_row(flaw, 1.0, 0.0, 0.0)).train()
        with pytest.raises(RewardError, match="row 0"):
            made(OURS, by_row(flaw, 1.0, 0.0, 0.0)).train()
    excluded = batch_of(made(OURS, by_row(math.nan, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0), max_unscored=99))["advantages"]
    trained = batch_of(made(STOCK, by_row(math.nan, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)))["advantages"]
    assert (excluded[:4] == 0).all()
    assert trained[1] > 0


@case("a reward function raises")
def check_raising(made):
    with pytest.raises(KeyError):
        made(STOCK, raising).train()
    with pytest.raises(RewardError, match="raising raised KeyError"):
        made(OURS, raising).train()


def nan_loss(trainer):
    inner = trainer._compute_loss
    trainer._compute_loss = lambda model, inputs: inner(model, inputs) * math.nan
    return trainer


@case("NaN or infinity as a loss or gradient")
def check_bad_update(made):
    stock = nan_loss(made(STOCK, sparse, learning_rate=1e-2))
    stock.train()
    assert any(parameter.isnan().any() for parameter in stock.model.parameters())
    ours = nan_loss(made(OURS, sparse, learning_rate=1e-2))
    with pytest.raises(BadUpdateError):
        ours.train()
    assert not any(parameter.isnan().any() for parameter in ours.model.parameters())


@case("an update across two rollouts")
def check_accumulation(made):
    across = {"steps_per_generation": 3, "gradient_accumulation_steps": 2}
    made(STOCK, sparse, **across).train()
    with pytest.raises(ValueError, match="does not divide"):
        made(OURS, sparse, **across)


@case("equal rewards in a group")
def check_silence(made):
    stock, ours = (batch_of(made(kind, by_row(0.1), num_generations=8))["advantages"] for kind in (STOCK, OURS))
    assert (stock != 0).any()  # rounding
    assert (ours == 0).all()


@case("micro-batches")
def check_micro_batches(made):
    rows = {}
    for name, kind, changes in [
        ("stock", STOCK, {}),
        ("ours", OURS, {}),
        ("off", OURS, {"drop_silent": False, "share_prompts": False}),
    ]:
        trainer, seen = made(kind, by_row(*[1.0] + [0.0] * 7), **changes), []
        inner = trainer._compute_loss
        trainer._compute_loss = lambda model, inputs, inner=inner, seen=seen: (
            seen.append(len(inputs["advantages"])) or inner(model, inputs)
        )
        trainer.train()
        rows[name] = sum(seen)
    assert rows == {"stock": 32, "ours": 16, "off": 32}


@case("two functions of one name")
def check_names(made):
    assert made(STOCK, [by_row(0.0), by_row(1.0)]).reward_func_names == ["reward", "reward"]
    assert made(OURS, [by_row(0.0), by_row(1.0)]).reward_func_names == ["reward", "reward_2"]


@case("values that cannot work")
def check_values(made):
    GRPOConfig(**settings("unused", temperature=0.0, multi_objective_aggregation="nonsense"))
    for name, value in [("temperature", 0.0), ("num_iterations", 0), ("multi_objective_aggregation", "nonsense")]:
        with pytest.raises(ValueError, match=f"{name} is {value!r}"):
            made(OURS, sparse, **{name: value})


@case("None where it cannot work")
def check_none(made):
    with pytest.raises(TypeError):
        GRPOConfig(**settings("unused", num_generations=None))
    assert HPOConfig(**settings("unused", num_generations=None)).num_generations == 8


@case("`args`")
def check_args(made):
    with pytest.raises(TypeError, match="HPOConfig"):
        HPOTrainer(random_policy()[0], sparse, args=GRPOConfig(**settings("unused")))


@case("checkpoints")
def check_checkpoints(made):
    options = {"save_strategy": "steps", "save_steps": 1}
    stock, ours = (made(kind, sparse, **options) for kind in (STOCK, OURS))
    files = []
    for trainer in (stock, ours):
        trainer.train()
        files.append({file.name for file in (Path(trainer.args.output_dir) / "checkpoint-1").iterdir()})
    assert files[1] - files[0] == {"sealed.json", "hpo_state.json"}
    assert files[0] <= files[1]


@case("the model card")
def check_card(made):
    assert (GRPOTrainer._name, HPOTrainer._name) == ("GRPO", "HPO")
    assert set(GRPOTrainer._tag_names) < set(HPOTrainer._tag_names)


@pytest.mark.parametrize("row", CASES)
def test_a_difference_is_what_the_table_says(row, made):
    CASES[row](made)


def test_the_table_lists_these_differences_and_no_others():
    text = DOCS.read_text().split("## What differs from GRPOTrainer, on purpose")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \|", text, flags=re.M)
    assert rows[0] == "case"
    assert rows[1:] == list(CASES)
