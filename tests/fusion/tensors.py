import numpy as np

DRAW = np.random.default_rng(0)
