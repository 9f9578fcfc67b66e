"""Training of groups of trials in one graph, until each is a candidate of the pool."""

import copy
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
from keras_hyperens.search.checkpoints import Offers
from keras_hyperens.search.checkpoints import Predicted
from keras_hyperens.search.grouped.candidate_group import CandidateGroup
from keras_hyperens.search.grouped.joint import sites_of
from keras_hyperens.search.grouped.pace import Pace
from keras_hyperens.search.grouped.pace import first_rows
from keras_hyperens.search.grouped.pace import number_of_steps
from keras_hyperens.search.grouped.pace import paces
from keras_hyperens.search.trial_recorder import Found
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
        say: Function that prints a line.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.graphs: dict[Any, Graph] = {}
        self.said: set[str] = set()

    def train(self, group: Sequence[Waiting], recorder: TrialRecorder, arguments: dict[str, Any]) -> None:
        """Trains the candidates of the group, unless separate training is faster.

        Args:
            group: Trials with the same structure.
            recorder: Recorder of the candidates.
            arguments: Arguments of `fit`.

        Raises:
            IncompatibleModelsError: If the result would differ from separate training.
        """
        if len(group) < 2:
            return
        stops = arguments.get("callbacks") or ()
        arguments = {name: value for name, value in arguments.items() if name != "callbacks"} | {"verbose": 0}
        start = time.monotonic()
        graph = self._graph_for(group, recorder, arguments)
        steps = number_of_steps(arguments)
        if not self._is_faster(graph, len(group), steps):
            return
        seed = recorder.seed_of(group[0].name)
        filled = [*group, *[group[-1]] * (graph.network.ensemble_size - len(group))]
        models, facts = [each.model for each in filled], [each.facts for each in filled]
        graph.network.start(models, facts, seed, steps)
        best = BestEpochs(recorder.tuner.oracle.objective, graph.network.ensemble_size, stops)
        keras.utils.set_random_seed(seed)  # of the order of samples
        offers = _offers(group, recorder, graph.network, best)
        graph.network.fit(**arguments, callbacks=[*offers, best])
        best.restore(graph.network)
        _record(group, recorder, graph.network, best, start)

    def _graph_for(self, group: Sequence[Waiting], recorder: TrialRecorder, arguments: dict[str, Any]) -> Graph:
        """Returns a graph for the group, created if necessary."""
        sites = sites_of([each.facts for each in group])
        for (structure, size), graph in self.graphs.items():
            if structure == group[0].structure and size >= len(group) and {*sites} <= {*graph.network.joint.sites}:
                return graph
        model = group[0].model
        network = CandidateGroup(model, sites, len(group), first_rows(arguments))
        alone = recorder.hypermodel.inner.build(group[0].trial.hyperparameters.copy())
        graph = Graph(network, *(paces([network, alone], arguments) or (None, None)))
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


class BestEpochs(keras.callbacks.Callback):
    """Callback that keeps each member's best weights and its history, like a tuner's callbacks for one model.

    Early stopping applies to each member separately; the training ends when it has stopped all members.

    Args:
        objective: KerasTuner objective.
        ensemble_size: M.
        stops: Callbacks `keras.callbacks.EarlyStopping`.
    """

    def __init__(self, objective: Any, ensemble_size: int, stops: Sequence[keras.callbacks.EarlyStopping] = ()) -> None:
        super().__init__()
        self.objective = objective
        self.stops = [copy.deepcopy(list(stops)) for _ in range(ensemble_size)]
        self.ends: dict[int, int] = {}  # number of epochs of each stopped member
        self.best = np.full(ensemble_size, np.inf if objective.direction == "min" else -np.inf)
        self.logs: list[dict[str, np.ndarray]] = []
        self.epochs: list[int] = []
        self.kept: list[np.ndarray] = []  # weights of the network, with the best epoch of each member

    def on_train_begin(self, logs: Any = None) -> None:
        for stops, scorer in zip(self.stops, self.model.scorers, strict=True):
            for each in stops:
                each.restore_best_weights = False  # this callback keeps the best weights by the objective
                each.set_model(scorer)
                each.on_train_begin()
            scorer.stop_training = False

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        number = len(self.best)
        logs = {name: np.broadcast_to(np.asarray(value), number) for name, value in (logs or {}).items()}
        self.logs.append(logs)
        self.epochs.append(epoch)
        of_members = {member: self._own(member, logs) for member in self.running()}
        improved = [member for member, own in of_members.items() if self._improves(member, own)]
        self.kept = self.model.keep(improved, self.kept)
        for member, own in of_members.items():
            for each in self.stops[member]:
                each.on_epoch_end(epoch, own)
            if self.model.scorers[member].stop_training:
                self.ends[member] = len(self.logs)
        self.model.stop_training = not self.running()

    def running(self) -> list[int]:
        """Returns the members that are not stopped."""
        return [member for member in range(len(self.best)) if member not in self.ends]

    def _own(self, member: int, logs: dict[str, np.ndarray]) -> dict[str, float]:
        return {name: float(values[member]) for name, values in logs.items()}

    def _improves(self, member: int, own: dict[str, float]) -> bool:
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
            epochs = self.logs[: self.ends.get(member)]
            history.history = {
                name: [float(logs[name][member]) for logs in epochs if name in logs] for name in epochs[0]
            }
            history.epoch = self.epochs[: self.ends.get(member)]
            found.append(history)
        return found


def _offers(
    group: Sequence[Waiting], recorder: TrialRecorder, network: CandidateGroup, best: BestEpochs
) -> list[keras.callbacks.Callback]:
    """Returns the callback for the selection among epochs, if there is one."""
    if recorder.checkpoints is None:
        return []
    places = {each.name: member for member, each in enumerate(group)}
    recorder.checkpoints.begin(list(places))

    def predict() -> Predicted:
        rows: Any = recorder.rows
        outputs = rows.outputs(network, recorder.batch_size)
        found = {name: recorder.predicted(group[k].model, outputs[k]) for name, k in places.items()}
        likelihoods, names = found[group[0].name][1:]
        running = [name for name, member in places.items() if member not in best.ends]
        return {name: found[name][0] for name in running}, likelihoods, names

    def weights_of(name: str) -> list[np.ndarray]:
        model = group[places[name]].model
        network.release(places[name], model)
        return model.get_weights()

    return [Offers(recorder.checkpoints, predict, weights_of)]


def _record(
    group: Sequence[Waiting], recorder: TrialRecorder, network: CandidateGroup, best: BestEpochs, start: float
) -> None:
    """Creates candidates from the members of a group that was trained since `start`."""
    rows: Any = recorder.rows  # a stage without validation data has no groups
    outputs = rows.outputs(network, recorder.batch_size)
    histories = best.histories()
    found = []
    for member, each in enumerate(group):
        network.release(member, each.model)
        found.append(_candidate_of(each, recorder, outputs[member], histories[member]))
    seconds = round((time.monotonic() - start) / len(group), 3)
    recorder.add([(replace(candidate, seconds=seconds), predictions) for candidate, predictions in found])


def _candidate_of(each: Waiting, recorder: TrialRecorder, outputs: Any, history: Any) -> Found:
    """Returns the candidate of a trial with a trained model."""
    model = each.model
    recorder.pool.forget(each.name)
    model.optimizer.build(model.trainable_variables)  # files of weights contain its variables
    files.write_whole(recorder.checkpoint_of(each.trial.trial_id), model.save_weights)
    return recorder.candidate_of(recorder.known_of(each.name, each.values), each.trial, model, history, outputs)
