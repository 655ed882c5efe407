"""A stream must give the log-probabilities and gradients of rows that go through the model alone, without padding."""

import random
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from small_models import ARCHITECTURES, response_logits, small_model
from transformers import MistralConfig, MistralForCausalLM

from hysteretic.lean import packed as packed_module
from hysteretic.lean.attention import UnsupportedAttentionError, packed_attention
from hysteretic.lean.packed import Family, Packed, TreeAttention, prompt_numbers, same_prompts

EXAMPLES = settings(max_examples=40, deadline=None, derandomize=True, database=None)
VOCABULARY = 23

BATCHES = {
    "one row": [(5, [3])],
    "one token each": [(1, [1])],
    "prompts of one token": [(1, [4, 2, 1]), (1, [3])],
    "several prompts in a square": [(7, [3, 5]), (1, [2]), (12, [1, 1, 4])],
    "16 responses to a prompt": [(30, list(range(1, 17)))],
    "rows without a token": [(6, [0, 4, 0, 2]), (9, [0, 0]), (3, [5, 0])],
    "a square just full": [(57, [100, 100])],
    "one token too many for a square": [(58, [100, 100])],
    "squares one after another": [(40, [60, 30]), (50, [70, 20]), (30, [80]), (1, [200])],
    "a long prompt": [(400, [20, 3, 70, 1, 0, 90, 130, 5])],
    "16 responses to a long prompt": [(300, [17] * 16)],
    "long without a prefix": [(1, [200, 100, 30])],
    "a response longer than a chunk": [(2, [300, 4])],
    "short, long, short": [(20, [5, 9]), (260, [30, 12]), (3, [7, 1]), (1, [2])],
}


def rows_of(groups, seed=0):
    """Rows (prompt, response) of random tokens, responses to a prompt not adjacent."""
    draw = random.Random(seed)
    tokens = lambda n: [draw.randrange(VOCABULARY) for _ in range(n)]  # noqa: E731
    groups = [(tokens(length), [tokens(n) for n in responses]) for length, responses in groups]
    rows = [(prompt, response) for prompt, responses in groups for response in responses]
    draw.shuffle(rows)
    return rows


def padded(rows, margin=2):
    """Prompts padded on the left, completions on the right, with tokens that must not matter, and `margin` too wide."""
    P, T = (max(len(row[part]) for row in rows) + margin for part in (0, 1))
    noise = torch.Generator().manual_seed(len(rows))
    prompt_ids = torch.randint(VOCABULARY, (len(rows), P), generator=noise)
    completion_ids = torch.randint(VOCABULARY, (len(rows), T), generator=noise)
    prompt_mask, completion_mask = torch.zeros_like(prompt_ids), torch.zeros_like(completion_ids)
    for i, (prompt, response) in enumerate(rows):
        prompt_ids[i, P - len(prompt) :], prompt_mask[i, P - len(prompt) :] = torch.tensor(prompt), 1
        if response:
            completion_ids[i, : len(response)], completion_mask[i, : len(response)] = torch.tensor(response), 1
    return prompt_ids, prompt_mask, completion_ids, completion_mask


def in_stream(model, config, rows):
    """Log-probabilities [B, T]; call within packed_attention."""
    packed = Packed.of(*padded(rows))
    logits = model(
        input_ids=packed.input_ids,
        position_ids=packed.position_ids,
        stream_attention=packed.attention,
        use_cache=False,
    ).logits
    return packed.rows(logits.log_softmax(-1).gather(2, packed.labels.clamp(min=0)[..., None]).squeeze(2))


def alone(model, rows):
    """Log-probabilities, one tensor a row."""
    return [
        response_logits(model, *row).log_softmax(-1).gather(1, torch.tensor(row[1])[:, None]).squeeze(1)
        if row[1]
        else torch.zeros(0, dtype=torch.float64)
        for row in rows
    ]


def gradients(model):
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def assert_as_alone(model, config, rows):
    """The values, and the gradient of a sum with a random weight for every token."""
    expected = alone(model, rows)
    weights = [torch.randn(len(values), dtype=torch.float64) for values in expected]
    sum((w * values).sum() for w, values in zip(weights, expected, strict=True)).backward()
    expected_gradients = gradients(model)
    with packed_attention(config):
        found_BT = in_stream(model, config, rows)
        weights_BT = torch.zeros_like(found_BT)
        for i, w in enumerate(weights):
            weights_BT[i, : len(w)] = w
        (weights_BT * found_BT).sum().backward()
    found_gradients = gradients(model)
    for i, values in enumerate(expected):
        torch.testing.assert_close(found_BT[i, : len(values)], values, rtol=0, atol=1e-10)
        assert not found_BT[i, len(values) :].any()
    assert found_gradients.keys() == expected_gradients.keys()
    assert any(gradient.abs().max() > 1e-3 for gradient in expected_gradients.values())
    for name, gradient in expected_gradients.items():
        torch.testing.assert_close(found_gradients[name], gradient, rtol=1e-9, atol=1e-9, msg=lambda m, n=name: n + m)


