"""From a KerasTuner hypermodel to a hyper-deep ensemble, in one call that can be repeated after any interruption."""

import contextlib
import functools
import warnings
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import keras_tuner

from keras_hyperens import files
from keras_hyperens.models import HyperDeepEnsemble
from keras_hyperens.search.assembly import assembled
from keras_hyperens.search.candidate import RETRAINING
from keras_hyperens.search.candidate import Candidate
from keras_hyperens.search.candidate_models import as_hypermodel
from keras_hyperens.search.costs import FrontierPoint
from keras_hyperens.search.directory import SearchDirectory
from keras_hyperens.search.display import summary
from keras_hyperens.search.distributed.processes import is_worker
from keras_hyperens.search.distributed.processes import run_workers
from keras_hyperens.search.member_choice import MemberChoice
from keras_hyperens.search.scorer import Scorer
from keras_hyperens.search.session import Session
from keras_hyperens.search.session import opened_session
from keras_hyperens.search.settings import LEASE
from keras_hyperens.search.settings import PATIENCE
from keras_hyperens.search.settings import Settings
from keras_hyperens.search.settings import check_metric
from keras_hyperens.search.settings import check_workers
from keras_hyperens.search.stages import Stages
from keras_hyperens.search.validation_rows import ValidationRows


class HyperDeepEnsembleBuilder:
    """Searches hyperparameters with KerasTuner and makes an ensemble of what was found.

    1. *Search*: any KerasTuner tuner trains candidates.
    2. *First selection*: greedily, the H sets of hyperparameters that are best together.
    3. *Stratification*: each set is trained again from several random initializations.
    4. *Second selection*: greedily among all candidates, K members with weights.
    5. *Retraining* of those on training and validation rows together, if asked for.

    Every candidate's validation predictions are on disk, so a selection costs no training, and a call that was
    interrupted at any moment is repeated to go on where it stopped: with the same seed, to the same ensemble.

    Args:
        hypermodel: What KerasTuner takes: a function `build_model(hp)`, or a `keras_tuner.HyperModel`.
        ensemble_size: K, the number of members.
        objective: As in KerasTuner; decides about a candidate's best epoch, and guides the search. (Keras adds L2
            penalties to `val_loss`: a metric of the loss alone, such as `keras_tuner.Objective("val_nll", "min")`,
            compares candidates better.)
        tuner: `"random"` (default), `"grid"`, `"bayesian"`, `"hyperband"`, an oracle, or a tuner of your own. A tuner
            object keeps its own directory, and resumes by KerasTuner's own means.
        max_trials: Candidates of the search.
        hyperparameters: As in KerasTuner: overrides parts of the space, or fixes them.
        search_pool_size: The first selection looks at so many best of the search; default at all that did not fail.
        num_hyperparameter_sets: H; default K. With 1 the result is an ordinary deep ensemble.
        initializations: Trainings of each set; default K. 0: no stratification.
        metric: Of both selections, as in `greedy_selection`, or `"loss"`: the compiled loss of the combined
            prediction, with its `loss_weights`. `"auto"`: `"nll"` for classes, `"mse"` for values, and `"loss"` for
            what is neither: soft labels, Gaussians, labels in a form of their own. For several outputs also a
            dictionary, by output. (It may change later: scores are then computed anew.)
        output_activation: As in `HyperDeepEnsemble`: what outputs are, where a loss of one's own does not say it.
        include_search: Whether candidates of the search itself can become members.
        same_initialization: Start all candidates from one seed. They then differ in hyperparameters alone, and there
            is nothing to stratify: the paper's fixed-initialization ensemble.
        training_subset: Train each candidate on a random share of the training rows, its own.
        candidates_at_once: Train so many candidates in one graph, which saves most of the time of small networks. Each
            gets the weights that it would get alone (its own penalties, dropout, label smoothing and learning rate),
            but for the order of rows, which a group has in common. Candidates of other layers form groups of their
            own. What cannot be trained so (callbacks, a tuner that waits for results, ...) or is slower so is trained
            one at a time, and a message says why. `keras.callbacks.EarlyStopping` is for each candidate by itself: one
            that is stopped waits for the others of its group.
        keep: Weights to keep on disk: `"all"`, `"selected"` (the members of the last ensemble; the others are deleted
            when it is built), or an integer: those of so many candidates, the best so far by score.
        prediction_dtype: Of the predictions on disk, `"float32"` or `"float16"`.
        directory, project_name, overwrite: As in KerasTuner, but `overwrite` deletes a search of this package and
            nothing else. The directory may be an address that TensorFlow reads and writes, like `"gs://bucket/runs"`.
            One process at a time searches in it (with its workers): a second one is told so, except at an address. A
            search goes on only with the same model, loss, arguments and data. Of arrays the values are compared; of a
            dataset as training data, which may shuffle, only shapes and the number of batches: after a change of its
            samples use `overwrite=True`.
        seed: Of everything. Default: drawn at the first call, and kept in the directory.
        distribution_strategy: A `tf.distribute.Strategy` for each training.
        cross_validation: Train each candidate on so many folds, or on those of a splitter (scikit-learn's, or any
            object with `split(X, y, groups)`; one that shuffles needs a seed of its own), one after the other. Both
            selections then see what networks predict for samples that they were not trained on: for all samples, so
            `search` takes no validation data. Folds of a number have equal shares of classes, and hold out `groups`
            together. With k folds a candidate has k trainings.
        refit: Whether a candidate of cross-validation is trained once more, on all samples for the median best epoch of
            its folds (rounded down), and is that network. Otherwise it is the mean of the networks of its folds, and K
            members are K times k networks; `retrain` then makes one of each, for K trainings.
        checkpoints: `"best"`: the weights of a candidate are those of its best epoch by the objective. `"ensemble"`:
            after each epoch of each training K members are chosen greedily among those so far and the candidates as
            they are now, and weights of such epochs are kept as further candidates. It costs a prediction of the
            validation data after each epoch. So many selections can overfit few validation samples: `build_ensemble`
            with other `validation_data` makes the last choice on samples that had no part in it.

    Raises:
        TypeError, ValueError: If an argument is out of its range.

    Example:
    >>> import tempfile
    >>> import keras
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> def build_model(hp):
    ...     l2 = keras.regularizers.L2(hp.Float("l2", 1e-6, 1e-2, sampling="log"))
    ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, kernel_regularizer=l2)])
    ...     model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    ...     return model
    >>> x, y = np.random.default_rng(0).normal(size=(64, 3)), np.arange(64) % 2
    >>> builder = khe.HyperDeepEnsembleBuilder(
    ...     build_model, ensemble_size=2, max_trials=2, initializations=1, directory=tempfile.mkdtemp(), seed=0
    ... )
    >>> builder.search(x, y, validation_split=0.25, epochs=2, verbose=0)
    >>> ensemble = builder.build_ensemble()
    >>> ensemble.predict(x, verbose=0).shape, len(builder.candidates)
    ((64, 2), 4)

    The same with all samples for training and selection, by two folds:

    >>> builder = khe.HyperDeepEnsembleBuilder(
    ...     build_model, ensemble_size=1, max_trials=1, initializations=0, cross_validation=2,
    ...     directory=tempfile.mkdtemp(), seed=0,
    ... )
    >>> builder.search(x, y, epochs=1, verbose=0)
    >>> builder.build_ensemble().ensemble_size
    1

    References:
        - Wenzel et al., [Hyperparameter Ensembles for Robustness and Uncertainty
          Quantification](https://arxiv.org/abs/2006.13570), NeurIPS 2020, algorithm 1
    """

    def __init__(
        self,
        hypermodel: Any,
        *,
        ensemble_size: int = 4,
        objective: Any = "val_loss",
        tuner: Any = "random",
        max_trials: int | None = 50,
        hyperparameters: keras_tuner.HyperParameters | None = None,
        search_pool_size: int | None = None,
        num_hyperparameter_sets: int | None = None,
        initializations: int | None = None,
        metric: Any = "auto",
        output_activation: Any = "auto",
        include_search: bool = True,
        same_initialization: bool = False,
        training_subset: float | None = None,
        candidates_at_once: int = 1,
        keep: str | int = "all",
        prediction_dtype: str = "float32",
        directory: Any = ".",
        project_name: str = "hyper_deep_ensemble",
        overwrite: bool = False,
        seed: int | None = None,
        distribution_strategy: Any = None,
        cross_validation: Any = None,
        refit: bool = True,
        checkpoints: str = "best",
    ) -> None:
        if same_initialization and initializations:
            raise ValueError(
                "With `same_initialization=True` there is nothing to train from several initializations: leave "
                f"`initializations` out. Received: initializations={initializations}"
            )
        default = 0 if same_initialization else ensemble_size
        self._settings = Settings(
            hypermodel=as_hypermodel(hypermodel),
            ensemble_size=ensemble_size,
            objective=objective,
            tuner=tuner,
            max_trials=max_trials,
            hyperparameters=hyperparameters,
            search_pool_size=search_pool_size,
            num_hyperparameter_sets=ensemble_size if num_hyperparameter_sets is None else num_hyperparameter_sets,
            initializations=default if initializations is None else initializations,
            metric=metric,
            output_activation=output_activation,
            include_search=include_search,
            same_initialization=same_initialization,
            training_subset=training_subset,
            candidates_at_once=candidates_at_once,
            keep=keep,
            prediction_dtype=prediction_dtype,
            directory=files.as_directory(directory),
            project_name=project_name,
            overwrite=overwrite,
            seed=seed,
            distribution_strategy=distribution_strategy,
            cross_validation=cross_validation,
            refit=refit,
            checkpoints=checkpoints,
        )
        self.pool = self._settings.pool()
        self._directory = SearchDirectory(self._settings, self.pool)
        self._scorer = Scorer(self._directory)
        self._choice = MemberChoice(self._settings, self._scorer)
        self.members: list[Candidate] = []
        self.member_weights: tuple[float, ...] = ()
        self.combination = "mean"

    @classmethod
    def from_tuner(
        cls, tuner: keras_tuner.Tuner, *, ensemble_size: int = 4, **arguments: Any
    ) -> "HyperDeepEnsembleBuilder":
        """A builder on a KerasTuner search that has finished: nothing of it is trained again.

        `search(validation_data=...)` then predicts the validation rows with the models that the tuner kept, and, unless
        `initializations=0`, trains the best sets of hyperparameters from several initializations, for which it needs
        what `tuner.search` needed.

        Args:
            tuner: After its `search`, or made anew on the same directory with `overwrite=False`.
            ensemble_size, **arguments: Of `HyperDeepEnsembleBuilder`.
        """
        if not isinstance(tuner, keras_tuner.Tuner):
            raise TypeError(f"`tuner` must be a `keras_tuner.Tuner`. Received: tuner={tuner!r}")
        builder = cls(tuner.hypermodel, ensemble_size=ensemble_size, tuner=tuner, **arguments)
        builder._settings.is_searched = True
        return builder

    def search(
        self,
        x: Any = None,
        y: Any = None,
        *,
        workers: int | None = None,
        lease: float = LEASE,
        patience: float = PATIENCE,
        **arguments: Any,
    ) -> None:
        """Searches hyperparameters, selects the best sets, and trains them from several initializations.

        Args:
            x, y, **arguments: What `keras_tuner.Tuner.search`, and so `fit`, takes: `validation_data` or
                `validation_split` (of arrays), `epochs`, `batch_size`, `callbacks`, ... `verbose` is 0 (silence),
                1 (a line of progress) or 2 (KerasTuner's and Keras' output too). With `cross_validation` in place of
                validation data `groups`, `[N]`, or nothing: the person, place or time of each sample, say.
            workers: Run so many processes on this machine, each training one candidate at a time. For several
                machines start this same program on each, with KerasTuner's environment variables, a `directory` that
                all of them see, and a `seed`. Three ports are used, from the one that they name. Workers may join at
                any time, and any process may die and be started again.
            lease: Seconds after which a worker that the chief has not heard loses its candidate to another one.
            patience: Seconds that workers wait for a chief that is away.

        Raises:
            ValueError: If something is missing or does not fit, or the directory belongs to another search.
            ConnectionError: In a worker, if the chief stays away.
            RuntimeError: If another process searches in the directory.
        """
        if workers is not None:
            check_workers(self._settings, workers)
        arguments |= {"lease": lease, "patience": patience}
        with self._stages(x, y, **arguments) as stages:
            if workers is not None:
                self._run_workers(workers, stages.session, functools.partial(self.search, x, y, **arguments))
            stages.search()
            stages.initializations(self.select_hyperparameters)

    def search_hyperparameters(self, x: Any = None, y: Any = None, **arguments: Any) -> None:
        """The first stage alone; arguments as in `search`."""
        with self._stages(x, y, **arguments) as stages:
            stages.search()

    def train_initializations(self, x: Any = None, y: Any = None, **arguments: Any) -> None:
        """The stratification alone, after `search_hyperparameters`; arguments as in `search`."""
        with self._stages(x, y, **arguments) as stages:
            stages.initializations(self.select_hyperparameters)

    def select_hyperparameters(self) -> list[Candidate]:
        """The candidates of the search whose hyperparameters are best together, H of them, the best one first.

        Raises:
            ValueError: If no candidate of the search has finished.
        """
        return self._choice.hyperparameter_sets()

    def build_ensemble(
        self,
        ensemble_size: int | None = None,
        metric: Any = None,
        *,
        combination: Any = "mean",
        selection: str = "convex",
        validation_data: Any = None,
        cost: Any = None,
        **arguments: Any,
    ) -> HyperDeepEnsemble:
        """Chooses the members among all candidates and puts them together. Trains nothing, so it can be called often.

        Args:
            ensemble_size: K; default the builder's.
            metric: As in `greedy_selection`; default the builder's.
            combination: How members are combined, as in `HyperDeepEnsemble`.
            selection: How members that were chosen greedily are weighted. `"convex"` (default): best on the validation
                rows, shrunk towards how often each was chosen, by the number of rows. `"greedy"`: by how often each was
                chosen. (The metrics `"accuracy"`, `"loss"` and functions, and several outputs, have the second alone.)
            validation_data: Select on these rows in place of those of the search, as in `fit`: all candidates with
                weights predict them anew, which takes their files and no training.
            cost: What a member costs: `"parameters"`, `"latency"` (seconds of a prediction of 32 rows, here and now) or
                a function of a Keras model. With it `cost_weight` and `max_cost` are as in `greedy_selection`, and
                `results_summary` shows what ensembles up to K score for their cost.
            **arguments: Others of `greedy_selection`: `replacement`, `stop`, `max_members`, `cost_weight`, `max_cost`,
                `bagging`, ... The `seed` is 0 unless given, and the `tolerance` is `-math.inf` but with a
                `cost_weight`: an ensemble that stops growing when the validation rows say so relies on them more than a
                few hundred rows deserve.

        Returns:
            The ensemble, compiled with the loss and metrics of the hypermodel. (Its method `on_devices` spreads its
            members over devices.)

        Raises:
            ValueError: If there are fewer candidates than K, or a choice is unknown.
        """
        size = self._settings.ensemble_size if ensemble_size is None else ensemble_size
        metric = self._settings.metric if metric is None else metric
        check_metric(metric)
        rows = None if validation_data is None else ValidationRows(validation_data, self._settings.output_activation)
        chosen = self._choice.members(size, metric, selection=selection, rows=rows, cost=cost, **arguments)
        return self._assemble(*chosen, combination)

    def build_deep_ensemble(self, ensemble_size: int | None = None) -> HyperDeepEnsemble:
        """The ordinary deep ensemble, to compare with: the best set of hyperparameters from K initializations.

        Raises:
            ValueError: If the best set was trained from fewer initializations.
        """
        size = self._settings.ensemble_size if ensemble_size is None else ensemble_size
        runs = self._choice.runs_of_best_set()
        if len(runs) < size:
            raise ValueError(
                f"A deep ensemble of {size} needs as many initializations of the best hyperparameters: set "
                f"`initializations`. Received: {len(runs)}"
            )
        return self._assemble(runs[:size], (1.0,) * size, "mean")

    def retrain(self, x: Any, y: Any = None, *, validation_data: Any = None, **arguments: Any) -> HyperDeepEnsemble:
        """Trains the members of the last ensemble again, on training and validation rows together.

        Each for as many epochs as its candidate's best one, because no rows are left to decide when to stop. Weights
        and combination stay. With `cross_validation` a member becomes one network, trained on all samples for the
        median best epoch of its folds.

        Args:
            x, y, validation_data, **arguments: As in `search`; callbacks must not need validation metrics.

        Raises:
            ValueError: If no ensemble was built, or the data are neither arrays nor `tf.data` datasets.
        """
        if not self.members:
            raise ValueError("Build an ensemble first: `build_ensemble()`. Received: no members")
        members, weights, combination = self.members, self.member_weights, self.combination
        with opened_session(
            self._directory, self._scorer, x, y, validation_data=validation_data, **arguments
        ) as session:
            Stages(self._directory, self._scorer, session).retraining(members)
        by_parent = {each.parent: each for each in self.pool.finished(RETRAINING)}
        failed = [member.name for member in members if member.name not in by_parent]
        if failed:
            raise ValueError(f"Retraining must succeed for every member. Received: failures of {failed}")
        return self._assemble([by_parent[member.name] for member in members], weights, combination)

    @property
    def candidates(self) -> list[Candidate]:
        """All that was trained, failed ones too, in the order of their names."""
        return self.pool.candidates()

    def results_summary(self, num_candidates: int = 10, print_fn: Callable[[str], Any] | None = None) -> None:
        """Prints the best candidates: their scores, hyperparameters, and weights in the ensemble.

        If the last ensemble was built with a `cost`: also what candidates cost, and the frontier of score and cost.

        Args:
            num_candidates: So many lines.
            print_fn: As in `keras.Model.summary`: gets the text in place of the standard output.
        """
        costs = self._choice.costs, self._choice.frontier
        (print_fn or print)(summary(self.pool, self.weights_by_name(), num_candidates, *costs))

    def scores_by_size(self, max_size: int | None = None) -> dict[str, list[float]]:
        """Validation scores of ensembles of 1, 2, ... members, for `plots.scores_by_size`.

        Returns:
            Under `"hyper-deep ensemble"` those of the greedy selection, under `"deep ensemble"` those of the best
            hyperparameters from as many initializations, under `"single best"` the best candidate's.
        """
        return self._choice.scores_by_size(max_size or self._settings.ensemble_size)

    def cost_frontier(self) -> list[FrontierPoint]:
        """What ensembles score for their cost, the cheapest first, for `plots.cost_frontier`.

        Of the last `build_ensemble` with a `cost`; empty if there was none.
        """
        return list(self._choice.frontier)

    def weights_by_name(self) -> dict[str, float]:
        """The weight of each member of the last ensemble, by the candidate's name."""
        return {member.name: weight for member, weight in zip(self.members, self.member_weights)}

    @contextlib.contextmanager
    def _stages(self, *data: Any, **arguments: Any) -> Iterator[Stages]:
        with opened_session(self._directory, self._scorer, *data, **arguments) as session:
            yield Stages(self._directory, self._scorer, session)

    def _run_workers(self, workers: int, session: Session, call: Callable[[], None]) -> None:
        if session.lock is not None:
            session.lock.release()  # it is the chief's now
        run_workers(call, workers)
        session.progress.verbose = 0  # what follows only reads

    def _assemble(self, members: list[Candidate], weights: tuple[float, ...], combination: Any) -> HyperDeepEnsemble:
        ensemble = assembled(self._settings, self.pool, members, weights, combination)
        self.members, self.member_weights, self.combination = list(members), tuple(weights), combination
        if not is_worker():
            self._tidy({member.name for member in members})
        return ensemble

    def _tidy(self, chosen: set[str]) -> None:
        """Writes the table of candidates, and deletes what need not be kept, unless nothing can be written here."""
        try:
            self.pool.write_csv(self.weights_by_name())
            if self._settings.keep == "selected":
                self.pool.drop_weights(each for each in self.pool.finished() if each.name not in chosen)
        except OSError as error:
            warnings.warn(f"{self.pool.directory} stays as it is, because it cannot be written: {error}", stacklevel=4)
