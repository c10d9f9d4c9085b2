"""One small module for each scenario: what is sent, and what it needs before."""