@pytest.mark.parametrize("batch", BATCHES)
def test_a_stream_is_its_rows(batch):
    """Short families, long ones, chunks and what lies between: nothing of the layout may show in the numbers."""
    model = small_model("qwen2")
    assert_as_alone(model, model.config, rows_of(BATCHES[batch]))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("batch", ["several prompts in a square", "short, long, short"])
def test_a_stream_is_its_rows_for_other_models(architecture, batch):
    """Heads that share keys and values or do not, rotations of all or part of a head, biases or none."""
    model = small_model(architecture)
    assert_as_alone(model, model.config, rows_of(BATCHES[batch]))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_checkpointed_layers_recompute_the_same_stream(architecture):
    """The backward pass runs every layer again, and must attend then as it did before."""
    model = small_model(architecture)
    model.gradient_checkpointing_enable()
    model.train()
    runs = []
    inner = getattr(model, model.base_model_prefix)
    inner.layers[0].input_layernorm.register_forward_hook(lambda *_: runs.append(model.config._attn_implementation))
    rows = rows_of(BATCHES["short, long, short"])
    assert_as_alone(model, model.config, rows)
    assert runs.count("hysteretic_packed") == 2
    assert runs.count("sdpa") == 2 * sum(1 for row in rows if row[1])


@pytest.mark.parametrize("is_checkpointed", [False, True])
def test_adapters_learn_the_same_from_a_stream(is_checkpointed):
    """LoRA wraps the model; keywords and the exchanged attention must reach what it wraps."""
    base = small_model("qwen2")
    targets = ["q_proj", "v_proj", "o_proj", "up_proj"]
    adapted = get_peft_model(base, LoraConfig(r=3, target_modules=targets, init_lora_weights=False)).double()
    if is_checkpointed:
        adapted.enable_input_require_grads()
        adapted.gradient_checkpointing_enable()
        adapted.train()
    assert_as_alone(adapted, base.config, rows_of(BATCHES["short, long, short"]))
    assert {name for name, p in adapted.named_parameters() if p.requires_grad} == {
        name for name, _ in adapted.named_parameters() if "lora_" in name
    }


groups = st.lists(st.tuples(st.integers(1, 12), st.lists(st.integers(0, 9), max_size=5)), min_size=1, max_size=5)
batches = st.builds(rows_of, groups, st.integers(0, 999)).filter(lambda rows: any(response for _, response in rows))


@EXAMPLES
@given(batches)
def test_the_stream_holds_each_prompt_once_and_nothing_else(rows):
    """P - 1 tokens of every distinct prompt that has a response, L of every response; that is the saving."""
    stream = Packed.of(*padded(rows))
    answered = {tuple(prompt) for prompt, response in rows if response}
    tokens = sum(len(prompt) - 1 for prompt in answered) + sum(len(response) for _, response in rows)
    assert stream.input_ids.shape == stream.position_ids.shape == stream.labels.shape == (1, tokens)
    assert int((stream.labels != -100).sum()) == sum(len(response) for _, response in rows)


@EXAMPLES
@given(batches)
def test_values_of_the_stream_return_to_their_rows(rows):
    """Labels laid back into rows are the completions, and padding is zero."""
    inputs = padded(rows)
    stream = Packed.of(*inputs)
    assert torch.equal(stream.rows(stream.labels), inputs[2] * inputs[3])


@EXAMPLES
@given(batches)
def test_rows_are_grouped_by_their_prompts(rows):
    """In the order of first appearance; one prompt that ends like another, longer one is another prompt."""
    expected = {}
    for i, (prompt, _) in enumerate(rows):
        expected.setdefault(tuple(prompt), []).append(i)
    prompt_ids, prompt_mask, *_ = padded(rows)
    assert same_prompts(prompt_ids, prompt_mask) == list(expected.values())
    numbers = prompt_numbers(prompt_ids, prompt_mask)
    assert len(set(zip(numbers, (tuple(prompt) for prompt, _ in rows), strict=True))) == len(expected)
    assert len(set(numbers)) == len(expected)


def test_padding_is_no_part_of_a_prompt():
    """Nor is a first token padding because it has the padding's id: [0, 3] and [3] are two prompts."""
    prompt_ids = torch.tensor([[0, 0, 3], [7, 0, 3], [0, 0, 3], [9, 9, 3]])
    prompt_mask = torch.tensor([[0, 1, 1], [0, 1, 1], [0, 0, 1], [0, 0, 1]])
    assert same_prompts(prompt_ids, prompt_mask) == [[0, 1], [2, 3]]


