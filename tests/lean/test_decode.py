"""Responses must be those that `generate` samples, from the right distribution, with no token read in vain."""

import random
from collections import Counter
from functools import cache
from itertools import product

import pytest
import torch
from scipy.stats import chisquare
from small_models import ARCHITECTURES, response_logits, small_model
from transformers import GenerationConfig

from hysteretic.lean import decode
from hysteretic.lean.decode import sample
from hysteretic.trl.compat import warpers

VOCABULARY = 61
ENDS = (5, 17)
WAYS = [{"shares_prompts": shares, "drops_finished": drops} for shares, drops in product([True, False], repeat=2)]
PROMPTS = {
    "one": [[3, 1, 4]],
    "equal": [[3, 1, 4, 1]] * 6,
    "as long as each other": [[3, 1, 4], [1, 5, 9], [2, 6, 5]],
    "unequal": [[7], [3, 1, 4, 1, 5, 9, 2, 6], [2, 7, 1], [8, 2]],
    "unequal and repeated": [[7], [3, 1, 4, 1, 5], [7], [2, 7, 1], [3, 1, 4, 1, 5], [1, 4, 1, 5], [7]],
}
PLAIN = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": None}
SETTINGS = {
    "plain": PLAIN,
    "cold": {**PLAIN, "temperature": 0.7},
    "top-k": {**PLAIN, "temperature": 1.3, "top_k": 5},
    "top-p": {**PLAIN, "top_p": 0.8},
    "min-p": {**PLAIN, "min_p": 0.1},
    "all": {"temperature": 0.7, "top_k": 20, "top_p": 0.9, "min_p": 0.02},
}


@pytest.fixture(autouse=True, params=[decode.SHORT_PROMPT, 0], ids=["copied prompts", "shared prompts"])
def layout(request, monkeypatch):
    """Every claim holds for prompts copied to their responses and for prompts attended to by all of them together."""
    monkeypatch.setattr(decode, "SHORT_PROMPT", request.param)


@cache
def model(architecture="qwen2"):
    return small_model(architecture, VOCABULARY)


def generated(policy, prompts, limit, setting, ends, seed):
    """Responses of `generate` to prompts padded on the left, up to and with their end tokens."""
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    torch.manual_seed(seed)
    config = GenerationConfig(
        do_sample=True, max_new_tokens=limit, eos_token_id=list(ends) or None, pad_token_id=0, **setting
    )
    rows = policy.generate(input_ids=ids, attention_mask=mask, generation_config=config)[:, width:].tolist()
    lengths = [next((t + 1 for t, token in enumerate(row) if token in ends), len(row)) for row in rows]
    return [row[:n] for row, n in zip(rows, lengths, strict=True)]


def sampled(policy, prompts, limit, setting=PLAIN, ends=ENDS, seed=0, **way):
    torch.manual_seed(seed)
    warp = warpers(GenerationConfig(**setting))
    return sample(policy, policy.config, prompts, limit, ends, setting["temperature"], warp, **way)


def assert_as_generated(policy, prompts, limit, setting=PLAIN, ends=ENDS, seed=0):
    expected = generated(policy, prompts, limit, setting, ends, seed)
    for way in WAYS:
        assert sampled(policy, prompts, limit, setting, ends, seed, **way).tokens == expected, way
    return expected


@pytest.mark.parametrize("prompts", PROMPTS)
def test_responses_are_those_of_generate(prompts):
    """Whatever is read once or left out, the same seed gives the same responses: sampling is only made cheaper."""
    assert_as_generated(model(), PROMPTS[prompts], 24, SETTINGS["cold"])


@pytest.mark.parametrize("setting", SETTINGS)
def test_warped_responses_are_those_of_generate(setting):
    """Temperature, top-k, top-p and min-p, in the order of generate."""
    assert_as_generated(model(), PROMPTS["unequal and repeated"], 24, SETTINGS[setting], seed=1)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_responses_of_other_models_are_those_of_generate(architecture):
    """Heads that share keys and values or do not, rotations of all or part of a head."""
    assert_as_generated(model(architecture), PROMPTS["unequal and repeated"], 16, seed=2)


@pytest.mark.parametrize("limit", [1, 2, 8])
def test_responses_end_at_an_end_token_or_at_the_limit(limit):
    """Both happen here, from the first token on; nothing follows an end token."""
    responses = assert_as_generated(model(), PROMPTS["unequal and repeated"] * 6, limit, seed=3)
    ended = [response for response in responses if response[-1] in ENDS]
    cut = [response for response in responses if response[-1] not in ENDS]
    assert ended
    assert all(len(response) == limit for response in cut)
    assert cut
    assert not any(token in ENDS for response in responses for token in response[:-1])


