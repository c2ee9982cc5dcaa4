"""Checkpoints of other programs: read without executing anything, described by a sheet, imported as safetensors."""
