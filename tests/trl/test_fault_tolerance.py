"""Bad numbers are caught before they are trained on: the run stops, or leaves the update or the group out."""

import json

import pytest
import torch
from policy import prompts, random_policy, settings
from ranks import run_worker
from transformers import Trainer, TrainerCallback

from hysteretic.trl import HPOConfig, HPOTrainer, RewardError, guard
from hysteretic.trl.guard import BadUpdateError, write_rows
from hysteretic.trl.rewards import Unscored

NAN, INF = float("nan"), float("inf")


def by_text(completions, **_):
    """A reward that differs within groups."""
    return [float(sum(map(ord, completion)) % 3 == 0) for completion in completions]


def trainer_of(folder, reward=by_text, **changes):
    """Three rollouts of one update."""
    model, tokenizer = random_policy()
    changes = {"max_steps": 3, "save_strategy": "no", "max_grad_norm": 1.0, "learning_rate": 1e-2, **changes}
    config = HPOConfig(**settings(folder, **changes))
    return HPOTrainer(
        model=model, reward_funcs=reward, args=config, train_dataset=prompts(48), processing_class=tokenizer
    )


def spoil(trainer, update, way):
    """Make the loss, or one gradient, of an update NaN or infinite, below what the guard looks at."""
    inner, hooks = trainer._compute_loss, []

    def compute_loss(model, inputs):
        while hooks:
            hooks.pop().remove()
        is_now = trainer.state.global_step + 1 == update
        if is_now and way == "gradient":
            hooks.append(next(model.parameters()).register_hook(lambda gradient: gradient + INF))
        return inner(model, inputs) * (NAN if is_now and way == "loss" else 1.0)

    trainer._compute_loss = compute_loss


def weights(trainer):
    return torch.cat([parameter.detach().flatten().clone() for parameter in trainer.model.parameters()])


def test_weights_that_broke_are_not_saved_over_good_ones(tmp_path):
    """The sampler finds them; earlier checkpoints stay the newest."""
    trainer = trainer_of(tmp_path, save_strategy="steps", save_steps=1)

    class Break(TrainerCallback):
        def on_step_end(self, args, state, control, model=None, **_):
            if state.global_step == 2:
                control.should_save = False
                with torch.no_grad():
                    next(model.parameters()).fill_(NAN)

    trainer.add_callback(Break())
    with pytest.raises(BadUpdateError, match=r"NaN or infinite probabilities.*Earlier checkpoints are intact"):
        trainer.train()
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == ["checkpoint-1"]


@pytest.mark.parametrize("lean", [True, False])
@pytest.mark.parametrize("way", ["loss", "gradient"])
def test_a_bad_update_stops_the_run_with_weights_as_they_were(way, lean, tmp_path):
    trainer = trainer_of(tmp_path, drop_silent=lean, share_prompts=lean)
    spoil(trainer, 2, way)
    with pytest.raises(BadUpdateError, match=r"update 2 is NaN or infinite.*max_bad_updates"):
        trainer.train()
    assert torch.isfinite(weights(trainer)).all()
    assert (tmp_path / "checkpoint-1" / "sealed.json").is_file()
    saved = torch.load(tmp_path / "bad-updates" / "update-2-rank0.pt")
    assert len(saved["micro_batches"]) >= 1
    rows = [json.loads(line) for line in (tmp_path / "bad-updates" / "update-2-rank0.jsonl").open()]
    assert rows
    assert all(row["prompt"].endswith(":") for row in rows)


@pytest.mark.parametrize("way", ["loss", "gradient"])
def test_a_bad_update_is_left_out_where_that_is_allowed(way, tmp_path):
    """Weights and moments do not move by it, and the run goes on."""
    trainer = trainer_of(tmp_path, max_bad_updates=1, max_steps=1)
    spoil(trainer, 1, way)
    before = weights(trainer)
    trainer.train()
    torch.testing.assert_close(weights(trainer), before, rtol=0, atol=0)
    assert not trainer.optimizer.state_dict()["state"]
    assert trainer._guard.left_out == 1


def test_no_more_bad_updates_are_left_out_than_allowed(tmp_path):
    trainer = trainer_of(tmp_path, max_bad_updates=1)
    for update in (1, 3):
        spoil(trainer, update, "gradient")
    with pytest.raises(BadUpdateError, match=r"update 3 .*1 such updates were left out before"):
        trainer.train()
    state = json.loads((tmp_path / "checkpoint-2" / "hpo_state.json").read_text())
    assert state["left_out"] == 1, "it is counted over a resume, too"


