"""fusion: from encoders and images to an answer with an error bar.

from fusion import FusionClassifier
model = FusionClassifier(["mocov2-mini", "mae-mini"]).fit(images, labels, groups=patients)
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fusion.data.samples import Samples
    from fusion.data.sets.brain_regions import brain_regions
    from fusion.estimators.classifier import FusionClassifier
    from fusion.estimators.leaderboard import Leaderboard
    from fusion.evaluation.agreement import Agreement, agreement
    from fusion.evaluation.correlation import Correlation, correlation
    from fusion.evaluation.curves import DecisionCurve, Reliability, decision_curve, reliability_curve
    from fusion.evaluation.intervals import Interval
    from fusion.evaluation.operating import OperatingPoint, operating_point
    from fusion.evaluation.score import Evaluation, contributions, difference, evaluate
    from fusion.features.extract import extract
    from fusion.features.taps import Taps
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
    "DecisionCurve",
    "Evaluation",
    "FusionClassifier",
    "Interval",
    "Leaderboard",
    "OperatingPoint",
    "Phase",
    "Reliability",
    "Samples",
    "Scan",
    "Taps",
    "Training",
    "agreement",
    "before_after",
    "brain_regions",
    "cca",
    "cka",
    "compare",
    "contributions",
    "correlation",
    "decision_curve",
    "difference",
    "evaluate",
    "extract",
    "interval",
    "knn_overlap",
    "minibatch_cka",
    "operating_point",
    "pairwise",
    "pixel_cca",
    "procrustes",
    "pwcca",
    "rbf_cka",
    "reliability_curve",
    "rsa",
    "scan",
    "strategies",
    "svcca",
]

# A name is imported when it is first touched: a list of cards, or a page of help, need not wait for torch.
_HOMES = {
    "Agreement": "fusion.evaluation.agreement.Agreement",
    "Comparison": "fusion.similarity.compare.Comparison",
    "Correlation": "fusion.evaluation.correlation.Correlation",
    "DecisionCurve": "fusion.evaluation.curves.DecisionCurve",
    "Evaluation": "fusion.evaluation.score.Evaluation",
    "FusionClassifier": "fusion.estimators.classifier.FusionClassifier",
    "Interval": "fusion.evaluation.intervals.Interval",
    "Leaderboard": "fusion.estimators.leaderboard.Leaderboard",
    "OperatingPoint": "fusion.evaluation.operating.OperatingPoint",
    "Phase": "fusion.tuning.phases.Phase",
    "Reliability": "fusion.evaluation.curves.Reliability",
    "Samples": "fusion.data.samples.Samples",
    "Scan": "fusion.selection.scan.Scan",
    "Taps": "fusion.features.taps.Taps",
    "Training": "fusion.tuning.settings.Training",
    "agreement": "fusion.evaluation.agreement.agreement",
    "before_after": "fusion.similarity.compare.before_after",
    "brain_regions": "fusion.data.sets.brain_regions.brain_regions",
    "cca": "fusion.similarity.canonical.cca",
    "cka": "fusion.similarity.measures.cka",
    "compare": "fusion.similarity.compare.compare",
    "contributions": "fusion.evaluation.score.contributions",
    "correlation": "fusion.evaluation.correlation.correlation",
    "decision_curve": "fusion.evaluation.curves.decision_curve",
    "difference": "fusion.evaluation.score.difference",
    "evaluate": "fusion.evaluation.score.evaluate",
    "extract": "fusion.features.extract.extract",
    "interval": "fusion.similarity.interval.interval",
    "knn_overlap": "fusion.similarity.measures.knn_overlap",
    "minibatch_cka": "fusion.similarity.measures.minibatch_cka",
    "operating_point": "fusion.evaluation.operating.operating_point",
    "pairwise": "fusion.similarity.compare.pairwise",
    "pixel_cca": "fusion.similarity.pixel_cca.pixel_cca",
    "procrustes": "fusion.similarity.measures.procrustes",
    "pwcca": "fusion.similarity.canonical.pwcca",
    "rbf_cka": "fusion.similarity.measures.rbf_cka",
    "reliability_curve": "fusion.evaluation.curves.reliability_curve",
    "rsa": "fusion.similarity.measures.rsa",
    "scan": "fusion.selection.scan.scan",
    "strategies": "fusion.tuning.strategies.strategies",
    "svcca": "fusion.similarity.canonical.svcca",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home, _, own = _HOMES[name].rpartition(".")
    globals()[name] = value = getattr(importlib.import_module(home), own)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
