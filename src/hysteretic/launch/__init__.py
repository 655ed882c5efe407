"""Translate a recipe into a verl command, and export its problems for it."""
