"""One experiment from configuration to report."""
