"""Local descriptors: dot products with neighbors."""
