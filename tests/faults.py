"""Faults planted into copies of the package, one at a time: the tests of `make test` must see each of them.

python -m tests.faults                        # some minutes on two cores
python -m tests.faults --only selection       # those whose file has this in its path
python -m tests.faults --root ../elsewhere    # the package and tests of another checkout

A text that is not in its file exactly once is an error, so that no fault is left behind when the package changes.
"""

import argparse
import multiprocessing
import os
import pathlib
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

COPIED = ("keras_hyperens", "tests", "benchmarks", "pyproject.toml")
IMPORTED = ("benchmarks", "keras", "keras_tuner", "pytest")  # once, by the server that processes are forked from
FAILED, PASSED = 1, 0  # exit codes of pytest


@dataclass(frozen=True)
class Fault:
    """One line of `keras_hyperens/` that is wrong, and the tests of `tests/` that must say so."""

    file: str
    old: str
    new: str
    tests: str

    def __str__(self) -> str:
        return f"{self.file}: {self.old!r} -> {self.new!r}"

    def planted(self, text: str) -> str:
        if text.count(self.old) != 1:
            raise ValueError(f"The text must be there exactly once. Received: {text.count(self.old)} times in {self}")
        return text.replace(self.old, self.new)


LOOP = "layers/test_family.py::test_outputs_and_penalties_equal_a_loop_over_members_and_rows"
EQUATIONS = "layers/test_kernel.py::test_outputs_penalties_and_gradients_equal_the_equations"
TIED = "conversion/test_tied.py::test_they_are_shared_and_trained_as_one"
NO_GRAPH = "conversion/test_inlining.py::test_what_no_graph_can_be_stays_as_it_is"
STEP = "search/grouped/test_candidate_group.py::test_ten_steps_are_those_of_a_model_alone"
FAULTS = (
    Fault("conversion/comparing.py", "if _signature(graph) != _signature(in_training):", "if False:", NO_GRAPH),
    Fault("conversion/network.py", "self._tied = tied(model)", "self._tied = {}", TIED),
    Fault("conversion/tracing.py", "is None for layer in added", "is True for layer in added", NO_GRAPH),
    Fault("conversion/comparing.py", "with perturbed(block.weights):", "with perturbed([]):", NO_GRAPH),
    Fault(
        "conversion/nodes.py", 'if not hasattr(graph, "_nodes_by_depth") or', "if True or",
        "conversion/test_inlining.py::test_a_layer_that_sees_no_rows_is_shared",
    ),
    Fault(
        "layers/wrappers.py", '= getattr(each, name)', '= getattr(each, f"_{name}")',
        "conversion/test_state.py::test_low_rank_factors_are_merged",
    ),
    Fault("layers/kernel.py", "join_members(members * before)", "join_members(members)", f"{LOOP}[1-dense, unfolded]"),
    Fault(
        "layers/kernel.py", "concatenate([self.activation(output) for output in outputs])", "concatenate(outputs)",
        f"{LOOP}[1-separable 2d, folded]",
    ),
    Fault(
        "layers/members.py", "ops.concatenate([batch] * ensemble_size)", "ops.repeat(batch, ensemble_size, axis=0)",
        "layers/test_members.py",
    ),
    Fault(
        "layers/penalties.py", "delta * (2 * quadratic)", "delta * quadratic",
        f"{EQUATIONS}[dense-folded-one draw per member]",
    ),
    Fault("layers/penalized.py", "ops.mean(penalty)", "ops.sum(penalty)", f"{LOOP}[1-dense, unfolded]"),
    Fault(
        "layers/dropout.py", "uniform >= level, 1 / (1 - level)", "uniform >= level, 1 / (1 + level)",
        "layers/test_dropout.py::test_each_member_or_row_has_its_own_rate",
    ),
    Fault(
        "layers/noise.py", "level * noise", "ops.square(level) * noise",
        "layers/test_others.py::test_noise_is_as_strong_as_each_member_says",
    ),
    Fault(
        "layers/normalization.py", "part(members[k], **extra[k])", "part(members[0], **extra[k])",
        "layers/test_others.py::test_every_member_is_normalized_by_itself",
    ),
    Fault(
        "layers/embedding.py", "* length", "* (length - 1)", f"{LOOP}[1-reversible embedding, folded]"
    ),
    Fault("layers/recurrent.py", "for number in (0, 1, 3)", "for number in (1, 0, 3)", f"{LOOP}[1-lstm, folded]"),
    Fault(
        "layers/attention.py", "queries / queries.shape[-1] ** 0.5", "queries / queries.shape[-1]",
        f"{LOOP}[1-attention, folded]",
    ),
    Fault(
        "layers/attention.py", "[:, None] >= ops.arange", "[:, None] > ops.arange",
        "layers/test_family.py::test_causal_attention",
    ),
    Fault("hyperparameters/space.py", "((high - low) / 2)", "(high - low)", "hyperparameters/test_space.py"),
    Fault(
        "hyperparameters/distribution.py", "room = 1.0 - MINIMUM_WIDTH / 2", "room = 1.0",
        "hyperparameters/test_distribution.py::test_projection",
    ),
    Fault(
        "hyperparameters/distribution.py", "centers = strata * (1 - widths)", "centers = strata",
        "hyperparameters/test_distribution.py::test_members_start_spread_over_the_space",
    ),
    Fault(
        "models/training/tuning_step.py", "loss - self.settings.entropy_weight", "loss + self.settings.entropy_weight",
        "models/test_training.py::test_entropy_pulls_intervals_open",
    ),
    Fault(
        "models/training/bounds_prior.py", "tf.sqrt(variance / num_batches)", "tf.sqrt(variance)",
        "models/test_bounds_prior.py::test_the_pull_is_the_standard_error_times_the_distance_in_half_widths",
    ),
    Fault(
        "models/training/tuning_step.py", "return [gradient + factor * pull", "return [gradient - factor * pull",
        "models/test_bounds_prior.py::test_the_more_weight_the_nearer_bounds_stay",
    ),
    Fault(
        "models/training/tuning_step.py", "step.value >= self.settings.tuning_w", "step.value > self.settings.tuning_w",
        "models/test_training.py::test_tuning_every_and_warm_up",
    ),
    Fault(
        "models/training/weight_step.py", "old + multiplier * (", "old + (",
        "models/test_training.py::test_fast_weights_learn_at_their_own_rate",
    ),
    Fault(
        "models/training/tuning_rows.py", "(number * replicas + tf.cast(", "(number + tf.cast(",
        "models/test_tuning.py::test_parts_of_replicas_are_together_the_batch_of_one_device",
    ),
    Fault("search/grouped/member_rates.py", "self.weight_decay * self.rate_of", "self.rate_of", f"{STEP}[adamw]"),
    Fault(
        "search/grouped/member_rates.py", "tf.shape(self.rates)[0] - 1", "tf.shape(self.rates)[0] - 20",
        f"{STEP}[adamw]",
    ),
    Fault(
        "models/response_curves.py", "there[..., column] = value", "there[:1, ..., column] = value",
        "models/test_uncertainty.py::test_response_curves_are_losses_at_other_hyperparameters",
    ),
    Fault(
        "losses/gaussian.py", "ops.exp(-log_scales)", "ops.exp(log_scales)",
        "models/test_uncertainty.py::test_gaussian_outputs",
    ),
    Fault(
        "losses/label_smoothing.py", "+ smoothing / classes", "+ smoothing / (classes - 1)",
        "losses/test_hyperparameter_losses.py::test_categorical_labels_are_smoothed_in_the_training_of_a_member",
    ),
    Fault(
        "losses/members.py", "return sum(each) / len(each)", "return sum(each)",
        "losses/test_members.py::test_losses_of_members_and_of_the_ensemble",
    ),
    Fault(
        "likelihoods/probabilities.py", "log_sigmoid(members)) - log_mean_exp", "log_sigmoid(members)) + log_mean_exp",
        "likelihoods/test_classes.py::test_members_are_combined_as_predictions",
    ),
    Fault(
        "likelihoods/gaussian.py", "ops.cast(ops.log(temperature) / 2,", "ops.cast(ops.log(temperature),",
        "likelihoods/test_classes.py::test_temperatures_of_predictions_and_of_raw_outputs",
    ),
    Fault(
        "likelihoods/gaussian.py", "seconds - means**2", "seconds",
        "likelihoods/test_classes.py::test_moments_are_what_may_be_averaged",
    ),
    Fault(
        "likelihoods/outputs.py", "each or Value() for each", "each for each",
        "likelihoods/test_outputs.py::test_outputs_of_which_nothing_is_said_have_values",
    ),
    Fault(
        "masks.py", "tensor._keras_mask = mask", "pass",
        "models/test_masks.py::test_members_count_where_one_does",
    ),
    Fault(
        "metrics/classes.py", "(gap > ROUNDING) | ", "",
        "metrics/test_forms.py::test_a_graph_refuses_what_it_cannot_take",
    ),
    Fault(
        "models/training/trainer.py", "ensemble._set_temperatures(temperatures)", "pass",
        "models/test_refusals.py::test_nothing_changes",
    ),
    Fault(
        "models/views.py", "key = (kind, temperatures, settings)", "key = (temperatures, settings)",
        "models/test_threads.py::test_threads_get_what_they_asked_for",
    ),
    Fault("metrics/disagreement.py", "max(number - 1, 1)", "max(number, 1)", "metrics/test_contract.py"),
    Fault(
        "metrics/out_of_distribution_fpr95.py", "(0.95 - rounding)", "(0.9 - rounding)",
        "metrics/test_out_of_distribution.py::test_scores_of_any_range",
    ),
    Fault(
        "metrics/expected_calibration_error.py", "rows.confidence * self.num_bins",
        "rows.confidence * (self.num_bins - 1)",
        "metrics/test_expected_calibration_error.py::test_equals_tensorflow_probability",
    ),
    Fault(
        "uncertainty/entropy.py", "prediction) - expected_entropy", "prediction) + expected_entropy",
        "uncertainty/test_uncertainty.py::test_entropies_equal_scipy",
    ),
    Fault(
        "uncertainty/combining.py", "below > 0.5 + rounding", "below >= 0.5 - rounding",
        "uncertainty/test_uncertainty.py::test_median_equals_numpy_on_repeated_members",
    ),
    Fault(
        "uncertainty/combining.py", "ranks < number - n_outliers", "ranks <= number - n_outliers",
        "uncertainty/test_uncertainty.py::test_trimmed_mean_leaves_out_the_farthest_from_the_median",
    ),
    Fault(
        "uncertainty/gaussian.py", "combine(_parts(members)[1], weights)", "combine(_parts(members)[0], weights)",
        "uncertainty/test_measures.py::test_gaussian_mixtures",
    ),
    Fault(
        "calibration/conformal.py", "(places[-1] + 1) * coverage", "places[-1] * coverage",
        "calibration/test_conformal.py::test_too_few_rows_for_the_coverage_give_everything",
    ),
    Fault(
        "decisions/class_sets.py", "before = xp.cumsum(descending, axis=-1) - descending",
        "before = xp.cumsum(descending, axis=-1)",
        "decisions/test_class_sets.py::test_scores_and_sets_equal_loops",
    ),
    Fault(
        "decisions/intervals.py", "np.maximum(lower - targets, targets - upper)",
        "np.maximum(targets - lower, upper - targets)",
        "decisions/test_intervals.py::test_coverage_over_200_splits",
    ),
    Fault(
        "monitoring/drift.py", "TESTS * len(self.measures) * lowest", "lowest",
        "monitoring/test_monitoring.py::test_false_alarms_are_as_rare_as_stated",
    ),
    Fault(
        "models/pruning.py", "target.assign(ops.convert_to_numpy(source)[list(members)])",
        "target.assign(ops.convert_to_numpy(source)[: len(members)])",
        "models/test_pruning.py::test_members_are_what_they_were",
    ),
    Fault(
        "models/ensemble.py", "super().set_weights(weights)\n        self._set_temperatures(None)",
        "super().set_weights(weights)",
        "models/test_decisions.py::test_what_makes_other_predictions_forgets_them",
    ),
    Fault(
        "decisions/intervals.py", "ops.minimum(lower - margin, middle)", "lower - margin",
        "decisions/test_intervals.py::test_bounds_never_cross_and_cover_no_less",
    ),
    Fault(
        "models/ensemble.py", "        self._set_decisions(Decisions())\n", "",
        "models/test_decisions.py::test_what_makes_other_predictions_forgets_them",
    ),
    Fault(
        "calibration/temperature.py", "(middle, high) if is_too_sure(np.exp(middle)) else (low, middle)",
        "(low, middle) if is_too_sure(np.exp(middle)) else (middle, high)",
        "calibration/test_temperature.py::test_finds_by_how_much_logits_were_scaled",
    ),
    Fault(
        "search/steps.py", "allowed[chosen] = self.replacement", "allowed[chosen] = True",
        "search/test_selection.py::test_equals_brute_force",
    ),
    Fault(
        "search/steps.py", "self.costs[members].sum() + of_new", "of_new",
        "search/test_costs.py::test_costs_and_limits_equal_brute_force",
    ),
    Fault(
        "calibration/member_weights.py", "(rows * weights + prior_rows", "(rows * weights + 2 * prior_rows",
        "search/test_costs.py::test_convex_weights_are_the_best_that_scipy_finds",
    ),
    Fault(
        "calibration/temperature.py", "(1 - share) * scale + share", "(1 - share) * scale",
        "calibration/test_temperature.py::test_prior_rows_are_samples_and_not_positions",
    ),
    Fault(
        "likelihoods/gaussian.py", "np.square(labels - means) / variances + np", "np.square(labels - means) + np",
        "models/test_hyper_deep_ensemble.py::test_weights_of_several_outputs_and_of_gaussians_are_the_most_likely",
    ),
    Fault(
        "search/scores.py", "self.sum_norm + 2 * self.with_sum", "self.sum_norm + self.with_sum",
        "search/test_selection.py::test_equals_brute_force",
    ),
    Fault(
        "search/scores.py", "residuals * np.sqrt(self.weights)", "residuals * self.weights",
        "search/test_selection.py::test_weights_equal_repeated_rows",
    ),
    Fault(
        "sample_weights.py", "weights.min() < 0", "weights.min() < -9",
        "calibration/test_temperature.py::test_bad_weights_are_named",
    ),
    Fault(
        "search/scorer.py", "labels == ignored, 0, labels), is_read", "labels == ignored, 0, labels), 1 + is_read",
        "search/test_scorer.py::test_ignored_labels_are_as_if_they_were_not_there",
    ),
    Fault(
        "search/pool.py", 'f"labels.{n}.npy")', 'files.names(self.directory, "labels.*.npy")[n])',
        "search/test_scorer.py::test_twelve_outputs_meet_their_own_labels",
    ),
    Fault(
        "search/digests.py", "hexdigest(), _bits(array)", "hexdigest(), 0",
        "search/test_identity.py::test_digests_of_data_see_values_shapes_order_and_structure",
    ),
    Fault(
        "search/dry_run.py", "score(made_up, likelihoods)", "str(made_up)",
        "search/test_dry_run.py::test_what_does_not_fit_is_found_first",
    ),
    Fault(
        "search/tuners.py", "or name in OF_HYPERBAND", 'or name.startswith("tuner/")',
        "search/test_dry_run.py::test_names_that_begin_like_those_of_tuners_are_hyperparameters",
    ),
    Fault(
        "likelihoods/probabilities.py", 'activation = "softmax"', "activation = None",
        "likelihoods/test_sources.py::test_where_the_loss_says_nothing_the_last_activation_does",
    ),
    Fault(
        "search/tuner_hooks.py", "if trial.status == STOPPED and others:", "if False:",
        "search/distributed/test_chief.py::test_only_the_trial_of_a_silent_worker_is_given_to_another",
    ),
    Fault(
        "search/tuner_hooks.py", "trial.status == RUNNING and t not in known", "False",
        "search/distributed/test_chief.py::test_a_trial_that_was_half_begun_is_begun_anew",
    ),
    Fault(
        "search/trial_recorder.py", "zlib.crc32(name.encode())", "1",
        "search/test_builder.py::test_every_stage_has_its_candidates",
    ),
    Fault(
        "search/cross_validation.py", "np.concatenate(of_folds)[self._order]", "np.concatenate(of_folds)",
        "search/test_cross_validation.py::test_candidates_predict_all_samples_out_of_fold",
    ),
    Fault(
        "search/folds.py", "np.argsort(classes[order], kind=", "np.argsort(order, kind=",
        "search/test_folds.py::test_a_number_of_folds_shares_out_the_classes",
    ),
    Fault(
        "search/best_ensemble.py", "not best.trajectory[-1] < self.score", "False",
        "search/test_checkpoints.py::test_members_are_those_of_greedy_selections_that_improve",
    ),
    Fault(
        "search/checkpoints.py", "self.selection.own.score", "self.selection.best.score",
        "search/test_checkpoints.py::test_early_stopping_monitors_the_ensemble_of_the_training",
    ),
    Fault(
        "search/checkpoints.py", "[*self.before, entry]", "[entry]",
        "search/test_checkpoints.py::test_a_training_without_a_result_leaves_the_members",
    ),
    Fault(
        "search/fold_recorder.py", "self.parts.discard(part)", "continue",
        "search/test_cross_validation.py::test_no_files_remain_of_folds_after_a_failed_one",
    ),
    Fault(
        "search/stages.py", "each.best_epoch + 1 for", "each.best_epoch + 2 for",
        "search/test_builder.py::test_retraining_on_all_rows",
    ),
    Fault(
        "conversion/probing.py", "return factor if all(", "return factor if any(",
        "conversion/test_from_hypermodel.py::test_where_nothing_can_vary_the_error_says_why_and_what_to_do",
    ),
    Fault(
        "layers/recurrent.py", "*biases[1:]]", "*biases[:1]]",
        "layers/test_family.py::test_a_converted_layer_gives_what_the_plain_one_gives[hyper-gru]",
    ),
    Fault(
        "models/network.py", "layer.member_weights(member, values)", "layer.member_weights(0, values)",
        "models/test_hyper_batch_ensemble.py::test_functional_networks_nested_with_branches_and_shared_layers",
    ),
    Fault(
        "models/saving.py", "        state.assign(store[", "        str(store[",
        "models/test_saving.py::test_training_continued_from_a_file_equals_training_that_was_not_stopped[dense]",
    ),
    Fault(
        "models/hyper_deep_ensemble.py", "tuple(float(weights[k]) for k in kept)", "tuple(1.0 for k in kept)",
        "models/test_hyper_deep_ensemble.py::test_prediction_is_the_weighted_mean_of_the_members_probabilities",
    ),
    Fault(
        "models/hyper_deep_ensemble.py", "list(self.member_likelihoods)", "[self.likelihoods for _ in self.members]",
        "models/test_hyper_deep_ensemble.py::test_file_and_export[combination0-eagerly]",
    ),
    Fault(
        "models/folded.py", "biases[each.member : each.member + 1]", "biases[:1]",
        "models/test_saving.py::test_an_export_calls_every_kind_of_layer_for_one_member_at_a_time[residual]",
    ),
    Fault(
        "layers/normalization.py", "self.parts[stored.member]", "self.parts[0]",
        "models/test_saving.py::test_an_export_calls_every_kind_of_layer_for_one_member_at_a_time[residual]",
    ),
    Fault(
        "models/training/member_rows.py", "self.past[self.lag - 1 :: self.lag]", "self.past[:: self.lag]",
        "models/test_member_rows.py::test_a_lag_of_two_steps",
    ),
    Fault(
        "models/training/member_rows.py", "places[member * size : (member + 1) * size]", "places[:size]",
        "models/test_member_rows.py::test_a_split_batch",
    ),
    Fault(
        "models/training/tuned_temperature.py", "tf.exp(-old) - slopes", "tf.exp(-old) + slopes",
        "models/test_tuned_temperature.py::test_it_finds_the_temperature_of_the_highest_likelihood",
    ),
    Fault(
        "models/training/tuned_temperature.py", "-gradients * tf.exp(logarithms)", "-gradients",
        "models/test_tuned_temperature.py::test_slopes_and_curvatures_are_derivatives_for_the_inverse_temperature",
    ),
    Fault(
        "models/members.py", "return ops.stop_gradient(ops.expand_dims(middle, 1))",
        "return ops.expand_dims(middle, 1)",
        "models/test_training.py::test_gradients_for_the_bounds_equal_finite_differences",
    ),
    Fault(
        "models/compiled_loss.py", "map_structure(without_smoothing, loss)", "map_structure(lambda same: same, loss)",
        "models/test_tuned_temperature.py::test_steps_with_fixed_label_smoothing_go_where_those_without_do",
    ),
    Fault(
        "layers/kernel.py", "positions - self.space.positions(centers)", "positions",
        "layers/test_kernel.py::test_at_the_centers_nothing_is_shifted",
    ),
    Fault(
        "replacing.py", "if others or kind.needed not in found", "if kind.needed not in found",
        "models/test_replacing.py::test_export_refuses_whatever_is_no_saved_model",
    ),
    Fault(
        "files.py", "NAME.fullmatch(name)", "NAME.match(name)",
        "search/test_directory.py::test_names_from_outside_never_become_paths",
    ),
    Fault(
        "search/distributed/requests.py", "before.get(name) != now.get(name)", "name not in now",
        "search/distributed/test_chief.py::test_a_wrong_request_is_refused_by_itself",
    ),
    Fault(
        "conversion/probing.py", "JITTER * (number * step % 1)", "JITTER * step % 1",
        "conversion/test_probing.py::test_no_two_are_probed_at_the_same_places",
    ),
    Fault(
        "models/training/tuning_rows.py", "replicas, rows) // replicas", "replicas, self.size) // replicas",
        "models/test_endurance.py::test_a_trace_reads_the_rows_that_took_the_place_of_others",
    ),
)  # fmt: skip


