"""Runs: one training run and its folder, evaluation, and the pages made of them."""
