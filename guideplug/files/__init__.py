"""Files: written whole or not at all, read within limits, tensors without code, and trust in code that files name."""
