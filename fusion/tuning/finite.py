"""What is said when a fit runs into numbers that are not finite: where, on which images, and what to try."""

from collections.abc import Sequence

from torch import Tensor, nn

from fusion.data.samples import Samples
from fusion.tuning.checkpoints import Checkpoints

_NAMED = 5


class Finite:
    """Tells of losses and weights that are not finite.

    Args:
        checkpoints: Where the last good state is, if there is one.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self.checkpoints = checkpoints

    def loss(self, value: float, each: Tensor, images: Samples, index: Sequence[int], where: str) -> FloatingPointError:
        """Return the error for a training or validation loss that is not finite.

        Args:
            value: What it is.
            each: (N,) the loss of each image.
            images: That `index` counts.
            index: (N,) the place of each image.
            where: Such as `in epoch 2, batch 5`.
        """
        bad = (~each.isfinite()).tolist()
        worst = [place for place, odd in zip(index, bad, strict=True) if odd or not any(bad)]
        what = "validation loss" if where.startswith("after") else "loss"
        return self._error(what, value, where, [images.name(place) for place in worst])

    def weights(self, network: nn.Module, where: str) -> None:
        """Refuse weights that are not finite.

        Where no validation shows it, the last step of an epoch may have ruined what is about to be kept.

        Raises:
            FloatingPointError: A weight is not finite.
        """
        ruined = [name for name, parameter in network.named_parameters() if not parameter.isfinite().all()]
        if ruined:
            raise self._error("weights", float("nan"), where, ruined)

    def _error(self, what: str, value: float, where: str, names: Sequence[str]) -> FloatingPointError:
        kept = self.checkpoints.latest()
        state = f" The last good state is in {kept}." if kept else ""
        return FloatingPointError(
            f"{what} must be finite (got {value} {where}: {', '.join(names[:_NAMED])}).{state} "
            "Lower learning_rate, or look at what is named."
        )