families = st.lists(
    st.tuples(st.integers(0, 70), st.lists(st.integers(1, 12), max_size=6)).filter(lambda f: f[0] + len(f[1]) > 0),
    min_size=1,
    max_size=5,
)


@EXAMPLES
@given(families, st.sampled_from([1, 8, 32]), st.sampled_from([1, 2, 4]))
def test_a_token_sees_its_prompt_and_its_response_up_to_itself(drawn, small, heads):
    """Attention of every layout against one written token by token; SMALL is lowered so that few tokens reach all of
    squares, chunks and single responses."""
    tokens = [
        (f, b) for f, (prefix, sizes) in enumerate(drawn) for b, n in enumerate([prefix, *sizes]) for _ in range(n)
    ]
    torch.manual_seed(len(tokens))
    query = torch.randn(1, 4, len(tokens), 3, dtype=torch.float64)
    key, value = torch.randn(2, 1, heads, len(tokens), 3, dtype=torch.float64)
    with mock.patch.object(packed_module, "SMALL", small):
        attention = TreeAttention.of([Family(prefix, tuple(sizes)) for prefix, sizes in drawn])
    found = attention.attend(0, query, key, value, 0.7, 0.0)
    sees = [[j <= i and tokens[j] in ((f, 0), (f, b)) for j in range(len(tokens))] for i, (f, b) in enumerate(tokens)]
    hidden = ~torch.tensor(sees)
    for head in range(4):
        scores = 0.7 * query[0, head] @ key[0, head * heads // 4].T
        expected = scores.masked_fill(hidden, float("-inf")).softmax(-1) @ value[0, head * heads // 4]
        torch.testing.assert_close(found[0, :, head], expected, rtol=0, atol=1e-12)


@pytest.fixture(scope="module")
def qwen():
    return small_model("qwen2")


several = batches.filter(lambda rows: len(rows) > 1)


@EXAMPLES
@given(several, st.booleans(), st.data())
def test_a_token_moves_only_what_comes_after_it_in_its_response(qwen, rows, is_chunked, data):
    """Were a response to see another, its ratio would depend on what happens to be in the micro-batch."""
    i = data.draw(st.sampled_from([i for i, row in enumerate(rows) if row[1]]), label="row")
    j = data.draw(st.integers(0, len(rows[i][1]) - 1), label="token")
    response = list(rows[i][1])
    response[j] = (response[j] + 1) % VOCABULARY
    others = [(prompt, response if k == i else own) for k, (prompt, own) in enumerate(rows)]
    small = 4 if is_chunked else 256
    with mock.patch.object(packed_module, "SMALL", small), torch.no_grad(), packed_attention(qwen.config):
        before, after = in_stream(qwen, qwen.config, rows), in_stream(qwen, qwen.config, others)
    moved = (before - after).abs() > 1e-11
    expected = torch.zeros_like(moved)
    expected[i, j : len(response)] = True
    assert torch.equal(moved, expected)


def test_empty_prompts_are_refused():
    """Nothing would predict the first token of a response to it."""
    prompt_ids, prompt_mask, completion_ids, completion_mask = padded(rows_of([(3, [2, 2])]))
    prompt_mask[1] = 0
    with pytest.raises(ValueError, match="prompt token in every row"):
        Packed.of(prompt_ids, prompt_mask, completion_ids, completion_mask)


def test_rows_without_any_completion_token_are_refused():
    """A stream of no tokens cannot go through a model; whoever plans must leave such micro-batches out."""
    with pytest.raises(ValueError, match="one completion token"):
        Packed.of(*padded(rows_of([(3, [0, 0]), (4, [0])])))


def test_a_model_attends_as_before_after_an_exception(qwen):
    """Else a run that goes on after an error would evaluate with an attention that it gives nothing to."""

    def failing():
        with packed_attention(qwen.config):
            assert qwen.config._attn_implementation == "hysteretic_packed"
            raise KeyError

    with pytest.raises(KeyError):
        failing()
    assert qwen.config._attn_implementation == "sdpa"
    with packed_attention(qwen.config):
        pass
    assert qwen.config._attn_implementation == "sdpa"


def test_attention_that_a_stream_does_not_follow_is_refused(qwen):
    """A window counts tokens of the stream, not of the row; without `stream_attention`, the mask is unknown."""
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = MistralConfig(vocab_size=VOCABULARY, num_key_value_heads=1, sliding_window=4, **sizes)
    windowed = MistralForCausalLM(config)
    with pytest.raises(UnsupportedAttentionError, match="sliding_window"), packed_attention(config):
        in_stream(windowed, config, rows_of([(5, [3])]))
    with pytest.raises(UnsupportedAttentionError, match="keywords"), packed_attention(qwen.config):
        qwen(input_ids=torch.tensor([[1, 2, 3]]))