def exit_code(root: pathlib.Path, tests: list[str], fault: Fault | None = None) -> int:
    """That of pytest, for tests of a copy of a checkout, with a fault or none."""
    with tempfile.TemporaryDirectory() as name:
        copy = pathlib.Path(name)
        for part in COPIED:
            (shutil.copytree if (root / part).is_dir() else shutil.copy)(root / part, copy / part)
        if fault is not None:
            file = copy / "keras_hyperens" / fault.file
            file.write_text(fault.planted(file.read_text()))
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([*IMPORTED])
        process = context.Process(target=_run, args=(copy, tests))
        process.start()
        process.join()
        output = (copy / "output.txt").read_text()
    if process.exitcode not in (FAILED, PASSED):
        raise RuntimeError(f"pytest did not run {tests}: {output[-4000:]}")
    return process.exitcode


def _run(copy: pathlib.Path, tests: list[str]) -> None:
    """Runs tests of a copy, in a process that has imported Keras and forgets this checkout."""
    import pytest

    with (copy / "output.txt").open("w") as output:
        for descriptor in (1, 2):
            os.dup2(output.fileno(), descriptor)
    os.chdir(copy)
    for name in [name for name in sys.modules if name.split(".")[0] in COPIED]:
        del sys.modules[name]
    sys.path.insert(0, str(copy))
    sys.dont_write_bytecode = True
    os.environ["PYTHONPATH"] = str(copy)
    options = ("-m", "not integration", "--exitfirst", "--quiet", "-p", "no:cacheprovider")
    sys.exit(int(pytest.main([*options, *(f"tests/{each}" for each in tests)])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="a part of the paths of files")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).parent.parent)
    arguments = parser.parse_args()
    faults = [fault for fault in FAULTS if arguments.only in fault.file]
    for fault in faults:
        fault.planted((arguments.root / "keras_hyperens" / fault.file).read_text())
    if exit_code(arguments.root, sorted({fault.tests for fault in faults})) != PASSED:
        sys.exit("The tests fail without any fault.")
    missed = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        codes = pool.map(lambda fault: exit_code(arguments.root, [fault.tests], fault), faults)
        for fault, code in zip(faults, codes, strict=True):
            print("caught" if code == FAILED else "MISSED", fault, flush=True)
            missed += [fault] if code == PASSED else []
    print(f"{len(faults) - len(missed)} of {len(faults)} faults caught")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
