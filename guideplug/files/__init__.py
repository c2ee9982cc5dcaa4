"""Files: atomic writes, reads within limits, tensors without code, and trust in code named by files."""
