"""Where the probes were; goes when no task imports them from here."""

from lejepa_jax.evaluation.suite import probe_suite

__all__ = ["probe_suite"]
