"""A study on paper: the least that a config must say."""

from fusion.study import config as config_

LEAST = {"name": "x", "encoders": ["a"], "strategies": ["full"], "raw_pixels": False, "seeds": [0]}


def config(**values):
    return config_.parse({**LEAST, **values}, "here")
