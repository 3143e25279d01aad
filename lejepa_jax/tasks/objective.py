"""The options of LeJEPA pretraining, whatever the encoder looks at."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

from lejepa_jax.checks import check_choice, check_positive
from lejepa_jax.objectives.lejepa import Weighting, check_trade_off
from lejepa_jax.objectives.prediction import Target
from lejepa_jax.objectives.regularizers.names import make_regularizer
from lejepa_jax.objectives.regularizers.protocol import Regularizer


@dataclasses.dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """What LeJEPA pretraining has to know of any kind of data.

    Attributes:
        num_global: How many of all views are global.
        embedding_features: Width of the embedding, the output of the projector.
        hidden_features: Width of its hidden layers.
        projector_layers: Number of its linear layers; 0 regularizes the features themselves.
        trade_off: Weight of the regularizer.
        weighting: How the two terms are weighted, see `lejepa_loss`.
        target: What the views are predicted to be, see `prediction_loss`.
        regularizer: What keeps embeddings from collapsing, by name, alone or called with options:
            `sigreg`, `visreg(shape='epps_pulley')`, `covariance(sketch=64)`; a recipe may also name
            a function of its own. Published trade-offs differ between them.
        statistic: Statistic of SIGReg, by name: `epps_pulley`, alone or called with options, such
            as `epps_pulley(t_max=5, num_knots=41)`; `paper_epps_pulley` is that of Algorithm 1.
        directions: How directions are drawn, by name: `unit` (independent),
            `orthogonal` or `sobol`. For every regularizer along slices, as is the next.
        num_slices: Directions, fresh at every step.
        pool_views: Test all views as one sample.
        token_weight: Weight of the regularizer on patch tokens, for dense features, relative to
            that on embeddings; 0 for none. They go through a linear map of their own, and a cloud
            is what the batch has at one position of one view. Of encoders that give them
            (`TrainsTokens`).
        token_positions: Positions of each view that are drawn for it, afresh at every step.
        keep_tokens: Part of the patch tokens of each view that is encoded in training, drawn for
            each view apart; below 1 a step is cheaper, and what is left out is a further
            augmentation. Of encoders that can (`DropsTokens`).
        eval_batch_size: Examples at a time in evaluation.
        knn_k: Neighbors that vote in the k-NN probe.
        max_probe_examples: Training examples that probes are fitted to, of every class its share;
            None for all.
        probe_layers: Last layers whose features the probes read side by side, of an encoder that
            can (`HasLayers`); the published linear probe of a ViT reads two.
        lidar_examples: Held-out examples of which LiDAR is computed, from views as in training;
            0 for none.
        quick_examples: Held-out examples that are measured during training, see `evaluate_every`;
            probes are fitted to twice as many training examples.

    Raises:
        ValueError: For a value out of range, or an unknown name.
    """

    evaluation_only: ClassVar[frozenset[str]] = frozenset(
        {"eval_batch_size", "knn_k", "max_probe_examples", "probe_layers", "lidar_examples"}
        | {"quick_examples"}
    )

    num_global: int
    embedding_features: int = 64
    hidden_features: int = 512
    projector_layers: int = 3
    trade_off: float = 0.05
    weighting: Weighting = "convex"
    target: Target = "global"
    regularizer: str | Callable[..., Any] = "sigreg"
    statistic: str = "epps_pulley"
    directions: str = "unit"
    num_slices: int = 1024
    pool_views: bool = False
    token_weight: float = 0.0
    token_positions: int = 16
    keep_tokens: float = 1.0
    eval_batch_size: int = 500
    knn_k: int = 20
    max_probe_examples: int | None = 50_000
    probe_layers: int = 1
    lidar_examples: int = 1000
    quick_examples: int = 1000

    def __post_init__(self):
        check_choice("target", self.target, ("global", "all", "pairwise"))
        check_trade_off(self.trade_off, self.weighting)
        for name in ("num_global", "embedding_features", "hidden_features", "num_slices"):
            check_positive(name, getattr(self, name))
        for name in ("eval_batch_size", "knn_k", "probe_layers", "quick_examples"):
            check_positive(name, getattr(self, name))
        if self.max_probe_examples is not None:
            check_positive("max_probe_examples", self.max_probe_examples)
        check_positive("token_positions", self.token_positions)
        for name in ("projector_layers", "lidar_examples", "token_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if not 0 < self.keep_tokens <= 1:
            raise ValueError(f"keep_tokens must be above 0 and at most 1, got {self.keep_tokens}")
        if self.keep_tokens < 1 and self.token_weight:
            raise ValueError(
                "token_weight must be 0 where tokens are dropped (keep_tokens below 1): its clouds "
                f"want one position of every example, got {self.token_weight}"
            )
        # Unknown names are refused now, before anything is loaded.
        self.make_regularizer()

    def make_regularizer(self) -> Regularizer:
        """Find the regularizer, with the options of this configuration where it gives no others."""
        return make_regularizer(
            self.regularizer,
            num_slices=self.num_slices,
            statistic=self.statistic,
            directions=self.directions,
        )

    def check_views(self, num_views: int) -> None:
        """Require no more global views than views."""
        if self.num_global > num_views:
            raise ValueError(
                f"num_global must be between 1 and {num_views} views, got {self.num_global}"
            )
