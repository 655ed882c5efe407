"""Shared by the whole package: errors and hints, atomic file writes, checkpoints, subprocesses, the terminal."""
