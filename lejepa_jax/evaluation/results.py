"""What an evaluator returns: numbers and pictures, all of them on the host."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import PRNGKeyArray

from lejepa_jax.data.splits import Splits
from lejepa_jax.evaluation.features import ShardBatch

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Picture(NamedTuple):
    """A picture of the report.

    Attributes:
        title: Its heading.
        draw: Makes the figure from host arrays alone: it is called by the first process.
        caption: A sentence or two below it.
        vector: Whether it is kept as SVG; pictures with many points or pixels are PNG.
    """

    title: str
    draw: Callable[[], "Figure"]
    caption: str
    vector: bool = False


class Results(NamedTuple):
    """What an evaluation found, the same in every process.

    Attributes:
        scores: Numbers in [0, 1] by score and by what was scored: `{"knn": {"encoder": 0.9}}`. A
            score `NAME_std` holds the standard deviations of `NAME`. They make the table.
        diagnostics: Other numbers worth a table, nested at most once.
        details: Anything else that JSON can hold: confusion matrices, curves.
        pictures: For the report.
    """

    scores: Mapping[str, Mapping[str, float]] = {}
    diagnostics: Mapping[str, Any] = {}
    details: Mapping[str, Any] = {}
    pictures: Sequence[Picture] = ()

    def as_json(self) -> dict[str, Any]:
        """Return what `results.json` holds: the scores, the diagnostics under their name, the rest.

        Examples:
            >>> Results({"knn": {"encoder": 0.9}}, {"rankme": 7.5}).as_json()
            {'knn': {'encoder': 0.9}, 'diagnostics': {'rankme': 7.5}}
        """
        found: dict[str, Any] = {name: dict(values) for name, values in self.scores.items()}
        if self.diagnostics:
            found["diagnostics"] = dict(self.diagnostics)
        return found | dict(self.details)


@runtime_checkable
class Evaluator(Protocol):
    """Measures trained variables; every process runs it."""

    def __call__(
        self,
        key: PRNGKeyArray,
        variables: Mapping[str, Any],
        splits: Splits,
        shard_batch: ShardBatch,
        /,
    ) -> Results:
        """Evaluate.

        Args:
            key: Random key; the same key gives the same numbers.
            variables: Variables by name: `encoder`, the trained ones, and at the end of a run
                `untrained`, those of step 0.
            splits: The data.
            shard_batch: Puts a NumPy batch that every process holds on the devices.
        """
        ...


def by_score(suites: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Turn scores by what was scored into what was scored by score.

    Args:
        suites: Scores of the same kind, such as those of :func:`probe_suite`, by what was scored;
            the encoder first, raw data last.

    Returns:
        `{score: {what: value}}`; a score that one of them does not have is there for the others.

    Examples:
        >>> by_score({"encoder": {"knn": 0.9}, "pixels": {"knn": 0.6}})
        {'knn': {'encoder': 0.9, 'pixels': 0.6}}
    """
    names = dict.fromkeys(name for suite in suites.values() for name in suite)
    return {
        name: {what: float(suite[name]) for what, suite in suites.items() if name in suite}
        for name in names
    }


def merge_results(parts: Sequence[Results]) -> Results:
    """Put the results of several evaluators together; of equal names the later one counts.

    Args:
        parts: Results.

    Returns:
        All of them as one.

    Examples:
        >>> merge_results([Results({"knn": {"a": 1.0}}), Results({"knn": {"b": 0.5}})]).scores
        {'knn': {'a': 1.0, 'b': 0.5}}
    """
    scores: dict[str, dict[str, float]] = {}
    diagnostics: dict[str, Any] = {}
    for part in parts:
        for name, values in part.scores.items():
            scores[name] = scores.get(name, {}) | dict(values)
        for name, value in part.diagnostics.items():
            old = diagnostics.get(name)
            if isinstance(old, Mapping) and isinstance(value, Mapping):
                value = {**old, **value}
            diagnostics[name] = value
    details = {name: value for part in parts for name, value in part.details.items()}
    return Results(scores, diagnostics, details, [p for part in parts for p in part.pictures])


def run_evaluators(
    evaluators: Mapping[str, Evaluator],
    key: PRNGKeyArray,
    variables: Mapping[str, Any],
    splits: Splits,
    shard_batch: ShardBatch,
) -> Results:
    """Run evaluators one after the other, in every process, and merge what they find.

    Args:
        evaluators: By name, as a task declares them.
        key: Random key, the same for all of them.
        variables: Variables by name, see :class:`Evaluator`.
        splits: The data.
        shard_batch: Puts a batch on the devices.

    Returns:
        The results of all.
    """
    return merge_results(
        [evaluate(key, variables, splits, shard_batch) for evaluate in evaluators.values()]
    )
