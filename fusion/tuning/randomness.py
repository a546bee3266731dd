"""The surroundings of a fit: random numbers that repeat, and the caller's left as they were."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def repeatable(seed: int, deterministic: bool) -> Iterator[None]:
    """A random state of our own; the caller's is left as it was, and so is the choice of algorithms."""
    before = torch.are_deterministic_algorithms_enabled()
    states = random.getstate(), np.random.get_state()  # accelerate sets these at a resume
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS cannot be deterministic
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(deterministic or before)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before)
            random.setstate(states[0])
            np.random.set_state(states[1])
