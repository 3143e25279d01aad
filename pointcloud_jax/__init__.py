"""Features of point clouds that do not change when the cloud turns.

Rotations, quadrature rules on the sphere, spectra of clouds, neighbourhoods, local dot products and
vector neurons, in the modules `rotations`, `sphere`, `dasft`, `graph`, `l2dp` and `vector_neurons`.
"""