@pytest.mark.parametrize("limit", [64, 65, 66, 100, 150])
def test_long_responses_are_those_of_generate(limit):
    """Memory is taken for 64 tokens, then doubled: no state may be lost at the seams, rows dropped before or not."""
    responses = assert_as_generated(model(), PROMPTS["unequal and repeated"], limit, ends=(5,), seed=7)
    lengths = sorted(map(len, responses))
    assert lengths[-1] == limit
    assert lengths[0] < 64


def test_responses_without_an_end_token_are_those_of_generate():
    """A model may have none."""
    responses = assert_as_generated(model(), PROMPTS["unequal"], 70, ends=())
    assert [len(response) for response in responses] == [70] * 4


def test_prompts_read_in_several_passes_give_the_same_responses(monkeypatch):
    """Passes are bounded for memory's sake; each must put its states where they belong."""
    prompts = [*PROMPTS["unequal and repeated"], list(range(20, 45)), [9, 9]]
    whole = sampled(model(), prompts, 20)
    lengths = calls_of(model(), monkeypatch)
    monkeypatch.setattr(decode, "PREFILL_TOKENS", 8)
    parts = sampled(model(), prompts, 20)
    assert parts.tokens == whole.tokens
    assert parts.entropy == pytest.approx(whole.entropy, rel=1e-5)
    assert lengths[:5] == [1 + 5, 3 + 4, 25, 2, 9]


@cache
def exact(temperature, prompt, limit, end):
    """Probability of every response, from whole forward passes."""
    policy, found, open_ends = small_model("qwen2", 5), {}, {(): 1.0}
    for t in range(limit):
        grown = {}
        for prefix, p in open_ends.items():
            with torch.no_grad():
                logits = response_logits(policy, prompt, [*prefix, 0])[-1] / temperature
            for token, q in enumerate(logits.softmax(-1).tolist()):
                (found if token == end or t + 1 == limit else grown)[(*prefix, token)] = p * q
        open_ends = grown
    assert sum(found.values()) == pytest.approx(1)
    return found


def fit(responses, probabilities):
    """p-value of the responses; those that are expected fewer than 5 times are counted together."""
    counts, total = Counter(map(tuple, responses)), len(responses)
    assert counts.keys() <= probabilities.keys()
    pairs = [(counts[response], total * p) for response, p in probabilities.items()]
    rare = [pair for pair in pairs if pair[1] < 5]
    pairs = [pair for pair in pairs if pair[1] >= 5]
    if rare:
        pairs.append(tuple(map(sum, zip(*rare, strict=True))))
    assert len(pairs) > 20
    return chisquare(*zip(*pairs, strict=True)).pvalue


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_responses_follow_the_distribution_of_the_model(way):
    """Agreement with generate would not show a fault that both share; here every response is counted."""
    policy, short, long = small_model("qwen2", 5), (1, 3), (2, 2, 0, 1)
    prompts = [[*short], [*long]] * 10_000
    tokens = sampled(policy, prompts, 3, SETTINGS["cold"], ends=[4], seed=4, **way).tokens
    assert fit(tokens[::2], exact(0.7, short, 3, 4)) > 1e-3
    assert fit(tokens[1::2], exact(0.7, long, 3, 4)) > 1e-3


