"""Search that trains trials in groups with the same result as separate training."""

import itertools
import warnings
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import keras
import keras_tuner

from keras_hyperens import files
from keras_hyperens.conversion.probing import facts_of
from keras_hyperens.search import tuner_hooks
from keras_hyperens.search.candidate import RETRAINING
from keras_hyperens.search.candidate import SEARCH
from keras_hyperens.search.distributed.processes import is_distributed
from keras_hyperens.search.grouped.group_trainer import GroupTrainer
from keras_hyperens.search.grouped.group_trainer import Waiting
from keras_hyperens.search.grouped.joint import IncompatibleModelsError
from keras_hyperens.search.grouped.joint import structure_of
from keras_hyperens.search.settings import Settings
from keras_hyperens.search.trial_recorder import TrialRecorder
from keras_hyperens.search.tuner_hooks import IDLE
from keras_hyperens.search.tuner_hooks import STOPPED
from keras_hyperens.search.tuners import own_values

WITHOUT_FEEDBACK = ("random", "grid")  # tuners that do not wait for the results of trials
ALONE = "Candidates are trained one at a time"
MOST_WAITING = 4  # limit of waiting models, relative to the size of a group


def groups_of(
    settings: Settings, recorder: TrialRecorder, arguments: dict[str, Any], say: Callable[[str], None]
) -> Callable[[], None] | None:
    """Returns the search loop of a stage with groups, or `None` if it trains one candidate at a time."""
    if settings.candidates_at_once == 1 or recorder.stage == RETRAINING:
        return None
    reason = why_alone(settings, recorder.stage, arguments)
    if reason is not None:
        warnings.warn(f"{ALONE} ({recorder.stage}): {reason}", stacklevel=5)
        return None
    return lambda: GroupSearch(recorder, settings.candidates_at_once, arguments, say).search()


def why_alone(settings: Settings, stage: str, arguments: dict[str, Any]) -> str | None:
    """Returns the reason why a stage cannot train trials in groups, or `None`."""
    reasons = {
        f"only {' and '.join(WITHOUT_FEEDBACK)} search do not wait for results": stage == SEARCH
        and not (isinstance(settings.tuner, str) and settings.tuner in WITHOUT_FEEDBACK),
        "callbacks other than `EarlyStopping` belong to one model": any(
            type(each) is not keras.callbacks.EarlyStopping for each in arguments.get("callbacks") or ()
        ),
        "`training_subset` gives each candidate different samples": settings.training_subset is not None,
        "`distribution_strategy` trains one model": settings.distribution_strategy is not None,
        "several processes search": is_distributed(),
        "the hypermodel has a custom `fit`": type(settings.hypermodel).fit is not keras_tuner.HyperModel.fit,
        "a generator can only be used once": isinstance(arguments.get("x"), Iterator),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


class GroupSearch:
    """KerasTuner's search loop for trials that are trained in groups before they run.

    A running trial finds its candidate in the pool, as after an interruption, so its KerasTuner records are the same as
    those of other trials.

    Args:
        recorder: Recorder attached to the tuner.
        size: Maximum size of a group.
        arguments: Arguments of `keras_tuner.Tuner.search`.
        say: Function that prints a line.
    """

    def __init__(
        self, recorder: TrialRecorder, size: int, arguments: dict[str, Any], say: Callable[[str], None]
    ) -> None:
        self.recorder, self.tuner, self.size, self.arguments = recorder, recorder.tuner, size, arguments
        self.groups = GroupTrainer(say)
        self.waiting: dict[str, list[Waiting]] = {}  # by structure
        self.alone: set[str] = set()  # structures without groups

    def search(self) -> None:
        """Runs all trials of the tuner."""
        self.tuner.oracle.verbose = self.arguments["verbose"]
        self.tuner.on_search_begin()
        with tuner_hooks.forgotten_gradients():
            for number in itertools.count():
                self.tuner.pre_create_trial()
                # A tuner has one trial at a time: each waiting trial has its own tuner name.
                trial = self.tuner.oracle.create_trial(f"{self.tuner.tuner_id}-{number}")
                if trial.status == STOPPED:
                    break
                if trial.status == IDLE:
                    self._train_all()
                else:
                    self._take(trial)
        self.tuner.on_search_end()

    def _take(self, trial: Any) -> None:
        name, values = self.recorder.name_of(trial), own_values(trial.hyperparameters.values)
        if self.recorder.is_known(name, values):
            return self._run(trial)
        try:
            waiting = self._built(trial, name, values)
        except Exception:  # the error recurs in separate training, and is recorded there
            return self._run(trial)
        if waiting is None:
            return self._run(trial)
        self.waiting.setdefault(waiting.structure, []).append(waiting)
        if len(self.waiting[waiting.structure]) == self.size:
            self._train(waiting.structure)
        elif sum(map(len, self.waiting.values())) >= MOST_WAITING * self.size:
            self._train(max(self.waiting, key=lambda each: len(self.waiting[each])))

    def _built(self, trial: Any, name: str, values: dict[str, Any]) -> Waiting | None:
        """Returns the trial with its model as in separate training; `None` if it requires separate training."""
        model = model_of(trial, name, self.recorder)
        try:
            facts = facts_of(model)
            structure = structure_of(model, facts)
        except IncompatibleModelsError as reason:
            self._warn("any", reason)
            return None
        return None if structure in self.alone else Waiting(trial, name, values, structure, model, facts)

    def _begun(self, group: list[Waiting], recorder: TrialRecorder) -> list[Waiting]:
        """Returns the trials with new models for a training run, without trials that already finished it."""
        if recorder is self.recorder:
            return group
        named = [replace(each, name=recorder.name_of(each.trial)) for each in group]
        missing = [each for each in named if not recorder.is_known(each.name, each.values)]
        return [replace(each, model=model_of(each.trial, each.name, recorder)) for each in missing]

    def _train_all(self) -> None:
        for structure in list(self.waiting):
            self._train(structure)

    def _train(self, structure: str) -> None:
        """Trains the waiting trials of a structure, in a group if possible, and ends them."""
        group = self.waiting.pop(structure)
        trials = [each.trial for each in group]
        try:
            for recorder, arguments in self.recorder.trainings(self.arguments):
                self.groups.train(self._begun(group, recorder), recorder, arguments)
        except IncompatibleModelsError as reason:
            self._warn(structure, reason)
        except files.OUTAGES as error:  # such as a full disk, independent of the candidates
            raise keras_tuner.errors.FatalRuntimeError(str(error)) from error
        except Exception as error:  # such as insufficient memory
            self._warn(structure, f"{type(error).__name__}: {error}")
        group.clear()  # the models
        for trial in trials:
            self._run(trial)

    def _warn(self, structure: str, reason: Any) -> None:
        if structure not in self.alone:
            self.alone.add(structure)
            warnings.warn(f"{ALONE}: {reason}", stacklevel=2)

    def _run(self, trial: Any) -> None:
        tuner_hooks.run_whole_trial(self.tuner, trial, self.arguments)


def model_of(trial: Any, name: str, recorder: TrialRecorder) -> keras.Model:
    """Returns the model of a trial as in separate training, for the candidate of this name."""
    keras.utils.clear_session(free_memory=False)  # for the names of layers, and so of metrics
    return recorder.build(trial.hyperparameters, name)
