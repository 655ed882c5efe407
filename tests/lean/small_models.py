"""Random two-layer language models, and rows of tokens that go through them one at a time."""

import torch
from torch import nn
from transformers import (
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

ARCHITECTURES = ("qwen2", "llama", "gpt_neox")


def small_model(architecture="qwen2", vocabulary=23, seed=0, dtype=torch.float64):
    """Four heads of eight; keys and values are shared by pairs in Qwen2, by all in Llama, by none in GPT-NeoX."""
    torch.manual_seed(seed)
    sizes = {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 4096,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": 0,
        "attn_implementation": "sdpa",
    }
    if architecture == "qwen2":
        model = Qwen2ForCausalLM(Qwen2Config(**sizes, num_key_value_heads=2, tie_word_embeddings=True))
    elif architecture == "llama":
        model = LlamaForCausalLM(LlamaConfig(**sizes, num_key_value_heads=1))
    else:
        model = GPTNeoXForCausalLM(GPTNeoXConfig(**sizes))
    model.to(dtype)
    if dtype == torch.float64:
        _norms_in_double(model)
    with torch.no_grad():
        for parameter in model.parameters():  # biases and norms too, lest a mistake hide behind zeros and ones
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def _norms_in_double(model):
    """transformers' RMS norms compute in float32, which would hide differences below 1e-7."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child).__name__.endswith("RMSNorm"):
                setattr(parent, name, nn.RMSNorm(child.weight.shape, child.variance_epsilon, dtype=torch.float64))


def response_logits(model, prompt, response):
    """Logits that predict the tokens of a response, [L, V], from its row alone and without padding."""
    ids = torch.tensor([[*prompt, *response]])
    return model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1]
