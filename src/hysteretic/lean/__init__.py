"""Updates that leave out what needs no gradient: packed sequences, decoding, and their plans."""
