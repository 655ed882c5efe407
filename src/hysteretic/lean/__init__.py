"""Cheaper updates and sampling: packed sequences, a decoding loop, and the planning of micro-batches."""
