"""Solutions for messages: the hand-written part of the page of messages."""

# For every subpackage that raises errors or warnings.
ROOMS = {
    "": "An unknown name: [the API pages](api/index.md) list all public names.",
    "calibration": (
        "Temperatures, conformal sets and intervals are fitted on held-out data, from the output of `predict`: "
        "probabilities `[N, ..., C]`, or means and variances. Check the data for NaN, for logits instead of "
        "probabilities, and for labels that are not class numbers."
    ),
    "callbacks": (
        "The training loss became NaN or infinite, and the callback that `fit` always adds stopped the training."
    ),
    "conversion": (
        "`from_model`, `from_hypermodel` or `candidates_at_once` could not create one network of members. "
        "`conversion_summary()` of a converted ensemble describes each layer. See [Before training]"
        "(faq.md#before-training)."
    ),
    "decisions": (
        "`conformalize` and `abstain` are fitted on held-out data, from the output of `predict`. Check for labels that "
        "are not class numbers, for NaN, and for a method or measure of another kind of output: see [Decisions]"
        "(api/decisions.md)."
    ),
    "files": (
        "A search directory must be a local path, or an address that TensorFlow reads, such as `gs://bucket/runs`, "
        "as a string."
    ),
    "hyperparameters": "A `Hyperparameter`, a space or a scope has invalid values: the message names them.",
    "layers": (
        "A layer has incompatible arguments, or was called outside of its ensemble. Inside a network the batch is "
        "`[M*B, ...]`, member by member; the ensemble takes plain batches and tiles them. For the arguments see "
        "[Layers](api/layers.md)."
    ),
    "likelihoods": (
        "The meaning of the outputs, and how members are combined. `compile` infers it from the loss; set "
        "`output_activation` for a custom loss."
    ),
    "losses": (
        "[Losses](api/losses.md) describes which outputs a loss takes, and which of its values can be hyperparameters."
    ),
    "metrics": (
        "A metric received labels, predictions or weights with an unsupported shape or type. Metrics take "
        "probabilities, not logits. Pass metrics of all members to `compile(member_metrics=[...])`."
    ),
    "models": (
        "Raised by an ensemble when it is created, compiled, trained, saved or exported. Most checks run before the "
        "first step, so no training is lost. See [Training](faq.md#training) and [Files and export](faq.md#files-and-"
        "export)."
    ),
    "monitoring": (
        "`set_reference` and `detect_drift` compare the uncertainty on two datasets with at least 20 samples each and "
        "without NaN. See [Monitoring](api/monitoring.md)."
    ),
    "plots": (
        "A plot received arrays with unexpected shapes: compare with [Plots](api/plots.md). Plots take probabilities, "
        "not logits."
    ),
    "reporting": "`khe.report` takes a compiled classifier with one output, and one class number per sample.",
    "replacing": (
        "`export` and `save` write next to an existing file and then replace it. They only replace a file or model of "
        "the same kind. Use another path, or move the existing file."
    ),
    "sample_weights": "Sample weights are numbers of at least 0, one per sample, and not all 0.",
    "search": (
        "Raised by `HyperDeepEnsembleBuilder`, its selection or its processes. Trained candidates are on disk: "
        "correct the call and repeat it to resume. See [Search](faq.md#search)."
    ),
    "uncertainty": (
        "A measure received an array other than members' predictions `[M, B, ..., C]`: call `predict_members`, not "
        "`predict`. For a single sigmoid output pass both probabilities, `[1 - p, p]`."
    ),
}

# For single modules that need more explanation than the message.
MODULES = {
    "conversion.inlining": (
        "[Model conversion](conversion.md#custom-layers-and-models) lists the requirements for a subclassed model."
    ),
    "conversion.tracing": (
        "Reasons why a custom layer stays shared, or a subclassed model cannot be converted: see [Shared layers]"
        "(conversion.md#shared-layers)."
    ),
    "search.grouped.joint": (
        "Reasons at the end of the warning `Candidates are trained one at a time: …`. The search continues without "
        "groups, with the same results; remove `candidates_at_once` to avoid the warning."
    ),
    "conversion.network": (
        "A shared layer is not an error; `include` and `exclude` select the layers that are converted."
    ),
    "layers.members": (
        "The network was called without its ensemble, or one of its operations changes the batch size. Call the "
        "`HyperBatchEnsemble`, or tile the batch M times."
    ),
    "search.grouped.candidate_group": (
        "Reasons at the end of the warning `Candidates are trained one at a time: …`: see `search.grouped.joint` below."
    ),
    "search.grouped.member_rates": (
        "Reasons at the end of the warning `Candidates are trained one at a time: …`: see `search.grouped.joint` above."
    ),
    "models.network": (
        "The network must not mix the samples of a batch. Common causes: a mean over the batch, a `Reshape` that "
        "merges the batch axis with another axis, a layer that compares samples. `exclude` does not help; change that "
        "layer."
    ),
    "models.training.trainer": "Without tuning data a hyper-batch ensemble trains, but does not tune.",
    "models.training.tuning_rows": (
        "Tuning data are read once and stay in memory. They have the structure and shapes of the training data."
    ),
    "search.pool": "The directory belongs to a search with other arguments. No files were changed.",
    "search.trial_recorder": (
        "KerasTuner prints these. The first one passes on the failure of a trial; the candidate is stored with its "
        "traceback, and `builder.results_summary()` shows its last line."
    ),
    "search.distributed.processes": (
        "A worker process stopped before its work was done; the message contains the end of its log. Correct the "
        "cause and repeat the call: finished candidates are not trained again."
    ),
}
