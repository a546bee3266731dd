"""Few images, and models that are fitted on them in a second."""

from fusion import Training, brain_regions

TRAIN = brain_regions("train", labels=60)
HELD = brain_regions("validation", labels=60)
PAIR = ["mocov2-mini@0.5", "mae-mini@0.25"]
SHORT = Training(epochs=1, batch=16, patience=None)
