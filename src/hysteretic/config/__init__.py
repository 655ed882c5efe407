"""What was asked for: settings, recipes, YAML."""
