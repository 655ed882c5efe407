"""Names of metrics in metrics.jsonl and in trackers: ours, and TRL's where we read them.

Ours cover the whole generation batch and are equal on all ranks. "share" in a name means a fraction.
"""

from __future__ import annotations

ALPHA = "hpo/alpha"
POSITIVE_SHARE = "hpo/positive_share"
NEGATIVE_SHARE = "hpo/negative_share"
SILENT_SHARE = "hpo/silent_share"
POSITIVE_MASS = "hpo/positive_mass"
NEGATIVE_MASS = "hpo/negative_mass"
MEAN_LENGTH = "hpo/mean_length"
FORWARDED_TOKENS = "hpo/forwarded_tokens"
GRADIENT_TOKEN_SHARE = "hpo/gradient_token_share"

MEANINGS = {
    ALPHA: "The factor on negative advantages.",
    POSITIVE_SHARE: "Fraction of responses with a positive advantage (in the rewards of `sign_rewards`, if set).",
    NEGATIVE_SHARE: "Fraction of responses with a negative advantage (likewise).",
    SILENT_SHARE: "Fraction of responses in zero-variance (silent) groups, whose rewards are all equal (likewise).",
    POSITIVE_MASS: "Gradient mass of positive responses at an importance ratio of 1 (Objective.on_policy_mass).",
    NEGATIVE_MASS: "Gradient mass of negative responses at an importance ratio of 1 (Objective.on_policy_mass).",
    MEAN_LENGTH: "Mean response length in trained tokens.",
    FORWARDED_TOKENS: "Tokens in an update's forward passes, over all ranks.",
    GRADIENT_TOKEN_SHARE: "Fraction of the forwarded tokens that are trained and have a gradient.",
}
"""A one-line description of each of our metrics."""

ACCURACY = "accuracy"
"""Fraction of right responses, logged by the reward function of a task (`hysteretic train`)."""

# TRL's

REWARD = "reward"
"""Mean reward of the generation batch; logged with the first update of a rollout only."""
COMPLETION_LENGTH = "completions/mean_length"
"""Mean length of a response in generated tokens."""
ENTROPY = "entropy"
"""Mean entropy of the trained tokens, in nats."""
KL = "kl"
"""Divergence from the reference policy, in nats per token; logged if beta is not 0."""
STEP_TIME = "step_time"
"""Seconds of an update, with its part of the rollout."""
