"""fusion: from encoders and images to an answer with an error bar.

from fusion import FusionClassifier
model = FusionClassifier(["mocov2-mini", "mae-mini"]).fit(images, labels, groups=patients)
"""

from fusion.data.samples import Samples
from fusion.data.sets.brain_regions import brain_regions
from fusion.estimators.classifier import FusionClassifier
from fusion.evaluation.agreement import Agreement, agreement
from fusion.evaluation.correlation import Correlation, correlation
from fusion.evaluation.intervals import Interval
from fusion.evaluation.score import Evaluation, contributions, difference, evaluate
from fusion.features.extract import extract
from fusion.selection.scan import Scan, scan
from fusion.similarity.canonical import cca, pwcca, svcca
from fusion.similarity.compare import Comparison, before_after, compare, pairwise
from fusion.similarity.interval import interval
from fusion.similarity.measures import cka, knn_overlap, minibatch_cka, procrustes, rbf_cka, rsa
from fusion.similarity.pixel_cca import pixel_cca
from fusion.tuning.phases import Phase
from fusion.tuning.settings import Training
from fusion.tuning.strategies import strategies

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
