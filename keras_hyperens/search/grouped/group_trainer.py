"""Training of groups of trials in one graph, until each is a candidate of the pool."""

import time
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from keras_hyperens import files
from keras_hyperens.conversion.probing import Facts
from keras_hyperens.search.grouped.candidate_group import CandidateGroup
from keras_hyperens.search.grouped.joint import sites_of
from keras_hyperens.search.grouped.pace import Pace
from keras_hyperens.search.grouped.pace import first_rows
from keras_hyperens.search.grouped.pace import number_of_steps
from keras_hyperens.search.grouped.pace import paces
from keras_hyperens.search.trial_recorder import TrialRecorder


@dataclass(frozen=True)
class Waiting:
    """A trial that waits for its group.

    Attributes:
        trial: The KerasTuner trial.
        name, values: Name and values of its candidate.
        structure: Common structure of the models of one graph.
        model: The model, as returned by the hypermodel.
        facts: Properties of the model.
    """

    trial: Any
    name: str
    values: dict[str, Any]
    structure: str
    model: keras.Model
    facts: Facts


@dataclass
class Graph:
    """A network that trains one group after the other, and its speed, if known."""

    network: CandidateGroup
    together: Pace | None
    alone: Pace | None  # of separate training


class GroupTrainer:
    """Trains groups of trials with the same structure.

    Args:
        recorder: Recorder of the candidates.
        size: Maximum size of a group.
        arguments: Arguments of `fit`.
        say: Function that prints a line.
    """

    def __init__(
        self, recorder: TrialRecorder, size: int, arguments: dict[str, Any], say: Callable[[str], None]
    ) -> None:
        self.recorder, self.size, self.say = recorder, size, say
        self.arguments = {name: value for name, value in arguments.items() if name != "callbacks"} | {"verbose": 0}
        self.graphs: dict[Any, Graph] = {}
        self.said: set[str] = set()

    def train(self, group: Sequence[Waiting]) -> None:
        """Trains the candidates of the group, unless separate training is faster.

        Raises:
            IncompatibleModelsError: If the result would differ from separate training.
        """
        if len(group) == 1:
            return
        start = time.monotonic()
        graph = self._graph_for(group)
        steps = number_of_steps(self.arguments)
        if not self._is_faster(graph, len(group), steps):
            return
        seed = self.recorder.seed_of(group[0].name)
        filled = [*group, *[group[-1]] * (graph.network.ensemble_size - len(group))]
        models, facts = [each.model for each in filled], [each.facts for each in filled]
        graph.network.start(models, facts, seed, steps)
        best = BestEpochs(self.recorder.tuner.oracle.objective, graph.network.ensemble_size)
        keras.utils.set_random_seed(seed)  # of the order of samples
        graph.network.fit(**self.arguments, callbacks=[best])
        best.restore(graph.network)
        self._record(group, graph.network, best, start)

    def _graph_for(self, group: Sequence[Waiting]) -> Graph:
        """Returns a graph for the group, created if necessary."""
        sites = sites_of([each.facts for each in group])
        for (structure, size), graph in self.graphs.items():
            if structure == group[0].structure and size >= len(group) and {*sites} <= {*graph.network.joint.sites}:
                return graph
        model = group[0].model
        network = CandidateGroup(model, sites, len(group), first_rows(self.arguments))
        alone = self.recorder.hypermodel.inner.build(group[0].trial.hyperparameters.copy())
        graph = Graph(network, *(paces([network, alone], self.arguments) or (None, None)))
        self.graphs[group[0].structure, len(group)] = graph
        return graph

    def _is_faster(self, graph: Graph, number: int, steps: int | None) -> bool:
        """Whether candidates are trained faster in the group than separately; prints the decision."""
        if graph.together is None or graph.alone is None:
            return True
        together = replace(graph.together, begin=0.0).of(steps) / number  # traced once for all groups
        alone = graph.alone.of(steps)
        how = f"{number} at once" if together < alone else "one at a time"
        if how not in self.said:
            self.said.add(how)
            unit = "s each" if steps is not None else "s per step"
            self.say(f"candidates are trained {how}: about {together:.3g} {unit} in a group, {alone:.3g} separately")
        return together < alone

    def _record(self, group: Sequence[Waiting], network: CandidateGroup, best: "BestEpochs", start: float) -> None:
        rows: Any = self.recorder.rows  # a stage without validation data has no groups
        outputs = rows.outputs(network, self.recorder.batch_size)
        histories = best.histories()
        seconds = round((time.monotonic() - start) / len(group), 3)
        for member, each in enumerate(group):
            network.release(member, each.model)
            self._write(each, outputs[member], histories[member], seconds)

    def _write(self, each: Waiting, outputs: Any, history: Any, seconds: float) -> None:
        recorder, model = self.recorder, each.model
        recorder.pool.forget(each.name)
        checkpoint = recorder.place_of(each.trial.trial_id)
        model.optimizer.build(model.trainable_variables)  # files of weights contain its variables
        files.write_whole(checkpoint, model.save_weights)
        weights = recorder.keep_weights(each.name, checkpoint, each.trial)
        known = recorder.known_of(each.name, each.values)
        candidate, predictions = recorder.candidate_of(known, model, history, weights, outputs)
        recorder.pool.add(replace(candidate, seconds=seconds), predictions if candidate.failure is None else ())


class BestEpochs(keras.callbacks.Callback):
    """Callback that keeps each member's best weights and its history, like a tuner's callbacks for one model.

    Args:
        objective: KerasTuner objective.
        ensemble_size: M.
    """

    def __init__(self, objective: Any, ensemble_size: int) -> None:
        super().__init__()
        self.objective = objective
        self.best = np.full(ensemble_size, np.inf if objective.direction == "min" else -np.inf)
        self.logs: list[dict[str, np.ndarray]] = []
        self.kept: list[np.ndarray] = []  # weights of the network, for each member those of its best epoch

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs = {name: keras.ops.convert_to_numpy(value) for name, value in (logs or {}).items()}
        self.logs.append(logs)
        improved = [member for member in range(len(self.best)) if self._improves(member, logs)]
        self.kept = self.model.keep(improved, self.kept)

    def _improves(self, member: int, logs: dict[str, np.ndarray]) -> bool:
        own = {name: float(values[member]) for name, values in logs.items()}
        if not self.objective.has_value(own):
            return True
        value = self.objective.get_value(own)
        better = self.objective.better_than(value, self.best[member])
        if better:
            self.best[member] = value
        return better

    def restore(self, network: CandidateGroup) -> None:
        """Restores the weights of each member's best epoch; without one, the last weights are kept."""
        network.restore(self.kept)

    def histories(self) -> list[keras.callbacks.History]:
        """Returns the history of `fit` for each member."""
        found = []
        for member in range(len(self.best)):
            history = keras.callbacks.History()
            names = self.logs[0]
            history.history = {
                name: [float(logs[name][member]) for logs in self.logs if name in logs] for name in names
            }
            found.append(history)
        return found
