"""Predict before training whether it will start, and with which group size."""
