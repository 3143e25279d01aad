"""The options of training a world model."""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from jax.typing import DTypeLike

from lejepa_jax.augment.specs import channel_statistics, check_statistics
from lejepa_jax.checks import check_choice, check_positive
from lejepa_jax.choices import choose
from lejepa_jax.data.splits import Splits
from lejepa_jax.objectives.regularizers.names import make_regularizer
from lejepa_jax.objectives.regularizers.protocol import Regularizer
from lejepa_jax.statistics.reductions import AxisName
from lejepa_jax.training.task import Task
from lejepa_jax.worldmodels.environments.host import host_environment_by_name, is_host_environment
from lejepa_jax.worldmodels.networks.world_model import SIZES, NetworkSizes
from lejepa_jax.worldmodels.objective import Samples
from lejepa_jax.worldmodels.planning.cross_entropy import cem, icem
from lejepa_jax.worldmodels.planning.gradient import gradient_plan
from lejepa_jax.worldmodels.planning.path_integral import mppi
from lejepa_jax.worldmodels.trajectories.episodes import relative_actions
from lejepa_jax.worldmodels.trajectories.generated import (
    environment_by_name,
    generate_trajectories,
    is_environment,
)
from lejepa_jax.worldmodels.trajectories.loading import read_trajectories, split_windows
from rope_jax.registry import parse_choice

