"""`python -m lejepa_jax.augment`: a sheet of views."""

from lejepa_jax.augment.views import main

if __name__ == "__main__":
    main()
