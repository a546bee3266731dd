"""A recipe small enough for a test, for either method."""

RECIPE = """
name: {method}-toy
method: {method}
architecture: resnet18
kwargs: {{in_chans: 1, channels: [8, 8, 16, 16]}}
patches: {{mr: 192}}
mean: 0.44
std: 0.29
epochs: 4
batch_size: 64
learning_rate: 0.001
weight_decay: 0.0001
seed: 0
options: {options}
"""
OPTIONS = {
    "contrastive": "{dimensions: 16, temperature: 0.2, queue: 128, momentum: 0.99, jitter: 0.6, crop: 0.3}",
    "restorative": "{mask: 0.5, square: 8, jitter: 0.6}",
}
