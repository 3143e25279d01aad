"""Errors that end a run with one line."""


class UsageError(ValueError):
    """Something the person who typed the command can repair; printed as one line."""


class RunError(RuntimeError):
    """A run cannot go on; the message says why, and what is kept."""


class DataError(RunError):
    """The data became unreadable during training."""


class NonFiniteLossError(RunError):
    """Too many steps in a row had a non-finite gradient or update (NaN or Inf)."""
