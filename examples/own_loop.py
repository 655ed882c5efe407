"""From prompts to gradients in one loop: plain torch, any algorithm, any Hugging Face model. Start reading here.

python examples/own_loop.py                      the embedded tiny model, on a CPU
python examples/own_loop.py --model Qwen/Qwen2.5-0.5B-Instruct --prompt chat --tokens 512 --learning-rate 1e-6
"""

import argparse
import random

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import hysteretic as hy
from hysteretic import tasks
from hysteretic.models import tiny_model

P, G, UPDATES, MICRO = 32, 8, 4, 32  # prompts, responses to each, updates per rollout, rows of a micro-batch
OPTIONS = {"algorithm": "a-hpo", "model": "", "prompt": "terse", "tokens": 72, "rollouts": 40, "learning-rate": 6e-4}

parser = argparse.ArgumentParser()
for option, default in OPTIONS.items():
    parser.add_argument(f"--{option}", type=type(default), default=default)
args = parser.parse_args()
random.seed(0)
torch.manual_seed(0)
path = args.model or str(tiny_model())
tokenizer = AutoTokenizer.from_pretrained(path, padding_side="left")
tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
policy = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)  # in eval mode: no dropout in the ratios
optimizer = torch.optim.AdamW(policy.parameters(), lr=args.learning_rate, weight_decay=0.0)
task = tasks.load("countdown-3", prompt=args.prompt, largest=9, largest_target=99, guess_rate_below=0.06)
objective = hy.make(args.algorithm).with_max_length(args.tokens)


def logprobs_of(tokens: torch.Tensor, attention: torch.Tensor, length: int) -> torch.Tensor:
    """log pi of the last `length` tokens of each row, [b, length]."""
    positions = (attention.cumsum(dim=1) - 1).clamp(min=0)
    logits = policy(tokens, attention_mask=attention, position_ids=positions).logits[:, -length - 1 : -1]
    return logits.log_softmax(dim=-1).gather(2, tokens[:, -length:, None]).squeeze(2)


for rollout in range(args.rollouts):
    # Prompts to responses: G for each, sampled from the policy as it is.
    problems = [problem for problem in random.sample(task.problems("train"), P) for _ in range(G)]
    prompts = [problem.prompt for problem in problems]
    if args.prompt == "chat":
        prompts = tokenizer.apply_chat_template(prompts, tokenize=False, add_generation_prompt=True)
    asked = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=args.prompt != "chat")
    sampling = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "repetition_penalty": 1.0}
    tokens = policy.generate(**asked, **sampling, max_new_tokens=args.tokens, eos_token_id=tokenizer.eos_token_id)
    responses = tokens[:, asked.input_ids.shape[1] :]
    is_end = responses == tokenizer.eos_token_id
    mask = is_end.cumsum(dim=1) - is_end.long() == 0  # trained: everything up to the first end token, and that one
    attention = torch.cat([asked.attention_mask, mask.long()], dim=1)
    with torch.no_grad():
        cut = zip(tokens.split(MICRO), attention.split(MICRO), strict=True)
        old = torch.cat([logprobs_of(*rows, responses.shape[1]) for rows in cut])

    # Responses to weighted advantages: with the counts of the whole batch, before it is cut.
    texts = tokenizer.batch_decode(responses, skip_special_tokens=True)
    rewards = torch.tensor([task.score(*pair).reward for pair in zip(problems, texts, strict=True)])
    advantages = objective.advantages(rewards, group_size=G)
    statistics = hy.BatchStatistics.of(advantages, mask)
    weighted = objective.weigh(advantages, statistics)

    # Weighted advantages to gradients: several updates per rollout, each the sum of its micro-batches.
    for update in torch.randperm(P * G).chunk(UPDATES):
        for rows in update.split(MICRO):
            logprobs = logprobs_of(tokens[rows], attention[rows], responses.shape[1])
            output = objective.loss(logprobs, old[rows], weighted[rows], mask[rows], statistics, updates=UPDATES)
            output.loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    alpha = objective.alpha(statistics)
    weight = "" if alpha is None else f"alpha {alpha:.2f}, "
    length = f"{statistics.mean_length:.0f} tokens per response"
    print(f"rollout {rollout + 1}: reward {rewards.mean():.3f}, {weight}{length}", flush=True)
