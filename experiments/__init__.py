"""Experiments: one file each, with a Config, a model, data, and ``experiment(config)``.

A variable of the environment that JAX cannot read ends the process with one line.
"""

import sys

try:
    import jax as jax
except ValueError as error:
    print(f"error: {error}; correct or unset this variable of the environment", file=sys.stderr)
    sys.exit(2)
