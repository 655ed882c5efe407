"""What the tests compare with: written independently of the package."""
