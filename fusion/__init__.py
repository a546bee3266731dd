"""fusion: from encoders and images to an answer with an error bar.

from fusion import FusionClassifier
model = FusionClassifier(["mocov2-mini", "mae-mini"]).fit(images, labels, groups=patients)
"""

from fusion.classifier import FusionClassifier
from fusion.evaluation import Evaluation, Interval, compare, contributions, evaluate
from fusion.phases import Phase
from fusion.samples import Samples, brain_regions
from fusion.settings import Training
from fusion.tuning import strategies

__all__ = [
    "Evaluation",
    "FusionClassifier",
    "Interval",
    "Phase",
    "Samples",
    "Training",
    "brain_regions",
    "compare",
    "contributions",
    "evaluate",
    "strategies",
]
