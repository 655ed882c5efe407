"""The settings of a run: recipes, YAML and flags."""
