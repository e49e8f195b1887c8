"""XGBoost's trees as the library itself keeps them: it follows their numbers wherever they lead."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xgboost

from headrace.errors import IntegrityError
from headrace.models.trees import check_children, check_within, numbers

_LINEAR = "gblinear"


def check_trees(booster: xgboost.Booster) -> None:
    """See that every tree is one, whose features, categories and classes the model has; or every weight is there.

    Raises:
        IntegrityError: It is none.
    """
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    about, kept = learner["learner_model_param"], learner["gradient_booster"]
    model = kept.get("gbtree", kept)["model"]
    groups = max(1, int(about["num_class"]), int(about.get("num_target", 1)))
    if kept["name"] == _LINEAR:
        due = (int(about["num_feature"]) + 1) * groups
        if len(model["weights"]) != due:
            raise IntegrityError(f"the model has {len(model['weights'])} weights", why=f"{due} are due")
        return
    check_within("class", model["tree_info"], 0, groups)
    for tree in model["trees"]:
        _check_tree(tree, int(about["num_feature"]))


def is_linear(booster: xgboost.Booster) -> bool:
    """Whether a booster is of weights, and has no trees."""
    return bool(json.loads(booster.save_config())["learner"]["gradient_booster"]["name"] == _LINEAR)


def _check_tree(tree: Mapping[str, Any], width: int) -> None:
    left, right = numbers(tree["left_children"]), numbers(tree["right_children"])
    inner = left != -1
    if not len(left):
        raise IntegrityError("a tree of the model is none", why="it has no node")
    check_within("leaf", right[~inner], -1, int((~inner).sum()))  # which trees of several outputs keep there
    check_children(np.concatenate([left[inner], right[inner]]), len(left))
    check_within("feature", numbers(tree["split_indices"])[inner], 0, width)
    begins, sizes = numbers(tree["categories_segments"]), numbers(tree["categories_sizes"])
    check_within("node of categories", tree["categories_nodes"], 0, len(left))
    check_within("category", begins, 0, len(tree["categories"]) + 1)
    check_within("category", sizes, 0, len(tree["categories"]) + 1)
    check_within("category", begins + sizes, 0, len(tree["categories"]) + 1)
