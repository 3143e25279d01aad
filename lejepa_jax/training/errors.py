"""Errors that end a run with one line."""


class UsageError(ValueError):
    """Something the person who typed the command can repair; printed as one line."""


class NonFiniteLossError(RuntimeError):
    """Too many steps in a row had a non-finite gradient or update (NaN or Inf)."""
