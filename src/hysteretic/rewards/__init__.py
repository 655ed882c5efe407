"""Where responses are scored, and the reward function that TRL is handed."""
