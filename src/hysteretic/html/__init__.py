"""Pages and charts, without knowing what is on them."""
