"""``hr.endpoint`` and ``hr.explain``: an endpoint that serves, in the hands of a script or a notebook."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from headrace.errors import HandleError
from headrace.sdk import ambient

if TYPE_CHECKING:
    from headrace.client import Client
    from headrace.client.overview import Served
    from headrace.delivery.canary import Moment
    from headrace.delivery.experiment import Experiment, Outcome
    from headrace.delivery.replay import Replayed
    from headrace.journey.platform import Platform
    from headrace.models.version import ModelVersion
    from headrace.serving.deployment import Deployment


class Endpoint:
    """A deployed endpoint of the project; each method is what the command of ``headrace serving`` with its name does.

    Other than the verbs of a pipeline, methods act at once, outside a run too: whoever holds an endpoint means the one
    that serves. Gateways follow within 100 ms. In a pipeline they belong inside an effect step.

    Args:
        name: Of the endpoint.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        """As it is made."""
        return f"hr.endpoint({self.name!r})"

    def split(self, shares: Mapping[str, float | str], *, key: str = "", why: str = "") -> "Deployment":
        """Have shares of the requests prefer other loaded models; the rest goes by the schedule. ``{}`` ends a split.

        Args:
            shares: Model to its share, ``0.05`` or ``"5%"``.
            key: What keeps a caller with the same model: an input column, or a header. Empty: each request is drawn.
            why: For people who read the ledger.

        Raises:
            NotFound: No such endpoint or version.
            UsageError: The endpoint has not loaded a model, or a share is none.
        """
        from headrace.delivery.traffic import Said
        from headrace.journey.steering import split

        return split(self._platform("split"), self.name, shares, key, Said(why=why))

    def promote(self, model: "ModelVersion | str", *, why: str = "") -> "Deployment":
        """Let a loaded version take the place of the one that is preferred; its alias moves too, and a split ends.

        Raises:
            NotFound: No such endpoint or version.
            UsageError: The endpoint has not loaded it.
            GateFailed: ``[promotion]`` requires of it what was not shown.
        """
        from headrace.delivery.traffic import Said
        from headrace.journey.steering import promote

        return promote(self._platform("promote"), self.name, str(model), Said(why=why))

    def rollback(self, *, to: int = 0, why: str = "") -> "Deployment":
        """Serve what was served before, with the very versions; aliases that had moved on move back.

        Args:
            to: A deployment by its number (``Deployment.seq``); 0 for the one before.
            why: For people who read the ledger.

        Raises:
            NotFound: No such endpoint or deployment, or none before.
        """
        from headrace.delivery.traffic import Said
        from headrace.journey.steering import rollback

        return rollback(self._platform("rollback"), self.name, to, Said(why=why))

    def canary(
        self,
        model: "ModelVersion | str",
        steps: Sequence[float | str],
        *,
        every: str = "10m",
        abort_if: Sequence[str] = (),
        why: str = "",
        **more: Any,
    ) -> "Deployment":
        """Give a version growing shares; gateways go from step to step, and back as soon as a rule holds.

        Args:
            model: The candidate.
            steps: Its shares, growing: ``["5%", "25%", "100%"]``.
            every: How long each lasts at least: ``90s``, ``10m``.
            abort_if: Rules of which none may hold: ``error_rate > 1%``, ``p99_ms > 1.2x champion``.
            why: For people who read the ledger.
            **more: ``least``, the requests that each share must have met (20), and ``key`` as in ``split``.

        Raises:
            NotFound: No such endpoint or version.
            UsageError: Another canary is under way, the version answers already, or a step or rule is none.
            GateFailed: ``[promotion]`` requires of it what was not shown.
        """
        from headrace.delivery.canary import Plan
        from headrace.delivery.traffic import Said
        from headrace.journey.steering import begin_canary
        from headrace.serving.moments import span_s

        plan = Plan(tuple(steps), span_s(every), tuple(abort_if), **more)
        return begin_canary(self._platform("canary"), self.name, str(model), plan, Said(why=why))

    def ab(
        self, *, outcome: "Outcome" = "error", alpha: float = 0.05, lift: float = 0.0, since: str | datetime = ""
    ) -> "Experiment":
        """Compare the models of a split by the labels that came in: lift, interval that always holds, whether to stop.

        Args:
            outcome: ``error``, ``accuracy`` or ``label``.
            alpha: Largest chance of ever telling two equal models apart.
            lift: Say how many outcomes this difference needs; 0 for none.
            since: From when: ``2h``, ``7d``, or an instant; by default since these shares stand.

        Raises:
            NotFound: Nothing is split there, or no label was ever kept.
            UsageError: A value is out of range, or the outcome does not fit the answers.
        """
        from headrace.delivery.experiment import Asked
        from headrace.journey.experiment import judge_experiment

        asked = Asked(outcome, alpha=alpha, lift=lift)
        return judge_experiment(self._platform("judge"), self.name, asked, _since_s(since))

    def replay(
        self,
        model: "ModelVersion | str",
        *,
        since: str | datetime = "",
        slices: Sequence[str] = (),
        tolerance: float = 0.01,
    ) -> "Replayed":
        """Score the logged requests with a candidate, without touching production.

        Args:
            model: The candidate.
            since: From when: ``2h``, ``7d``, or an instant; by default all that is logged.
            slices: Input columns to look at category by category.
            tolerance: Answers differ when they are farther apart.

        Raises:
            NotFound: No such endpoint or model, or nothing was logged in that time.
            SignatureError: The candidate takes what the log does not have.
            ParityFailed: It does not answer its recorded rows.
        """
        from headrace.journey.replay import Replay, replayed

        asked = Replay(self.name, str(model), _since_s(since), tuple(slices), tolerance)
        return replayed(self._platform("replay"), asked)

    def client(self) -> "Client":
        """A client of the project's running gateway, to ask it; close it, or use it in a ``with``.

        Raises:
            Unavailable: No gateway runs.
        """
        from headrace.journey.scoreboard import gateway_client

        return gateway_client(self._platform("ask"))

    def scoreboard(self) -> "Served":
        """The models side by side, as the running gateway counts them: won, late, failed, dropped, times, agreement.

        Raises:
            NotFound: The gateway has no such endpoint.
            Unavailable: No gateway runs.
        """
        from headrace.journey.scoreboard import scoreboard

        with self.client() as client:
            return scoreboard(client, self.name)

    def history(self) -> "list[Moment]":
        """Every deployment, oldest first, with who and why, and what canaries waited for.

        Raises:
            NotFound: Nothing was ever deployed there.
        """
        from headrace.delivery.canary import timeline

        return timeline(self._platform("look at").ledger(), self.name)

    def _platform(self, action: str) -> "Platform":
        if ambient.planning() is not None:
            raise HandleError(
                f"cannot {action} endpoint {self.name!r} while a pipeline is planned",
                why="it would act before any step or gate has run",
                fix="move that line into a @hr.step(effect=True)",
            )
        return ambient.platform()


def endpoint(name: str) -> Endpoint:
    """A deployed endpoint by its name, to split, promote, roll back, judge and watch; see ``Endpoint``.

    Example:
        ``hr.endpoint("late").split({"late@challenger": "5%"}, key="x-customer")``
    """
    return Endpoint(name)


def explain(prediction: str) -> dict[str, Any]:
    """Why a prediction is what it is: input, every score, why the winner won, model, data, commit.

    Args:
        prediction: Its id: ``answer.id`` of the client, the header ``x-headrace-id`` of a reply.

    Returns:
        What ``headrace serving explain ID --json`` prints.

    Raises:
        NameRefused: It is no id of a prediction.
        NotFound: No endpoint has logged it.
    """
    from headrace.journey.explain import explain as explained

    return explained(ambient.platform(), prediction)


def _since_s(since: str | datetime) -> float:
    from headrace.serving.moments import ago, instant

    if isinstance(since, datetime):
        return instant(since).timestamp()
    return ago(since, datetime.now(UTC)).timestamp() if since else 0.0
