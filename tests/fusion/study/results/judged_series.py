"""A series of four folds that runs in seconds."""

CONFIG = {
    "name": "inside",
    "folds": 4,
    "encoders": ["mocov2-mini@0.5", "mae-mini@0.5", "untrained:mocov2-mini@0.5"],
    "strategies": ["full", "probe"],
    "only": {"mae-mini": ["full"], "untrained:mocov2-mini": ["full"]},
    "learning_rates": [1e-2],
    "training": {"epochs": 1, "batch": 12},
    "labels": [12],
    "seeds": [0],
    "reference": "full",
    "raw_pixels": False,
}
