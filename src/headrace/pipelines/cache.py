"""Finished calls: looked up by key before anything is launched, recorded when done."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from headrace.errors import NotFound
from headrace.pipelines.opened import digests
from headrace.pipelines.plan import Node
from headrace.pipelines.references import Reference, StepResult
from headrace.pipelines.workspace import Workspace
from headrace.storage import manifest
from headrace.storage.files import Files
from headrace.storage.ledger import Fact, latest

FINISHED = "step.finished"
EFFECT = "effect.finished"


def lookup(key: str, workspace: Workspace) -> StepResult | None:
    """The newest finished call with this key whose opened files are unchanged and whose artifact is still there."""
    for fact in reversed(workspace.ledger().query(FINISHED, key)):
        result = result_of(fact)
        if _unchanged(result.opened, workspace.root) and _kept(result.reference, workspace):
            return result
    return None


def find(node: Node, key: str, pipeline: str, workspace: Workspace) -> StepResult | None:
    """What a node's call with this key left, if it need not be made.

    A step's result stands for ever. An effect's stands while it is the newest of its step in its pipeline: after A and
    then B were published, publishing A is work again, and publishing it once more is not. (A run also makes an effect
    again when it has made one above it.)
    """
    if not node.cache:
        return None
    if node.effect:
        newest = latest(workspace.ledger(), EFFECT, f"{pipeline}/{node.name}")
        if newest is None or newest.body["key"] != key:
            return None
    return lookup(key, workspace)


def took_effect(key: str, name: str, pipeline: str) -> Fact:
    """The fact that an effect happened."""
    return Fact(EFFECT, f"{pipeline}/{name}", {"key": key})


def finished(result: StepResult) -> Fact:
    """The fact that records a finished call."""
    body = {
        "name": result.name,
        "result": result.reference.to_json(),
        "seconds": round(result.seconds, 6),
        "run": result.run,
        "parts": dict(result.parts),
        "opened": dict(result.opened),
    }
    return Fact(FINISHED, result.key, body)


def result_of(fact: Fact) -> StepResult:
    """The result that a ``step.finished`` fact tells."""
    body: Mapping[str, Any] = fact.body
    reference = Reference.from_json(body["result"])
    return StepResult(
        fact.subject, body["name"], reference, body["seconds"], body["run"], body["parts"], body["opened"]
    )


def _unchanged(opened: Mapping[str, str], root: Path) -> bool:
    return not opened or digests(root, list(opened)) == dict(opened)


def _kept(reference: Reference, workspace: Workspace) -> bool:
    folders = {reference.folder, *_folders(reference.tree)} - {""}
    return all(_there(workspace.files(), folder) for folder in folders)


def _folders(tree: Any) -> Iterator[str]:
    """Folders of the other stored values that a packed value refers to."""
    if isinstance(tree, dict):
        if "$ref" in tree:
            yield tree["$ref"]["folder"]
            tree = tree["$ref"]["tree"]
        tree = list(tree.values()) if isinstance(tree, dict) else tree
    if isinstance(tree, list):
        for part in tree:
            yield from _folders(part)


def _there(files: Files, folder: str) -> bool:
    """Whether the manifest exists; what it lists is verified when loaded."""
    try:
        files.get(f"{folder}/{manifest.NAME}", keep=False)
    except NotFound:
        return False
    return True
