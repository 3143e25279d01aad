"""Spectra of clouds: direction-aware, by degree, and of pairs."""
