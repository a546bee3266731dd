"""What an augmented image costs, beside the step that learns from it.

OMP_NUM_THREADS=1 python -m pytest tests/benchmarks/test_augmentation.py -m benchmark -s
"""

import time

import pytest
import torch

import zoo
from fusion.data.augmentation import augment, modalities

COUNT = 64


def seconds(work):
    work()
    started = time.process_time()
    work()
    return time.process_time() - started


@pytest.mark.benchmark
def test_augmentation_beside_a_step():
    encoder = zoo.load("mocov2-mini", 1.0).train()
    images = torch.rand(COUNT, 1, 64, 64)
    step = seconds(lambda: encoder(images).square().sum().backward())
    print(f"\nforward and backward: {1000 * step / COUNT:.2f} ms per image")
    for modality in modalities():
        spent = seconds(lambda modality=modality: augment(images, modality, range(COUNT)))
        print(f"{modality}: {1000 * spent / COUNT:.2f} ms per image, {spent / step:.2f} of it")
