"""What a run does every so many steps: a quick evaluation, a checkpoint."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

from jaxtyping import PRNGKeyArray

from lejepa_jax.data.source import ImageSource
from lejepa_jax.data.splits import Splits
from lejepa_jax.evaluation.features import ShardBatch
from lejepa_jax.evaluation.quick import PREFIX, run_quick_evaluators
from lejepa_jax.evaluation.results import Results, merge_results
from lejepa_jax.report.metric import Metric
from lejepa_jax.report.view_sample import table_picture, view_picture
from lejepa_jax.training.errors import UsageError
from lejepa_jax.training.recipe import Recipe
from lejepa_jax.training.step import TrainState
from lejepa_jax.training.task import DrawsViews, HasViews, Task


def evaluation_interval(recipe: Recipe, task: Task) -> int:
    """Return the steps from one quick evaluation to the next; 0 for none.

    Args:
        recipe: The run.
        task: What is trained.

    Returns:
        The number of steps.
    """
    if not task.quick_evaluators:
        return 0
    if recipe.evaluate_every is None:
        return max(recipe.steps // 10, 1) if recipe.evaluate else 0
    return recipe.evaluate_every


def rating_of(recipe: Recipe, task: Task) -> tuple[str, bool]:
    """Find the metric by which the best checkpoint is chosen.

    Args:
        recipe: The run; its `keep_best` may leave out the `eval/` of a quick evaluation.
        task: What is trained.

    Returns:
        Name of the metric, and whether higher is better.

    Raises:
        UsageError: If there is no such metric, or it says not which way it gets better.
    """
    known: dict[str, Metric] = {"loss": Metric("Loss", higher_is_better=False), **task.metrics}
    directed = {n: m for n, m in known.items() if m.higher_is_better is not None}
    if not evaluation_interval(recipe, task):
        directed = {n: m for n, m in directed.items() if not n.startswith(PREFIX)}
    for name in (recipe.keep_best, PREFIX + recipe.keep_best):
        if name in directed:
            return name, bool(directed[name].higher_is_better)
    raise UsageError(f"keep_best must be one of {', '.join(directed)}, got {recipe.keep_best!r}")


def with_logged(
    results: Results, rows: Sequence[Mapping[str, float]], metrics: Mapping[str, Metric]
) -> Results:
    """Add metrics of training to the results: their means over the last tenth of what was logged.

    Args:
        results: What the evaluators found.
        rows: Logged rows.
        metrics: Metrics of the task; those with `in_results` are added.

    Returns:
        The results, with more diagnostics of `encoder`.

    Examples:
        >>> rows = [{"step": step, "score": 1.0 / step} for step in range(1, 21)]
        >>> metrics = {"score": Metric("Score", in_results=True)}
        >>> with_logged(Results(), rows, metrics).diagnostics["encoder"]["score"]
        0.0513...
    """
    found = {}
    for name, metric in metrics.items():
        values = [row[name] for row in rows if name in row]
        last = values[-max(len(values) // 10, 1) :]
        if metric.in_results and last:
            found[name] = sum(last) / len(last)
    if not found:
        return results
    return merge_results([results, Results(diagnostics={"encoder": found})])


def with_views(results: Results, recipe: Recipe, splits: Splits) -> Results:
    """Put a picture of the views that a run is trained on in front of the others.

    Args:
        results: What the evaluators found.
        recipe: The run.
        splits: Its data.

    Returns:
        The results; as they are if its views cannot be drawn.
    """
    if isinstance(recipe.task, DrawsViews):
        views = table_picture(partial(recipe.task.draw_views, splits, seed=recipe.seed))
        return results._replace(pictures=[views, *results.pictures])
    if not isinstance(recipe.task, HasViews) or not isinstance(splits.train, ImageSource):
        return results
    views = view_picture(splits.train, recipe.task.view_specs, seed=recipe.seed)
    return results._replace(pictures=[views, *results.pictures])


class Watch(NamedTuple):
    """When a run evaluates and saves, and how it evaluates.

    Attributes:
        recipe: The run.
        task: What is trained.
        key: Random key of the evaluators.
        splits: The data.
        shard_batch: Puts a batch that every process holds on the devices.
    """

    recipe: Recipe
    task: Task
    key: PRNGKeyArray
    splits: Splits
    shard_batch: ShardBatch

    def evaluates(self, step: int) -> bool:
        """Whether there is a quick evaluation after a step: at every interval, and at the end."""
        every = evaluation_interval(self.recipe, self.task)
        return every > 0 and (step % every == 0 or step == self.recipe.steps)

    def saves(self, step: int) -> bool:
        """Whether there is a checkpoint after a step, for what it may rate or go on from."""
        rates = rating_of(self.recipe, self.task)[0].startswith(PREFIX) and self.evaluates(step)
        return rates or step % self.recipe.checkpoint_every == 0 or step == self.recipe.steps

    def measure(self, state: TrainState) -> Mapping[str, float]:
        """Run the quick evaluators, in every process; the state stays as it is."""
        variables = state.variables if state.ema is None else state.ema
        evaluators = self.task.quick_evaluators
        return run_quick_evaluators(evaluators, self.key, variables, self.splits, self.shard_batch)
