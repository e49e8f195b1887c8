"""TensorFlow Serving's ``ModelService/HandleReloadConfigRequest``: which versions of a watched folder are loaded."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from headrace.errors import NotFound, UsageError
from headrace.gateway.control import Control
from headrace.gateway.rpc.calls import Offered, Rpc, unary
from headrace.gateway.rpc.tfs import MODEL_SERVICE
from headrace.gateway.rpc.tfs_messages import SERVING
from headrace.placement.access import Scope
from headrace.serving.dataplane import DataPlane
from headrace.serving.folder_settings import FolderSettings, ModelSettings, model_settings
from headrace.serving.folder_source import FolderSource


class ReloadService(Offered):
    """The one call.

    What it says holds until ``models.toml`` changes or the gateway starts again; models that it does not name are
    unloaded. Where models lie, callers do not say.

    Args:
        plane: What serves.
        control: What may be changed.
    """

    def __init__(self, plane: DataPlane, control: Control) -> None:
        self._plane, self._keeper, self._folder = plane, control.keeper, control.folder
        reload = unary(SERVING.ReloadConfigRequest, self._reload)
        self.calls = {f"/{MODEL_SERVICE}/HandleReloadConfigRequest": Rpc(reload, Scope.DEPLOY)}

    async def _reload(self, request: Any) -> Any:
        """Answered once what is asked for serves, or with why it does not."""
        folder = self._folder
        if folder is None:
            raise UsageError("no model folder is watched", fix="headrace serving run --models FOLDER")
        if not request.config.HasField("model_config_list"):
            raise UsageError("a model_config_list is due", why="other configurations are not read")
        await asyncio.to_thread(self._keeper.look, folder)
        models = _read(request.config.model_config_list.config, folder)

        def change(before: FolderSettings) -> FolderSettings:
            kept = {
                n: replace(own, endpoint=before.models[n].endpoint) for n, own in models.items() if n in before.models
            }
            return replace(before, models=models | kept, only_named=True)

        folder.configure(change)
        await asyncio.to_thread(self._keeper.look, folder)
        loads = [asyncio.wrap_future(self._keeper.load(name)) for name in models]
        wrong = [e for e in await asyncio.gather(*loads, return_exceptions=True) if isinstance(e, BaseException)]
        if wrong:
            raise wrong[0]
        self._check_labels(models)
        return SERVING.ReloadConfigResponse(status=SERVING.StatusProto())

    def _check_labels(self, models: Mapping[str, ModelSettings]) -> None:
        for name, own in models.items():
            known = self._plane.status(name).own
            for label, number in own.labels.items():
                if number not in known or known[number].state != "available":
                    raise UsageError(
                        f"label {label!r} of {name} cannot mean version {number} yet",
                        why="that version is not loaded; until it is, the label means what it meant before",
                        fix="let model_version_policy take it in",
                    )


def _read(configs: Any, folder: FolderSource) -> dict[str, ModelSettings]:
    found: dict[str, ModelSettings] = {}
    for config in configs:
        name = config.name
        if name not in folder.models:
            known = ", ".join(sorted(folder.models)) or "no model"
            raise NotFound(f"the watched folder has no model {name!r}", why=f"it has {known}")
        if config.base_path and Path(config.base_path) != folder.path / name:
            raise UsageError(
                f"model {name} is not taken from elsewhere",
                why="paths are not taken from callers",
                fix="leave base_path empty, and put the model into the watched folder",
            )
        if name in found:
            raise UsageError(f"model {name} is configured twice")
        table = {"versions": _versions(config.model_version_policy), "labels": dict(config.version_labels)}
        found[name] = model_settings(name, table)
    return found


def _versions(policy: Any) -> Any:
    if policy.HasField("all"):
        return "all"
    if policy.HasField("specific"):
        return list(policy.specific.versions)
    return policy.latest.num_versions or 1
