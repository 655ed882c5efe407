"""Scoring of responses, and the reward function that TRL gets."""
