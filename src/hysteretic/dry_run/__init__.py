"""Make one small update of any recipe, on a CPU, without the real weights."""
