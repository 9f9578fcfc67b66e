"""Builder of a hyper-deep ensemble from a KerasTuner hypermodel, in one call that resumes after interruptions."""

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
    """Builder that searches hyperparameters with KerasTuner and creates an ensemble of the candidates.

    1. *Search*: any KerasTuner tuner trains candidates.
    2. *First selection*: a greedy selection of the H hyperparameter sets that are best together.
    3. *Stratification*: each set is trained again from several random initializations.
    4. *Second selection*: a greedy selection of K members with weights among all candidates.
    5. *Retraining* of the members on training and validation data, optional.

    The validation predictions of every candidate are on disk, so a selection requires no training. Interrupted searches
    resume when `search` is called again: with the same seed, they lead to the same ensemble.

    Args:
        hypermodel: A KerasTuner hypermodel: a function `build_model(hp)`, or a `keras_tuner.HyperModel`.
        ensemble_size: K, the number of members.
        objective: As in KerasTuner; determines the best epoch of a candidate, and guides the search. (Keras adds L2
            penalties to `val_loss`: a metric without penalties, such as `keras_tuner.Objective("val_nll", "min")`,
            compares candidates better.)
        tuner: `"random"` (default), `"grid"`, `"bayesian"`, `"hyperband"`, an oracle, or a tuner object. A tuner object
            keeps its own directory, and resumes as in KerasTuner.
        max_trials: Number of candidates of the search.
        hyperparameters: As in KerasTuner: overrides or fixes parts of the space.
        search_pool_size: Number of best candidates of the search for the first selection. Defaults to all that did not
            fail.
        num_hyperparameter_sets: H. Defaults to K. With 1 the result is an ordinary deep ensemble.
        initializations: Number of training runs per set. Defaults to K. 0 disables the stratification.
        metric: Metric of both selections, as in `greedy_selection`, or `"loss"`: the compiled loss of the combined
            prediction, with its `loss_weights`. `"auto"` is `"nll"` for classes, `"mse"` for values, and `"loss"`
            otherwise: soft labels, Gaussians, labels in a custom format. For several outputs also a dictionary, by
            output. (It can be changed later: scores are then recomputed.)
        output_activation: As in `HyperDeepEnsemble`: the kind of outputs, if a custom loss does not imply it.
        include_search: Whether candidates of the search can become members.
        same_initialization: Whether all candidates start from one seed. They then only differ in hyperparameters, and
            there is no stratification: the paper's fixed-initialization ensemble.
        training_subset: Fraction of the training samples for each candidate, drawn at random.
        candidates_at_once: Number of candidates to train in one graph, which saves most of the time for small networks.
            The weights of each equal those of separate training (with its own penalties, dropout, label smoothing and
            learning rate), except for the order of samples, which a group shares. Candidates with different layers form
            separate groups. Configurations that do not support this (callbacks, tuners that wait for results, ...) or
            are slower with it are trained one at a time, with a warning that states the reason. `EarlyStopping` applies
            to each candidate separately: a stopped candidate waits for the others of its group.
        keep: Weights to keep on disk: `"all"`, `"selected"` (the members of the last ensemble; the others are deleted
            when it is built), or an integer: the number of best candidates by score.
        prediction_dtype: Type of the predictions on disk, `"float32"` or `"float16"`.
        directory, project_name, overwrite: As in KerasTuner, but `overwrite` only deletes a search of this package. The
            directory may be an address that TensorFlow reads and writes, such as `"gs://bucket/runs"`. One process at a
            time can search in it (with its workers): a second one raises an error, except at an address. A search only
            resumes with the same model, loss, arguments and data. For arrays the values are compared; for a training
            dataset, which may shuffle, only shapes and the number of batches: after a change of its samples use
            `overwrite=True`.
        seed: Random seed. By default it is drawn at the first call, and stored in the directory.
        distribution_strategy: A `tf.distribute.Strategy` for each training run.
        cross_validation: Number of folds, or a splitter: of scikit-learn, or an object with `split(X, y, groups)`. (One
            that shuffles requires a fixed seed.) Each candidate is trained on every fold, one after the other, and both
            selections use its predictions for the held-out samples of the folds. These are all samples, so `search`
            takes no validation data. A number of folds splits the classes evenly; with `groups` it holds out groups
            together instead. With k folds a candidate has k training runs.
        refit: Whether each candidate of a cross-validation is trained once more, on all samples, for the median best
            epoch of its folds (rounded down) and without callbacks that monitor validation metrics, and becomes this
            network. Otherwise it is the mean of the networks of its folds, and K members are K * k networks; `retrain`
            then trains one network per member.
        checkpoints: `"best"`: the weights of a candidate are those of its best epoch by the objective. `"ensemble"`:
            after each epoch K members are selected greedily among the previously selected ones and the current weights
            of the candidates in training; the selected weights are stored as additional candidates, independent of
            `keep`. It costs a prediction of the validation data per epoch. `keras.callbacks.EarlyStopping` can monitor
            `"val_ensemble_score"`, the score of the candidates in training as an ensemble. Many selections can overfit
            few validation samples: `build_ensemble` with other `validation_data` avoids that bias.

    Raises:
        TypeError, ValueError: If an argument is out of range.

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

    With cross-validation, all samples are used for training and selection:

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
                "With `same_initialization=True` there are no different initializations: remove "
                f"`initializations`. Received: initializations={initializations}"
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
        """Creates a builder for a finished KerasTuner search, without training it again.

        `search(validation_data=...)` then predicts the validation data with the models that the tuner stored, and,
        unless `initializations=0`, trains the best hyperparameter sets from several initializations, with the arguments
        of `tuner.search`.

        Args:
            tuner: A tuner after its `search`, or recreated on the same directory with `overwrite=False`.
            ensemble_size, **arguments: Arguments of `HyperDeepEnsembleBuilder`.
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
            x, y, **arguments: As in `keras_tuner.Tuner.search`, and so in `fit`: `validation_data` or
                `validation_split` (of arrays), `epochs`, `batch_size`, `callbacks`, ... `verbose` is 0 (silent),
                1 (a progress line) or 2 (also the output of KerasTuner and Keras).
                With `cross_validation`, instead of validation data, optionally `groups`, `[N]`: for example the person,
                place or time of each sample.
            workers: Number of processes on this machine, each of which trains one candidate at a time. For several
                machines, start the same program on each, with KerasTuner's environment variables, a shared `directory`,
                and a `seed`. Three consecutive ports are used. Workers may join at any time, and any process may fail
                and be restarted.
            lease: Seconds after which a worker that does not contact the chief loses its candidate to another one.
            patience: Seconds that workers wait for an unavailable chief.

        Raises:
            ValueError: If an argument is missing or invalid, or the directory belongs to another search.
            ConnectionError: In a worker, if the chief remains unavailable.
            RuntimeError: If another process searches in the directory.
        """
        if workers is not None:
            check_workers(self._settings, workers)
        arguments |= {"lease": lease, "patience": patience}
        with self._stages(x, y, **arguments) as stages:
            if workers is not None:
                self._run_workers(workers, stages.session, functools.partial(self.search, x, y, **arguments))
            stages.search()
            stages.initializations()

    def search_hyperparameters(self, x: Any = None, y: Any = None, **arguments: Any) -> None:
        """Runs only the first stage; arguments as in `search`."""
        with self._stages(x, y, **arguments) as stages:
            stages.search()

    def train_initializations(self, x: Any = None, y: Any = None, **arguments: Any) -> None:
        """Runs only the stratification, after `search_hyperparameters`; arguments as in `search`."""
        with self._stages(x, y, **arguments) as stages:
            stages.initializations()

    def select_hyperparameters(self) -> list[Candidate]:
        """Returns the H candidates of the search whose hyperparameters are best together, the best one first.

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
        """Selects the members among all candidates and builds the ensemble, without training.

        Args:
            ensemble_size: K. Defaults to that of the builder.
            metric: As in `greedy_selection`. Defaults to that of the builder.
            combination: Combination of the members, as in `HyperDeepEnsemble`.
            selection: Weights of the greedily selected members. `"convex"` (default): optimal on the validation data,
                shrunk towards the selection counts depending on the number of samples. `"greedy"`: the selection
                counts. (The metrics `"accuracy"`, `"loss"` and functions, and several outputs, only support the
                second.)
            validation_data: Data for the selection that replace those of the search, as in `fit`: all candidates with
                weights predict them, which reads their files and requires no training.
            cost: Cost of a member: `"parameters"`, `"latency"` (seconds per prediction of 32 samples on this machine)
                or a function of a Keras model. With it `cost_weight` and `max_cost` are as in `greedy_selection`, and
                `results_summary` shows the score of ensembles up to K by cost.
            **arguments: Other arguments of `greedy_selection`: `replacement`, `stop`, `max_members`, `cost_weight`,
                `max_cost`, `bagging`, ... The `seed` defaults to 0, and the `tolerance` to `-math.inf` without a
                `cost_weight`: stopping early based on a few hundred validation samples would overfit them.

        Returns:
            The ensemble, compiled with the loss and metrics of the hypermodel. (Its method `on_devices` distributes its
            members over devices.)

        Raises:
            ValueError: If there are fewer candidates than K, or an option is unknown.
        """
        size = self._settings.ensemble_size if ensemble_size is None else ensemble_size
        metric = self._settings.metric if metric is None else metric
        check_metric(metric)
        rows = None if validation_data is None else ValidationRows(validation_data, self._settings.output_activation)
        chosen = self._choice.members(size, metric, selection=selection, rows=rows, cost=cost, **arguments)
        return self._assemble(*chosen, combination)

    def build_deep_ensemble(self, ensemble_size: int | None = None) -> HyperDeepEnsemble:
        """Returns the ordinary deep ensemble for comparison: the best hyperparameters from K initializations.

        Raises:
            ValueError: If the best hyperparameters were trained from fewer initializations.
        """
        size = self._settings.ensemble_size if ensemble_size is None else ensemble_size
        runs = self._choice.runs_of_best_set()
        if len(runs) < size:
            raise ValueError(
                f"A deep ensemble of {size} requires as many initializations of the best hyperparameters: increase "
                f"`initializations`. Received: {len(runs)}"
            )
        return self._assemble(runs[:size], (1.0,) * size, "mean")

    def retrain(self, x: Any, y: Any = None, *, validation_data: Any = None, **arguments: Any) -> HyperDeepEnsemble:
        """Trains the members of the last ensemble again, on training and validation data.

        Each is trained for the number of epochs of its candidate's best one, because no data remain for early stopping.
        Weights and combination do not change. With `cross_validation` each member becomes one network, trained on all
        samples for the median best epoch of its folds.

        Args:
            x, y, validation_data, **arguments: As in `search`, including its `groups`; callbacks must not use
                validation metrics.

        Raises:
            ValueError: If no ensemble was built, or the data are neither arrays nor `tf.data` datasets.
        """
        if not self.members:
            raise ValueError("Build an ensemble first: `build_ensemble()`. Received: no members")
        members, weights, combination = self.members, self.member_weights, self.combination
        with opened_session(
            self._directory, self._scorer, x, y, validation_data=validation_data, **arguments
        ) as session:
            Stages(self._directory, self._choice, session).retraining(members)
        by_parent = {each.parent: each for each in self.pool.finished(RETRAINING)}
        failed = [member.name for member in members if member.name not in by_parent]
        if failed:
            raise ValueError(f"Retraining must succeed for every member. Received: failures of {failed}")
        return self._assemble([by_parent[member.name] for member in members], weights, combination)

    @property
    def candidates(self) -> list[Candidate]:
        """All trained candidates, including failed ones, in the order of their names."""
        return self.pool.candidates()

    def results_summary(self, num_candidates: int = 10, print_fn: Callable[[str], Any] | None = None) -> None:
        """Prints the best candidates: their scores, hyperparameters, and weights in the ensemble.

        If the last ensemble was built with a `cost`, also the cost of candidates, and the frontier of score and cost.

        Args:
            num_candidates: Number of candidates to print.
            print_fn: As in `keras.Model.summary`: receives the text instead of the standard output.
        """
        costs = self._choice.costs, self._choice.frontier
        (print_fn or print)(summary(self.pool, self.weights_by_name(), num_candidates, *costs))

    def scores_by_size(self, max_size: int | None = None) -> dict[str, list[float]]:
        """Returns validation scores of ensembles of 1, 2, ... members, for `plots.scores_by_size`.

        Returns:
            Scores of the greedy selection as `"hyper-deep ensemble"`, of the best hyperparameters from several
            initializations as `"deep ensemble"`, and of the best candidate as `"single best"`.
        """
        return self._choice.scores_by_size(max_size or self._settings.ensemble_size)

    def cost_frontier(self) -> list[FrontierPoint]:
        """Returns the scores of ensembles by cost, the cheapest first, for `plots.cost_frontier`.

        They are those of the last `build_ensemble` with a `cost`; empty without one.
        """
        return list(self._choice.frontier)

    def weights_by_name(self) -> dict[str, float]:
        """Returns the weights of the members of the last ensemble, by the candidates' names."""
        return {member.name: weight for member, weight in zip(self.members, self.member_weights)}

    @contextlib.contextmanager
    def _stages(self, *data: Any, **arguments: Any) -> Iterator[Stages]:
        with opened_session(self._directory, self._scorer, *data, **arguments) as session:
            yield Stages(self._directory, self._choice, session)

    def _run_workers(self, workers: int, session: Session, call: Callable[[], None]) -> None:
        if session.lock is not None:
            session.lock.release()  # the chief takes it
        run_workers(call, workers)
        session.progress.verbose = 0  # the rest only reads

    def _assemble(self, members: list[Candidate], weights: tuple[float, ...], combination: Any) -> HyperDeepEnsemble:
        ensemble = assembled(self._settings, self.pool, members, weights, combination)
        self.members, self.member_weights, self.combination = list(members), tuple(weights), combination
        if not is_worker():
            self._tidy({member.name for member in members})
        return ensemble

    def _tidy(self, chosen: set[str]) -> None:
        """Writes the table of candidates, and deletes weights that are not kept, if the directory is writable."""
        try:
            self.pool.write_csv(self.weights_by_name())
            if self._settings.keep == "selected":
                self.pool.drop_weights(each for each in self.pool.finished() if each.name not in chosen)
        except OSError as error:
            warnings.warn(f"{self.pool.directory} is not changed, because it is not writable: {error}", stacklevel=4)
