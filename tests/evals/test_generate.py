"""Responses of a loaded model: our own loop and transformers give the same, and leave the model as it was."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from hysteretic.common.errors import UsageError
from hysteretic.evals import generate
from hysteretic.lean import support
from hysteretic.lean.decode import Sampled
from hysteretic.tasks.task import Problem

PROBLEMS = [Problem(str(i), "ab" * (1 + 5 * i) + ":", None) for i in range(5)]
LONG = [Problem("long", "abcdefgh" * 8, None), *PROBLEMS]


@pytest.fixture
def loaded(random_model):
    return AutoModelForCausalLM.from_pretrained(random_model), AutoTokenizer.from_pretrained(random_model)


@pytest.mark.parametrize("problems", [PROBLEMS, LONG], ids=["short", "long"])
@pytest.mark.parametrize("samples", [0, 3])
def test_both_ways_give_the_same_responses(loaded, monkeypatch, problems, samples):
    """Greedy and sampled, in several batches; lengths count the end token."""
    model, tokenizer = loaded
    prompts = generate.prompt_tokens(problems, tokenizer)
    own = generate.generate(model, tokenizer, prompts, samples, 12, batch_rows=7, seed=3, temperature=0.8)
    monkeypatch.setattr(type(model), "_supports_attention_backend", False)
    theirs = generate.generate(model, tokenizer, prompts, samples, 12, batch_rows=7, seed=3, temperature=0.8)
    assert (own.way, theirs.way) == ("hysteretic.lean.decode", "transformers")
    assert own.responses == theirs.responses
    assert own.lengths == theirs.lengths
    assert len(own.lengths) == len(problems) * max(samples, 1)


def test_greedy_responses_draw_no_random_numbers(loaded):
    """Any seed gives the same; and the global random state is left alone."""
    model, tokenizer = loaded
    before = torch.random.get_rng_state()
    found = [generate.respond(model, tokenizer, PROBLEMS, 0, 8, seed=seed) for seed in (0, 1)]
    assert found[0] == found[1]
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("way", ["own", "transformers"])
def test_the_tokenizers_end_token_ends_responses_too(loaded, monkeypatch, way):
    """As in training: a chat model's own end token may be missing from its generation config."""
    model, tokenizer = loaded
    if way == "transformers":
        monkeypatch.setattr(type(model), "_supports_attention_backend", False)
    prompts = generate.prompt_tokens(PROBLEMS, tokenizer)
    tokenizer.eos_token = "e"
    lengths = {}
    for listed in (
        tokenizer.convert_tokens_to_ids("a"),
        [tokenizer.convert_tokens_to_ids("a"), tokenizer.eos_token_id],
    ):
        model.generation_config.eos_token_id = listed
        lengths[str(listed)] = generate.generate(model, tokenizer, prompts, 8, 32, seed=1).lengths
    one, both = lengths.values()
    assert one == both
    tokenizer.eos_token = "a"
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    assert generate.generate(model, tokenizer, prompts, 8, 32, seed=1).lengths != one


def test_the_model_is_left_in_training(loaded):
    model, tokenizer = loaded
    model.train()
    generate.respond(model, tokenizer, PROBLEMS, 0, 2)
    assert model.training


def test_a_penalty_of_the_models_own_is_not_applied(loaded, monkeypatch):
    """Qwen2.5 ships a repetition penalty; a policy is evaluated without it, by either way."""
    model, tokenizer = loaded
    plain = generate.respond(model, tokenizer, PROBLEMS, 0, 12)
    model.generation_config.repetition_penalty = 50.0
    assert generate.respond(model, tokenizer, PROBLEMS, 0, 12) == plain
    monkeypatch.setattr(type(model), "_supports_attention_backend", False)
    assert generate.respond(model, tokenizer, PROBLEMS, 0, 12) == plain


def test_broken_weights_are_an_error_that_says_so(loaded):
    model, tokenizer = loaded
    with torch.no_grad():
        model.get_input_embeddings().weight.fill_(float("nan"))
    with pytest.raises(UsageError, match="NaN"):
        generate.respond(model, tokenizer, PROBLEMS, 2, 4)


def test_the_own_loop_gives_way_when_it_samples_from_another_distribution(random_model, monkeypatch):
    """Checked numerically, not by the model's name: a model may ignore what its attention is given."""
    model, prompts = AutoModelForCausalLM.from_pretrained(random_model), [[5, 6, 7], list(range(5, 50))]
    assert support.why_not_decoded(model, prompts) is None

    def shifted(model, config, prompts, count, ends):
        return Sampled([[5] * count for _ in prompts], [0.0] * len(prompts))

    monkeypatch.setattr(support, "sample", shifted)
    assert "entropies" in support.why_not_decoded(model, prompts)
    model.config.layer_types = ["sliding_attention"] * 2
    assert "do not attend to the whole context" in support.why_not_decoded(model, prompts)