def test_a_good_run_is_the_same_with_and_without_leave(tmp_path):
    ends = []
    for name, allowed in [("a", 0), ("b", 5)]:
        trainer = trainer_of(tmp_path / name, max_bad_updates=allowed, max_unscored=allowed)
        trainer.train()
        ends.append(weights(trainer))
        assert not (tmp_path / name / "bad-updates").exists()
    torch.testing.assert_close(*ends, rtol=0, atol=0)


def with_flaws(*flaws):
    """by_text, with the flaws in the first rows of each batch."""

    def reward(completions, **_):
        return [*flaws, *by_text(completions)[len(flaws) :]]

    return reward


@pytest.mark.parametrize("flaw", [NAN, -INF, 1e30, Unscored("it timed out after 1 s")])
def test_a_response_without_a_reward_takes_its_group_out_and_nothing_else(flaw, tmp_path):
    """The others have the advantages they would have had; the group has none, and moves no mean."""
    seen = {}
    for name, reward in [("flawed", with_flaws(flaw)), ("whole", by_text)]:
        trainer = trainer_of(tmp_path / name, reward, max_unscored=3, max_steps=1, algorithm="grpo")
        original = trainer._generate_and_score_completions

        def generate(inputs, name=name, original=original):
            batch = original(inputs)
            seen[name] = batch["advantages"]
            return batch

        trainer._generate_and_score_completions = generate
        trainer.train()
        if name == "flawed":
            assert trainer.extra_state()["unscored"] == 1
            assert trainer.state.log_history[0]["hpo/silent_share"] >= 4 / 32
            rows = [json.loads(line) for line in (tmp_path / name / "bad-updates").glob("*.jsonl").__next__().open()]
            assert [row["unscored"] is None for row in rows] == [False] + [True] * 31
    assert (seen["flawed"][:4] == 0).all()
    assert (seen["whole"][:4] != 0).any()
    torch.testing.assert_close(seen["flawed"][4:], seen["whole"][4:])


def test_more_responses_without_a_reward_than_allowed_stop_the_run(tmp_path):
    """Counted over the whole run: one a rollout."""
    trainer = trainer_of(tmp_path, with_flaws(NAN), max_unscored=1)
    with pytest.raises(RewardError, match=r"returned nan for row 0.*2 responses without a reward.*max_unscored is 1"):
        trainer.train()
    assert json.loads((tmp_path / "checkpoint-1" / "hpo_state.json").read_text())["unscored"] == 1


@pytest.mark.skipif(
    not hasattr(Trainer, "_get_grad_norm"), reason="came with transformers 5.3; before, the guard reads"
)
@pytest.mark.parametrize("max_grad_norm", [1.0, 0.0])
def test_the_guard_reads_no_gradient_itself(max_grad_norm, tmp_path, monkeypatch):
    """The trainer has their norm, with clipping and without; the guard's own pass once was all that A-HPO added."""
    counts = []
    monkeypatch.setattr(guard, "_all_finite", lambda tensors, device: counts.append(len(tensors)) or torch.tensor(True))
    trainer = trainer_of(tmp_path, max_grad_norm=max_grad_norm)
    trainer.train()
    assert len(counts) == 3
    assert max(counts) <= trainer.args.gradient_accumulation_steps  # the losses of each update's micro-batches


def test_any_text_can_be_written_down(tmp_path):
    """Half of a surrogate pair has no bytes in UTF-8."""
    write_rows(tmp_path / "bad" / "rows.jsonl", [{"response": "\ud800 \x00"}, {"response": "ü"}])
    lines = (tmp_path / "bad" / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["response"] for line in lines] == ["\ud800 \x00", "ü"]


@pytest.mark.parametrize("flaw", ["text", None])
def test_what_a_wrong_function_returns_is_never_put_up_with(flaw, tmp_path):
    trainer = trainer_of(tmp_path, with_flaws(flaw), max_unscored=100)
    with pytest.raises(RewardError, match="row 0"):
        trainer.train()


@pytest.mark.parametrize("name", ["max_bad_updates", "max_unscored"])
def test_negative_leave_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match=f"{name} is -1"):
        HPOConfig(**settings(tmp_path, **{name: -1}))


def test_what_one_rank_finds_stops_or_spares_all(tmp_path):
    """A loss that is NaN on one of two ranks; a response without a reward there, whose group both leave out."""
    run_worker("bad_numbers_worker.py", tmp_path)
    found = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    for rank in found:
        assert "The loss and gradient of update 1 is NaN" in rank["stopped"]
        assert rank["left out"] == 0
    # 16 rows per rank in groups of 4: the first group of the second rank is the fifth of the batch.
    assert found[0]["unscored"] == found[1]["unscored"] == [[4], 2]
