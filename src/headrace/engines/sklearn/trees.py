"""Splits in float32: a served tree takes, for every float32 input, the branch that the trained one takes.

scikit-learn compares with float64 thresholds. Of the values that float32 has, those at most ``t`` are those at most the
largest float32 at most ``t``: rounding thresholds *down* changes no branch of a float32 value. skl2onnx does so for
decision trees and forests, which read float32 in training too, and rounds those of HistGradientBoosting to nearest.
There nearest stays right for float64 columns: with more than 255 values a threshold is itself a value of the data, and
the value and its threshold must round alike to stay on one side.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.preprocessing import FunctionTransformer

from headrace.engines.sklearn.layout import Layout, steps_of

EXACT = ("float32", "bool")
"""Types whose every value is a float32."""
TRACKS = "nodes_missing_value_tracks_true"


def round_down(moved: Any, layout: Layout, columns: Mapping[str, str]) -> None:
    """Round, in place, HistGradientBoosting's thresholds on float32 columns down to float32.

    Args:
        moved: A ``positional`` copy of the model; it may be calibrated.
        layout: Its columns.
        columns: Column to dtype.
    """
    features = [feature for feature, name in _passed(moved, layout).items() if columns[name] in EXACT]
    final = steps_of(moved)[-1]
    for model in (final, *(fold.estimator for fold in getattr(final, "calibrated_classifiers_", ()))):
        if isinstance(model, HistGradientBoostingClassifier | HistGradientBoostingRegressor):
            for tree in (tree for trees in model._predictors for tree in trees):  # noqa: SLF001 - the only door
                chosen = np.isin(tree.nodes["feature_idx"], features) & (tree.nodes["is_leaf"] == 0)
                tree.nodes["num_threshold"][chosen] = floor32(tree.nodes["num_threshold"][chosen])


def floor32(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """The largest float32 at most each value; infinities stay."""
    with np.errstate(over="ignore"):
        nearest = values.astype(np.float32)
        return np.where(nearest > values, np.nextafter(nearest, np.float32(-np.inf)), nearest)


def track_missing(graph: onnx.GraphProto, final: Any) -> None:
    """Send NaN in a decision tree or forest where training sent it: skl2onnx always sends it right."""
    trees = [member.tree_ for member in getattr(final, "estimators_", [final]) if hasattr(member, "tree_")]
    tracks = [int(left) for tree in trees for left in tree.missing_go_to_left]
    for node in graph.node:
        held = {attribute.name: attribute for attribute in node.attribute}
        if tracks and TRACKS in held and len(held[TRACKS].ints) == len(tracks):
            held[TRACKS].CopyFrom(helper.make_attribute(TRACKS, tracks))


def _passed(moved: Any, layout: Layout) -> dict[int, str]:
    """Tree feature to the column that reaches it unchanged."""
    first, *later = steps_of(moved)
    if not later:
        return dict(enumerate(layout.numbers))
    if len(later) > 1 or not isinstance(first, ColumnTransformer):
        return {}
    found: dict[int, str] = {}
    for name, transformer, where in first.transformers_:
        if isinstance(transformer, FunctionTransformer) and transformer.func is None:
            begin = first.output_indices_[name].start
            found |= {begin + offset: layout.columns[place] for offset, place in enumerate(where)}
    return found
