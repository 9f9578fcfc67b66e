"""Recorder of a stage: converts each KerasTuner trial to a candidate of the pool, once."""

import functools
import time
import traceback
import zlib
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from typing import Any

import keras
import keras_tuner
import numpy as np

from keras_hyperens import files
from keras_hyperens.likelihoods import names_of
from keras_hyperens.search import tuner_hooks
from keras_hyperens.search.assembly import trained_model
from keras_hyperens.search.candidate import DIVERGED
from keras_hyperens.search.candidate import SEARCH
from keras_hyperens.search.candidate import Candidate
from keras_hyperens.search.candidate import name_of_trial
from keras_hyperens.search.candidate import parent_of
from keras_hyperens.search.checkpoints import ENSEMBLE_SCORE
from keras_hyperens.search.checkpoints import CheckpointSelection
from keras_hyperens.search.checkpoints import Offers
from keras_hyperens.search.checkpoints import Predicted
from keras_hyperens.search.distributed.processes import is_worker
from keras_hyperens.search.distributed.processes import worker_id
from keras_hyperens.search.pool import Pool
from keras_hyperens.search.recorded_hypermodel import RecordedHyperModel
from keras_hyperens.search.recorded_hypermodel import best_metrics
from keras_hyperens.search.training_rows import Share
from keras_hyperens.search.tuners import RUN
from keras_hyperens.search.tuners import own_values
from keras_hyperens.search.validation_rows import ValidationRows

Found = tuple[Candidate, list[np.ndarray]]  # a candidate, and its predictions of each output