def test_the_count_would_show_a_wrong_distribution():
    """A temperature of 0.75 for 0.7, or the other prompt, is found out by as many responses."""
    policy, prompt = small_model("qwen2", 5), (1, 3)
    tokens = sampled(policy, [[*prompt]] * 10_000, 3, {**PLAIN, "temperature": 0.75}, ends=[4], seed=4).tokens
    assert fit(tokens, exact(0.75, prompt, 3, 4)) > 1e-3
    assert fit(tokens, exact(0.7, prompt, 3, 4)) < 1e-6
    assert fit(tokens, exact(0.75, (2, 2, 0, 1), 3, 4)) < 1e-6


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("setting", ["plain", "all"])
def test_entropy_is_that_of_whole_forward_passes(way, setting):
    """At the sampling temperature and before anything is cut off, over the tokens of the response and no others."""
    prompts = PROMPTS["unequal and repeated"] * 2
    found = sampled(model(), prompts, 30, SETTINGS[setting], **way)
    temperature = SETTINGS[setting]["temperature"]
    assert len({len(response) for response in found.tokens}) > 3
    for prompt, response, entropy in zip(prompts, found.tokens, found.entropy, strict=True):
        with torch.no_grad():
            logprobs = (response_logits(model(), prompt, response) / temperature).log_softmax(-1)
        assert entropy == pytest.approx(float(-(logprobs.exp() * logprobs).sum()), rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_models_of_lower_precision_are_sampled(dtype):
    """States keep the model's precision; entropy still is that of whole passes, as nearly as that precision tells."""
    policy = small_model("llama", VOCABULARY, dtype=dtype)
    prompts = PROMPTS["unequal and repeated"]
    found = sampled(policy, prompts, 30)
    for prompt, response, entropy in zip(prompts, found.tokens, found.entropy, strict=True):
        with torch.no_grad():
            logprobs = response_logits(policy, prompt, response).float().log_softmax(-1)
        close = 1e-4 if dtype == torch.float32 else 0.05
        assert entropy == pytest.approx(float(-(logprobs.exp() * logprobs).sum()), rel=close)


def calls_of(policy, monkeypatch):
    """RowIndices of tokens that the model is given, call by call."""
    counts, embed = [], policy.get_input_embeddings()
    forward = embed.forward
    monkeypatch.setattr(embed, "forward", lambda ids: counts.append(ids.numel()) or forward(ids))
    return counts


def unfinished(responses, t):
    return sum(len(response) > t for response in responses)


@pytest.mark.parametrize("seed", range(4))
def test_a_step_reads_the_unfinished_responses_and_no_others(seed, monkeypatch):
    """Of up to ten, one that ends is a tenth or more, and leaves at once; each distinct prompt was read once."""
    prompts = PROMPTS["unequal and repeated"]
    counts = calls_of(model(), monkeypatch)
    responses = sampled(model(), prompts, 40, seed=seed).tokens
    longest = max(map(len, responses))
    assert counts == [1 + 5 + 3 + 4] + [unfinished(responses, t) for t in range(1, longest)]


def test_many_responses_leave_by_the_tenth(monkeypatch):
    """Moving the states costs too, so it waits until a tenth of them is finished."""
    prompts = PROMPTS["unequal and repeated"] * 7
    counts = calls_of(model(), monkeypatch)
    responses = sampled(model(), prompts, 60, seed=1).tokens
    expected, held = [1 + 5 + 3 + 4], len(prompts)
    for t in range(1, max(map(len, responses))):
        going = unfinished(responses, t)
        held = going if held - going >= held / 10 else held
        expected.append(held)
    assert counts == expected
    assert any(count > unfinished(responses, t) for t, count in enumerate(counts[1:], start=1))


def test_what_is_not_shared_or_dropped_is_read_again(monkeypatch):
    """The plain way, to compare with: every prompt, and at every step every response until the last has ended."""
    prompts = PROMPTS["unequal and repeated"]
    counts = calls_of(model(), monkeypatch)
    responses = sampled(model(), prompts, 40, shares_prompts=False, drops_finished=False).tokens
    assert counts == [sum(map(len, prompts))] + [len(prompts)] * (max(map(len, responses)) - 1)


def test_sampling_leaves_the_model_as_it_was():
    """No gradients kept, and the attention that it had, since training goes on with it."""
    sampled(model(), PROMPTS["unequal"], 3)
    assert model().config._attn_implementation == "sdpa"
    assert all(parameter.grad is None for parameter in model().parameters())


def test_order_of_many_prompts_is_kept():
    """Responses come back in the order of the prompts, however these repeat."""
    draw = random.Random(0)
    kinds = [[draw.randrange(VOCABULARY) for _ in range(draw.randint(1, 9))] for _ in range(8)]
    assert_as_generated(model(), [draw.choice(kinds) for _ in range(40)], 30, seed=5)


@pytest.mark.parametrize("prompts", [[], [[]], [[1, 2], []]])
def test_empty_prompts_are_refused(prompts):
    """Nothing predicts the first token of a response to them."""
    with pytest.raises(ValueError, match="at least one token"):
        sample(model(), model().config, prompts, 4, ENDS)
    assert model().config._attn_implementation == "sdpa"


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_probabilities_that_are_not_finite_are_refused(broken):
    """argmax would pick some token of a broken model in silence, and a run would train on it."""
    policy = small_model("llama", VOCABULARY)
    with torch.no_grad():
        policy.lm_head.weight[7] = broken
    with pytest.raises(FloatingPointError, match="token 1 "):
        sampled(policy, PROMPTS["unequal"], 4)
    assert policy.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("is_log_of_uniform", [True, False])
@pytest.mark.parametrize("active", [[0, 1, 2, 3], [1, 3]])
def test_noise_is_that_of_multinomial(is_log_of_uniform, active, monkeypatch):
    """Bit for bit, and the generator is left as multinomial leaves it; finished rows take their numbers along."""
    if is_log_of_uniform and not decode.exponential_is_log_of_uniform():
        pytest.skip("this build of torch draws exponential numbers in another way")
    monkeypatch.setattr(decode, "exponential_is_log_of_uniform", lambda: is_log_of_uniform)
    torch.manual_seed(3)
    expected = torch.empty(4, 500).exponential_()
    after = torch.get_rng_state()
    torch.manual_seed(3)
    noise = decode.exponential_noise(torch.zeros(len(active), 500), torch.tensor(active), 4)
    assert torch.equal(noise, expected[active])
    assert torch.equal(torch.get_rng_state(), after)
