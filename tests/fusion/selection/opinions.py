import fusion

TRAIN = fusion.brain_regions("train", labels=180)
