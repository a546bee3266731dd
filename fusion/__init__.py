"""fusion: from encoders and images to an answer with an error bar.

from fusion import FusionClassifier
model = FusionClassifier(["mocov2-mini", "mae-mini"]).fit(images, labels, groups=patients)
"""

from fusion.canonical import cca, pwcca, svcca
from fusion.classifier import FusionClassifier
from fusion.comparison import Comparison, before_after, compare, pairwise
from fusion.evaluation import Evaluation, Interval, contributions, difference, evaluate
from fusion.features import extract
from fusion.jackknife import interval
from fusion.phases import Phase
from fusion.pixels import pixel_cca
from fusion.predictions import Agreement, Correlation, agreement, correlation
from fusion.samples import Samples, brain_regions
from fusion.select import Scan, scan
from fusion.settings import Training
from fusion.similarity import cka, knn_overlap, minibatch_cka, procrustes, rbf_cka, rsa
from fusion.tuning import strategies

__all__ = [
    "Agreement",
    "Comparison",
    "Correlation",
    "Evaluation",
    "FusionClassifier",
    "Interval",
    "Phase",
    "Samples",
    "Scan",
    "Training",
    "agreement",
    "before_after",
    "brain_regions",
    "cca",
    "cka",
    "compare",
    "contributions",
    "correlation",
    "difference",
    "evaluate",
    "extract",
    "interval",
    "knn_overlap",
    "minibatch_cka",
    "pairwise",
    "pixel_cca",
    "procrustes",
    "pwcca",
    "rbf_cka",
    "rsa",
    "scan",
    "strategies",
    "svcca",
]
