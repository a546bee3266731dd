"""Training patches of the shipped task, thirty of each region."""

import fusion

TRAIN = fusion.brain_regions("train", labels=180)
