"""What the numbers of a run say in a sentence, and what to try."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lejepa_jax.evaluation.results import Results

#: Below this standard deviation in some direction, embeddings have collapsed.
COLLAPSED_STD = 0.1
#: From this part of the way to the statistic of a single point, held-out SIGReg says the same.
COLLAPSED_SHARE = 0.4
#: Up to this multiple of its mean on normal samples, held-out SIGReg counts as round; and up to
#: this much more for every held-out example, for it grows with their number.
ROUND_RATIO, ROUND_EXCESS = 2.0, 0.01
#: Between training and held-out data: a ratio of SIGReg, and a difference of accuracies.
OVERFIT_RATIO, OVERFIT_ACCURACY = 2.0, 0.1

#: Name in the diagnostics of the encoder on as many training examples as there are held-out ones.
ON_TRAINING_DATA = "encoder, training data"


def advice(results: Results, *, rows: Sequence[Mapping[str, Any]] = ()) -> list[str]:
    r"""Say in a few sentences what a run has come to, and what to try.

    With :math:`T` the SIGReg of the embeddings of :math:`n` held-out examples and :math:`T_0` its
    mean on normal samples, embeddings may be collapsed (see :func:`describe_collapse`), round where
    :math:`T \le \max(2 T_0, T_0 + n / 100)`, and not round otherwise. (For Epps-Pulley
    :math:`n / 100` is what a mean or a standard deviation that is off by a seventh adds.) They are
    overfit where :math:`T` is more than twice what it is on as many training examples; a classifier
    is where it is right on training examples 10 points more often than on held-out ones. The
    thresholds are rules of thumb.

    Args:
        results: What the evaluators found. Of its diagnostics, the entries `sigreg`, `examples`
            (how many there are) and `std_smallest` of `encoder`, `sigreg` of
            `encoder, training data`, `sigreg_null` and `sigreg_collapsed` are read; of its scores
            `accuracy`, `linear` and `knn`.
        rows: Logged rows: the `accuracy` of the last ones is that on training examples.

    Returns:
        Sentences, the most important first; none where nothing is known.

    Examples:
        >>> found = {"encoder": {"sigreg": 40.0, "std_smallest": 0.01}, "sigreg_null": 1.05}
        >>> print(*advice(Results(diagnostics=found)))
        Embeddings have collapsed: along some axis their standard deviation is 0.01, where 1 is
        wanted. Raise the weight of SIGReg (trade_off), or lower the learning rate.
    """
    return [
        sentence
        for sentence in (
            _roundness(results.diagnostics),
            _overfit_embeddings(results.diagnostics),
            _overfit_classifier(results.scores, rows),
            _no_gain(results.scores),
        )
        if sentence
    ]


def describe_collapse(diagnostics: Any) -> str:
    r"""Say why embeddings count as collapsed; empty if they do not.

    They do where the smallest standard deviation of an axis is below 0.1; or, with :math:`T` the
    held-out SIGReg, :math:`T_0` its mean on normal samples and :math:`T_1` its value on as many
    copies of one point, where :math:`T - T_0 \ge 0.4\, (T_1 - T_0)`. For Epps-Pulley that is what a
    round cloud of standard deviation 0.48 has. Neither the label-free score nor RankMe notices: a
    cloud that has shrunk to nothing has a low loss, and its shape may still have full rank.

    Args:
        diagnostics: As in `Results`: `std_smallest` and `sigreg` of `encoder`, `sigreg_null` and
            `sigreg_collapsed` are read, as far as they are there.

    Returns:
        The reason.

    Examples:
        >>> found = {"encoder": {"sigreg": 190.0, "std_smallest": 0.3}, "sigreg_null": 1.05}
        >>> describe_collapse(found | {"sigreg_collapsed": 201.0})
        'held-out SIGReg is 190, and 201 for a single point'
        >>> describe_collapse({"encoder": {"sigreg": 9.0, "std_smallest": 0.8}})
        ''
    """
    std = _number_of(diagnostics, "encoder", "std_smallest")
    if std is not None and std < COLLAPSED_STD:
        return f"along some axis their standard deviation is {std:.2g}, where 1 is wanted"
    value, null = (
        _number_of(diagnostics, "encoder", "sigreg"),
        _number_of(diagnostics, "sigreg_null"),
    )
    point = _number_of(diagnostics, "sigreg_collapsed")
    if value is None or point is None or point <= (null or 0.0):
        return ""
    if value - (null or 0.0) < COLLAPSED_SHARE * (point - (null or 0.0)):
        return ""
    return f"held-out SIGReg is {value:.3g}, and {point:.3g} for a single point"


def _number_of(values: Any, *path: str) -> float | None:
    """Look a finite number up in nested mappings; None where there is none."""
    for name in path:
        values = values.get(name) if isinstance(values, Mapping) else None
    if isinstance(values, int | float) and not isinstance(values, bool) and math.isfinite(values):
        return float(values)
    return None


def _roundness(diagnostics: Mapping[str, Any]) -> str:
    if reason := describe_collapse(diagnostics):
        return (
            f"Embeddings have collapsed: {reason}. Raise the weight of SIGReg (trade_off), or "
            "lower the learning rate."
        )
    value = _number_of(diagnostics, "encoder", "sigreg")
    null = _number_of(diagnostics, "sigreg_null")
    if value is None or not null or null <= 0:
        return ""
    count = _number_of(diagnostics, "encoder", "examples") or 0.0
    of = f" of {count:.0f} examples" if count else ""
    found = f"held-out SIGReg{of} is {value:.3g}, where exactly normal samples have {null:.3g}"
    if value <= max(ROUND_RATIO * null, null + ROUND_EXCESS * count):
        return f"Embeddings are round: {found}."
    return (
        f"Embeddings are not round: {found}. Train longer, raise the weight of SIGReg (trade_off), "
        "or use a larger batch."
    )


def _overfit_embeddings(diagnostics: Mapping[str, Any]) -> str:
    held_out = _number_of(diagnostics, "encoder", "sigreg")
    fitted = _number_of(diagnostics, ON_TRAINING_DATA, "sigreg")
    if held_out is None or not fitted or held_out <= OVERFIT_RATIO * fitted:
        return ""
    return (
        f"Embeddings are overfit: SIGReg is {held_out:.3g} on held-out examples and {fitted:.3g} "
        "on as many training examples. Use more data, stronger augmentation or fewer steps."
    )


def _overfit_classifier(scores: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    held_out = _number_of(scores, "accuracy", "encoder")
    last = [_number_of(row, "accuracy") for row in rows]
    last = [value for value in last if value is not None][-10:]
    if held_out is None or not last:
        return ""
    fitted = sum(last) / len(last)
    if fitted - held_out <= OVERFIT_ACCURACY:
        return ""
    return (
        f"The classifier is overfit: {100 * fitted:.1f} % of the training examples of the last "
        f"steps are right, and {100 * held_out:.1f} % of the held-out ones. Use more data, "
        "stronger augmentation, weight decay or fewer steps."
    )


def _no_gain(scores: Mapping[str, Any]) -> str:
    for name in ("linear", "knn", "accuracy"):
        trained = _number_of(scores, name, "encoder")
        untrained = _number_of(scores, name, "untrained")
        if trained is not None and untrained is not None:
            if trained > untrained:
                return ""
            return (
                f"Training has not helped: {name} is {100 * trained:.1f} % with the trained "
                f"encoder and {100 * untrained:.1f} % with the untrained one. Train longer, or try "
                "other views and another learning rate."
            )
    return ""