@dataclass
class TrialRecorder:
    """Runs the trials of one stage.

    Args:
        pool: Pool of the candidates.
        stage: Name of the stage.
        rows: The validation data; `None` for retraining.
        score: Function from predictions of each output and their likelihoods to a number; lower is better, NaN for
            non-finite predictions.
        seed: Seed of the builder.
        same_initialization: Whether all candidates have the same seed.
        prediction_dtype: Type of the predictions on disk.
        training_subset: Fraction of the training samples for each candidate, or `None`.
        batch_size: Batch size of predictions.
        goes_on_from_weights: Whether the tuner reads the weights of finished trials.
        checkpoints: Selection among all epochs, or `None`.
        epochs: Number of epochs for retraining by candidate, because there is no validation data.
    """

    pool: Pool
    stage: str
    rows: ValidationRows | None
    score: Callable[[list[np.ndarray], list[Any]], float | None]
    seed: int
    same_initialization: bool
    prediction_dtype: str
    training_subset: float | None
    batch_size: int | None
    goes_on_from_weights: bool = False
    checkpoints: CheckpointSelection | None = None
    epochs: dict[str, int] = field(default_factory=dict)
    running: str | None = field(default=None, init=False)  # the current trial

    def attach(self, tuner: keras_tuner.Tuner) -> None:
        """Converts the tuner's trials to candidates; the tuner is otherwise unchanged."""
        inner = tuner.hypermodel.inner if isinstance(tuner.hypermodel, RecordedHyperModel) else tuner.hypermodel
        self.tuner = tuner
        self.hypermodel = tuner.hypermodel = RecordedHyperModel(inner, tuner.oracle.objective.name)
        self.run, self.place_of = tuner_hooks.replace_training(tuner, self.run_trial, self.checkpoint_of)

    def name_of(self, trial: Any) -> str:
        """Returns the name of the candidate of a trial, possibly sent by a chief."""
        run = None if self.stage == SEARCH else trial.hyperparameters.values.get(RUN)
        own = name_of_trial(files.checked_name(trial.trial_id))
        return own if run is None else files.checked_name(run)

    def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Trains a candidate, or returns its result if it is known."""
        name, values = self.name_of(trial), own_values(trial.hyperparameters.values)
        candidate = self.pool.find(name)
        if candidate is None or not self.is_known(name, values):
            candidate = self._train(name, values, trial, args, kwargs)
        if candidate.failure is not None:
            raise keras_tuner.errors.FailedTrialError(candidate.failure)
        return candidate.metrics

    def trainings(self, arguments: dict[str, Any]) -> Iterator[tuple["TrialRecorder", dict[str, Any]]]:
        """Yields the training runs of a candidate: the recorder of each, and its arguments of `fit`."""
        yield self, arguments

    def is_known(self, name: str, values: dict[str, Any]) -> bool:
        """Whether a candidate of this name, with these values, is in the pool."""
        candidate = self.pool.find(name)
        return candidate is not None and candidate.values == values

    def build(self, hyperparameters: Any, name: str) -> keras.Model:
        """Returns the model of a candidate, with its initial weights."""
        self.hypermodel.next_seed = self.seed_of(name)
        try:
            return self.hypermodel.build(hyperparameters)
        finally:
            self.hypermodel.next_seed = None

    def _train(self, name: str, values: dict[str, Any], trial: Any, args: Any, kwargs: Any) -> Candidate:
        start = time.monotonic()
        self.pool.forget(name)
        known = self.known_of(name, values)
        predictions: list[np.ndarray] = []
        try:
            candidate, predictions = self._trained(known, trial, args, kwargs)
        except keras_tuner.errors.FatalError:
            raise
        except files.OUTAGES as error:  # such as a full disk, independent of the candidate
            raise keras_tuner.errors.FatalRuntimeError(str(error)) from error
        except Exception:
            candidate = Candidate(**known, failure=traceback.format_exc())
        candidate = replace(candidate, seconds=candidate.seconds or _since(start))
        self.add([(candidate, predictions)])
        return candidate

    def _trained(self, known: dict[str, Any], trial: Any, args: Any, kwargs: Any) -> Found:
        """Trains a candidate."""
        name = known["name"]
        self.running = trial.trial_id
        checkpoint = self.checkpoint_of(trial.trial_id)
        files.remove(checkpoint)  # of an interrupted training run
        self.hypermodel.next_seed = known["seed"]
        self.hypermodel.share = None if self.training_subset is None else Share(self.training_subset, known["seed"])
        self.hypermodel.epochs = self.epochs.get(name)
        try:
            if self.checkpoints is not None:
                self.checkpoints.begin([name])
                self.hypermodel.offers = functools.partial(self._offers, name, self.checkpoints)
            with tuner_hooks.forgotten_gradients():
                results = self.run(trial, *args, **kwargs)
            self._load_best(checkpoint)
            return self.candidate_of(known, trial, self.hypermodel.model, results)
        finally:
            self.running = self.hypermodel.model = None
            self.hypermodel.next_seed = None

    def add(self, found: Sequence[Found]) -> None:
        """Writes the records of candidates of one training run."""
        if self.checkpoints is not None:
            self.checkpoints.end([candidate for candidate, _ in found])
        for candidate, predictions in found:
            self.pool.add(candidate, predictions if candidate.failure is None else ())

    def _offers(self, name: str, checkpoints: CheckpointSelection, model: Any) -> Offers:
        """Returns the callback for the selection among epochs of the candidate of this name."""

        def predict() -> Predicted:
            predictions, likelihoods, outputs = self.predicted(model)
            return {name: predictions}, likelihoods, outputs

        return Offers(checkpoints, predict, lambda name: model.get_weights())

    def known_of(self, name: str, values: dict[str, Any]) -> dict[str, Any]:
        """Returns the known fields of a candidate before training."""
        own = {"name": name, "stage": self.stage, "values": values}
        return {**own, "seed": self.seed_of(name), "parent": parent_of(name)}

    def checkpoint_of(self, trial_id: str) -> str:
        """Returns the path of the weights of a trial, which are overwritten while it runs."""
        place = self.place_of(trial_id)
        if trial_id != self.running:
            return place
        if files.is_remote(place):
            return files.join(files.scratch().name, f"{self.stage}-{trial_id}.weights.h5")
        # Another worker with an expired lease may still write.
        own = f"-{files.checked_name(worker_id())}" if is_worker() else ""
        return place.replace(".weights.h5", f"{own}.weights.h5")

    def candidate_of(self, known: dict[str, Any], trial: Any, model: Any, results: Any, outputs: Any = None) -> Found:
        """Returns the candidate of a trained model, and stores its weights and its checkpoints.

        Args:
            known: Result of `known_of`.
            trial: The trial, with its weights in the file `checkpoint_of`.
            model: Model with these weights.
            results: Results of the training.
            outputs: Outputs for the validation data, if they are known.
        """
        weights = self.keep_weights(known["name"], self.checkpoint_of(trial.trial_id), trial)
        metrics, best_epoch = best_metrics(results, self.tuner.oracle.objective)
        metrics.pop(ENSEMBLE_SCORE, None)  # not of this candidate
        predictions, described = self._described(model, outputs)
        described["weights"] = weights
        described["failure"] = self._divergence(metrics, described["score"])
        candidate = Candidate(**known, **described, metrics=metrics, best_epoch=best_epoch)
        if self.checkpoints is not None:
            self.checkpoints.write(candidate, model)
        return candidate, predictions

    def keep_weights(self, name: str, checkpoint: str, trial: Any) -> str:
        """Moves the checkpoint of a finished trial to the pool, unless a tuner object owns it.

        Returns:
            The path for the pool.
        """
        place = self.place_of(trial.trial_id)
        theirs = not files.is_inside(place, self.pool.directory)
        if checkpoint != place and (theirs or self.goes_on_from_weights):
            files.move(checkpoint, place)
            checkpoint = place
        if theirs:
            return files.relative(place, self.pool.directory)
        return self.pool.take_weights(name, checkpoint, leave=self.goes_on_from_weights)

    def _load_best(self, checkpoint: str) -> None:
        """Loads the weights of the best epoch into the model of the trial."""
        model: Any = self.hypermodel.model
        if model is None:
            raise ValueError("`HyperModel.fit` was not called: the tuner must train with its hypermodel")
        if files.exists(checkpoint):
            model.load_weights(checkpoint)
        else:  # a custom `HyperModel.fit` that ignores the tuner's callbacks
            files.write_whole(checkpoint, model.save_weights)

    def _described(self, model: Any, outputs: Any = None) -> tuple[list[np.ndarray], dict[str, Any]]:
        """Returns a model's predictions for the validation data, and the fields of its record."""
        described: dict[str, Any] = {
            "build_config": model.get_build_config(),
            "score": None,
        }
        if self.rows is None:
            return [], described
        predictions, likelihoods, names = self.predicted(model, outputs)
        described |= {"likelihoods": tuple(names_of(likelihoods)), "outputs": names}
        return predictions, described | {"score": self.score(predictions, likelihoods)}

    def predicted(self, model: Any, outputs: Any = None) -> tuple[list[np.ndarray], list[Any], tuple[str, ...]]:
        """Returns predictions for the validation data, their likelihoods, and the names of several outputs.

        Args:
            model: A trained model.
            outputs: Outputs for the validation data, if they are known.
        """
        rows: Any = self.rows
        outputs = rows.outputs(model, self.batch_size) if outputs is None else outputs
        predictions, likelihoods = rows.predictions(model, outputs, self.prediction_dtype)
        names = tuple(rows.names or getattr(model, "output_names", None) or map(str, range(len(predictions))))
        return predictions, likelihoods, names if len(predictions) > 1 else ()

    def _divergence(self, metrics: dict[str, float], score: float | None) -> str | None:
        objective = self.tuner.oracle.objective.get_value(metrics)
        if np.isfinite(objective) and (score is None or np.isfinite(score)):
            return None
        return f"{DIVERGED}: objective {objective}, score of its predictions {score}"

    def seed_of(self, name: str) -> int:
        """Returns a different seed for every candidate, unless all start equal."""
        number = 0 if self.same_initialization else zlib.crc32(name.encode())
        return int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0] % 2**31)

    def collect(self, trial: Any) -> None:
        """Creates a candidate from a finished trial of a tuner object, with the weights that the tuner stored."""
        start = time.monotonic()
        name = self.name_of(trial)
        checkpoint = self.place_of(trial.trial_id)
        if self.pool.find(name) is not None or not files.exists(checkpoint):
            return
        values = own_values(trial.hyperparameters.values)
        config = tuner_hooks.build_config_file(self.tuner, trial.trial_id)
        build_config = files.read_json(config) if files.exists(config) else None
        strategy = self.tuner.distribution_strategy
        self.hypermodel.model = trained_model(self.hypermodel.inner, values, checkpoint, build_config, strategy)
        self._load_best(checkpoint)
        predictions, described = self._described(self.hypermodel.model)
        self.hypermodel.model = None
        metrics = {key: trial.metrics.get_best_value(key) for key in trial.metrics.metrics}
        known: dict[str, Any] = {"name": name, "stage": SEARCH, "values": values, "seed": 0}
        described["weights"] = files.relative(checkpoint, self.pool.directory)  # the tuner's file
        described["failure"] = self._divergence(metrics, described["score"])
        candidate = Candidate(**known, parent=name, metrics=metrics, **described, seconds=_since(start))
        self.pool.add(candidate, predictions)


def _since(start: float) -> float:
    return round(time.monotonic() - start, 3)
