"""`python -m lejepa_jax.augment`: a table of views."""

from lejepa_jax.augment.sheet import main

if __name__ == "__main__":
    main()
