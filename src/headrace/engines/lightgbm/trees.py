"""LightGBM's text, read before LightGBM reads it: it follows the numbers of its trees wherever they lead."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from headrace.errors import IntegrityError
from headrace.models.trees import check_children, check_within, numbers

_CATEGORICAL = 1  # the bit of a node's decision type


def check_trees(text: str) -> None:
    """See that every tree is one, whose features and categories the model has.

    Raises:
        IntegrityError: It is none, or the text can be read in two ways.
    """
    try:
        head, *blocks = text[: text.index("\nend of trees\n") + 1].split("Tree=")
        about = _entries(head)
        sizes, width = about["tree_sizes"].split(), int(about["max_feature_idx"]) + 1
        if "\0" in text or [len(f"Tree={block}".encode()) for block in blocks] != [int(size) for size in sizes]:
            raise IntegrityError("the model can be read in two ways", why="its trees are not of the sizes it says")
        for block in blocks:
            _check_tree(_entries(block), width)
    except (KeyError, ValueError, OverflowError) as error:
        raise IntegrityError("a tree of the model cannot be read", why=str(error)[:300]) from error


def _entries(block: str) -> Mapping[str, str]:
    """The lines ``name=values`` of a block, each once; nothing but blank lines follows the first blank one."""
    lines = block.strip("\n").split("\n")
    found = dict(line.partition("=")[::2] for line in lines)
    if len(found) != len(lines) or "" in lines:
        raise IntegrityError("the model can be read in two ways", why="a line stands twice")
    return found


def _check_tree(tree: Mapping[str, str], width: int) -> None:
    leaves = int(tree["num_leaves"])
    _check_lengths(tree, leaves)
    if leaves == 1:
        return
    children = np.concatenate([_listed(tree, "left_child"), _listed(tree, "right_child")])
    check_children(children[children >= 0], leaves - 1)
    check_within("leaf", ~children[children < 0], 0, leaves)
    check_within("feature", _listed(tree, "split_feature"), 0, width)
    if int(tree["num_cat"]):
        _check_categories(tree)
    if int(tree.get("is_linear", "0")):
        check_within("feature", _listed(tree, "leaf_features"), 0, width)
        if _listed(tree, "num_features").sum() != len(_listed(tree, "leaf_features")):
            raise IntegrityError("a tree of the model is none", why="it lacks features of its leaves")


def _check_lengths(tree: Mapping[str, str], leaves: int) -> None:
    nodes = ("split_feature", "threshold", "decision_type", "left_child", "right_child")
    due = {"leaf_value": leaves} | ({} if leaves == 1 else dict.fromkeys(nodes, leaves - 1))
    wrong = [name for name, length in due.items() if len(tree[name].split()) != length]
    if leaves < 1 or wrong:
        raise IntegrityError("a tree of the model is none", why=f"{leaves} leaves, and another number as {wrong}")


def _check_categories(tree: Mapping[str, str]) -> None:
    ends = _listed(tree, "cat_boundaries")
    if len(ends) != int(tree["num_cat"]) + 1 or ends[0] or (np.diff(ends) < 0).any():
        raise IntegrityError("a tree of the model is none", why="its categories have no order")
    check_within("end of categories", ends, 0, len(tree["cat_threshold"].split()) + 1)
    kinds = _listed(tree, "decision_type")
    which = np.array(tree["threshold"].split(), float)[(kinds & _CATEGORICAL) > 0]
    check_within("set of categories", which.astype(np.int64), 0, int(tree["num_cat"]))


def _listed(tree: Mapping[str, str], name: str) -> NDArray[np.int64]:
    return numbers([int(value) for value in tree[name].split()])
