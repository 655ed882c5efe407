"""One small update of any recipe, on a CPU, without its weights."""
