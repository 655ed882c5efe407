"""A recipe as verl's command, and its problems exported for it."""
