"""Held-out evaluation: generate, grade, pass@k, majority votes, variants, confusions."""