#: Planners by name.
PLANNERS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {"cem": cem, "icem": icem, "mppi": mppi, "gradient": gradient_plan}
)
#: Frames that a window must have to be a sample of a regularizer by itself.
_FRAMES_OF_A_SAMPLE = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorldModelConfig:
    """What world model to train, and how.

    Attributes:
        network: Sizes of the networks, by name (`lewm`, `small`, `tiny`), alone or called with
            other sizes: `small(latent_features=16, history=1)`; see `NetworkSizes`.
        encoder: Encoder of frames in place of that of the sizes, by name, alone or called with
            options: `vit-Ti(patch_size=8)`, `convnet-tiny`; or what makes one.
        image_size: Side of the frames as the encoder sees them, in pixels; others are resized.
        mean: Subtracted from each channel, whose values are in [0, 1].
        std: Divided by, likewise.
        num_frames: Frames of a window.
        action_block: Steps from one frame to the next, whose actions are one input.
        window_step: Steps from one window to the next.
        prediction_steps: Latents behind the history that are predicted; more than one are predicted
            from predictions, and each counts as much as the one-step prediction.
        stop_gradient: Whether no gradient flows into the latents that are predicted.
        regularizer: What keeps latents from collapsing, by name, alone or called with options:
            `sigreg`, `subspace(num_subspaces=16)`.
        regularizer_weight: Its weight.
        regularize_over: Which latents are one sample of it, see `regularize_latents`.
        statistic: Statistic of SIGReg, by name.
        directions: How its directions are drawn: `unit`, `orthogonal` or `sobol`.
        num_slices: Directions, fresh at every step.
        inverse_weight: Weight of inverse dynamics: actions are predicted from latents before and
            after. Against latents that hold what never changes. 0 for none.
        straightening_weight: Weight of the curvature of paths; 0 for none.
        episodes: Episodes of an environment, where the data is generated.
        episode_steps: Frames of each.
        test_fraction: Part of the episodes that is held out.
        memory_limit: Bytes that frames may take in memory; others are read when they are needed.
        environment: Environment that is acted in at the end, by name: `two-room`, or on the host
            `push-t`; or what makes one of the host. By default that of the data.
        goal_steps: In environments of the host, steps from a recorded start to its goal.
        action_unit: For recorded actions that are target positions, in the units of the first
            numbers of the states: they are made relative to these, and divided by this unit, as
            `push-t` takes them with 100. None leaves actions as recorded.
        eval_batch_size: Frames at a time in evaluation.
        probe_frames: Frames that probes are fitted to, and are scored on, at most.
        quick_examples: Held-out windows that are measured during training.
        plan_episodes: Episodes of each kind of goal that are planned in; 0 for none.
        planner: How plans are searched for, by name, alone or called with options: `cem`,
            `icem(num_samples=64)`, `mppi`.
        horizon: Blocks of actions of a plan.
        execute: Blocks that are done before the next plan.
        plan_cost: What plans are rated by: the distance to the goal over the whole `path`, or of
            its `last` step alone, as published; which puts the way off where plans are renewed.
        budget: Steps of an episode, over the least that are needed.

    Raises:
        ValueError: For a value out of range, or an unknown name.
    """

    evaluation_only: ClassVar[frozenset[str]] = frozenset(
        {
            "environment",
            "goal_steps",
            "eval_batch_size",
            "probe_frames",
            "quick_examples",
            "plan_episodes",
        }
        | {"planner", "horizon", "execute", "plan_cost", "budget"}
    )

    network: str = "small"
    encoder: str | Callable[..., Any] | None = None
    image_size: int = 64
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.5,)
    num_frames: int = 4
    action_block: int = 5
    window_step: int = 1
    prediction_steps: int = 1
    stop_gradient: bool = False
    regularizer: str | Callable[..., Any] = "sigreg"
    regularizer_weight: float = 0.09
    regularize_over: Samples = "per_step"
    statistic: str = "epps_pulley"
    directions: str = "unit"
    num_slices: int = 1024
    inverse_weight: float = 0.0
    straightening_weight: float = 0.0
    episodes: int = 1000
    episode_steps: int = 60
    test_fraction: float = 0.1
    memory_limit: int = 2**31
    environment: str | Callable[..., Any] | None = None
    goal_steps: int = 25
    action_unit: float | None = None
    eval_batch_size: int = 256
    probe_frames: int = 5000
    quick_examples: int = 512
    plan_episodes: int = 100
    planner: str = "cem"
    horizon: int = 5
    execute: int = 1
    plan_cost: Literal["path", "last"] = "path"
    budget: float = 2.0

    def __post_init__(self):
        for name in ("image_size", "num_frames", "action_block", "window_step", "num_slices"):
            check_positive(name, getattr(self, name))
        for name in ("prediction_steps", "episodes", "episode_steps", "memory_limit", "budget"):
            check_positive(name, getattr(self, name))
        for name in ("eval_batch_size", "probe_frames", "quick_examples", "horizon", "execute"):
            check_positive(name, getattr(self, name))
        for name in ("regularizer_weight", "inverse_weight", "straightening_weight"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.plan_episodes < 0:
            raise ValueError(f"plan_episodes must not be negative, got {self.plan_episodes}")
        if self.execute > self.horizon:
            raise ValueError(f"execute must be at most horizon={self.horizon}, got {self.execute}")
        check_choice(
            "regularize_over",
            self.regularize_over,
            ("per_step", "pooled", "within_episode", "both"),
        )
        check_choice("plan_cost", self.plan_cost, ("path", "last"))
        check_statistics(self.mean, self.std)
        least = self.sizes.history + self.prediction_steps
        if self.num_frames < least:
            raise ValueError(
                f"num_frames must be at least {least}, the history and what is predicted, "
                f"got {self.num_frames}"
            )
        alone = self.regularize_over in ("within_episode", "both")
        if alone and self.num_frames < _FRAMES_OF_A_SAMPLE:
            raise ValueError(
                f"num_frames must be at least {_FRAMES_OF_A_SAMPLE} for a window to be a sample of "
                f"its own (regularize_over={self.regularize_over!r}), got {self.num_frames}"
            )
        if self.straightening_weight and self.num_frames < 3:
            raise ValueError(f"num_frames must be at least 3 for a path, got {self.num_frames}")
        # Unknown names are refused now, before anything is loaded.
        self.make_regularizer()
        choose("planner", self.planner, PLANNERS)
        check_positive("goal_steps", self.goal_steps)
        if self.action_unit is not None:
            check_positive("action_unit", self.action_unit)
        if isinstance(self.environment, str) and not is_host_environment(self.environment):
            environment_by_name(self.environment)
        elif isinstance(self.environment, str):
            host_environment_by_name(self.environment)

    @property
    def sizes(self) -> NetworkSizes:
        """The sizes of the networks."""
        try:
            name, options = parse_choice(self.network)
        except ValueError as error:
            raise ValueError(f"network must be one of {', '.join(SIZES)}; {error}") from None
        if name not in SIZES:
            raise ValueError(f"network must be one of {', '.join(SIZES)}, got {self.network!r}")
        known = [field.name for field in dataclasses.fields(NetworkSizes)]
        for option in options:
            if option not in known:
                raise ValueError(f"sizes of a network are {', '.join(known)}; got {option!r}")
        if self.encoder is not None:
            options["encoder"] = self.encoder
        return dataclasses.replace(SIZES[name], **options)

    def make_regularizer(self) -> Regularizer:
        """Find the regularizer, with the options of this configuration where it gives no others."""
        return make_regularizer(
            self.regularizer,
            num_slices=self.num_slices,
            statistic=self.statistic,
            directions=self.directions,
        )

    def preprocessing(self, channels: int) -> dict[str, Any]:
        """Say what happens to a frame, as fields of `ImagePreprocessing`."""
        mean, std = channel_statistics(self.mean, self.std, channels)
        return {
            "kind": "images",
            "channels": channels,
            "image_size": self.image_size,
            "eval_size": self.image_size,
            "mean": list(mean),
            "std": list(std),
            "batch_size": self.eval_batch_size,
        }

    def load(
        self,
        name: str,
        *,
        data_dir: str | None = None,
        holdout: Literal["test", "validation"] = "test",
        max_bad_records: int = 0,
    ) -> Splits:
        """Load windows of trajectories, or generate them.

        Args:
            name: An environment, such as `two-room` or `two-room(background='episode')`, whose
                episodes are generated; or a name of `read_trajectories`.
            data_dir: Where the data is, if the name does not say it.
            holdout: `validation` for a part of the training episodes in place of the test episodes.
            max_bad_records: Nothing is skipped: 0.

        Returns:
            The splits.

        Raises:
            ValueError: One line about what is wrong with the data set.
        """
        del max_bad_records
        if is_environment(name):
            environment = environment_by_name(name)
            found = generate_trajectories(
                environment, episodes=self.episodes, steps=self.episode_steps
            )
        else:
            found = read_trajectories(name, data_dir=data_dir, memory_limit=self.memory_limit)
        if self.action_unit is not None:
            found = relative_actions(found, unit=self.action_unit)
        return split_windows(
            name,
            found,
            num_frames=self.num_frames,
            action_block=self.action_block,
            window_step=self.window_step,
            holdout=holdout,
            test_fraction=self.test_fraction,
        )

    def build(self, splits: Splits, *, dtype: DTypeLike, axis_name: AxisName | None = None) -> Task:
        """Make the task; see `lejepa_jax.worldmodels.task.world_model_task`."""
        from lejepa_jax.worldmodels.task import world_model_task

        return world_model_task(self, splits, dtype=dtype, axis_name=axis_name)
