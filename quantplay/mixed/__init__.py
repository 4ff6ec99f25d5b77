"""Mixed precision: which parts of a model need more bits, and how the bytes are best spent."""
