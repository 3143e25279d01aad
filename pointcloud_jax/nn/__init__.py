"""Networks on clouds, as Flax NNX modules."""
