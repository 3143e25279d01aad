"""Null mean of RDMReg by simulation: what `objectives/regularizers/rectified_null.py` stores.

    python -m benchmarks.calibrate_regularizers > rectified_null.py

Two independent samples of the rectified law are compared along random slices, as the regularizer
does; the values are divided by twice the variance of the law. 4 minutes on a CPU core.
"""

import numpy as np

SIZES = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
DIMS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
POWERS = (1, 2)
MAX_SLICES, NUMBERS = 64, 20_000_000


def draw(rng, power, shape):
    """Draw samples of the law, rectified, of unit variance before."""
    x = rng.laplace(size=shape) / 2**0.5 if power == 1 else rng.normal(size=shape)
    return np.maximum(x, 0)


def simulate(power, num_samples, dim):
    """Mean value, divided by twice the variance of a coordinate."""
    rng = np.random.default_rng(1000 * num_samples + 10 * dim + power)
    slices = min(MAX_SLICES, 4 * dim)  # more would not be independent
    draws = int(np.clip(NUMBERS // (num_samples * (dim + slices)), 30, 4000))
    values = []
    for _ in range(draws):
        a = rng.normal(size=(dim, slices))
        a /= np.linalg.norm(a, axis=0)
        x, y = (np.sort(draw(rng, power, (num_samples, dim)) @ a, 0) for _ in range(2))
        values.append(np.square(x - y).mean())
    mean_square = 0.5
    mean = 2**-1.5 if power == 1 else (2 * np.pi) ** -0.5
    return np.mean(values) / (2 * (mean_square - mean**2))


def main():
    """Print the module."""
    print(
        '"""Simulated null means of RDMReg, by `python -m benchmarks.calibrate_regularizers`."""\n'
    )
    print(f"SIZES = {SIZES}\nDIMS = {DIMS}")
    print("#: By the power of the law: a row a size, a column a dimension.")
    print("NULL_MEANS = {")
    for power in POWERS:
        print(f"    {power}: (")
        for n in SIZES:
            row = ", ".join(f"{simulate(power, n, d):.4g}" for d in DIMS)
            print(f"        ({row}),", flush=True)
        print("    ),")
    print("}")


if __name__ == "__main__":
    main()
