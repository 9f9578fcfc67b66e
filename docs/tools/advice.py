"""What to do about messages: the part of the page of messages that is written by hand."""

# For every part of the package that raises or warns.
ROOMS = {
    "": "A name that is not there: [the API pages](api/index.md) list all that are.",
    "calibration": (
        "Temperatures, conformal sets and intervals are fitted on rows that were not trained on, from what "
        "`predict` gives: probabilities `[N, ..., C]`, or means and variances. Look for NaN in these rows, for "
        "logits in the place of probabilities, and for labels that are not class numbers."
    ),
    "callbacks": (
        "The training loss became NaN or infinite, and the callback that every `fit` has stopped the training."
    ),
    "conversion": (
        "`from_model`, `from_hypermodel` or `candidates_at_once` could not make one network of members. "
        "`conversion_summary()` of an ensemble that was made says what became of each layer. See [Before "
        "training](faq.md#before-training)."
    ),
    "decisions": (
        "`conformalize` and `abstain` are fitted on held-out data, from what `predict` gives. Look for labels that are "
        "not class numbers, for NaN, and for a method or measure of another kind of output: see [Decisions]"
        "(api/decisions.md)."
    ),
    "files": (
        "A directory of a search: a path of this machine, or an address that TensorFlow reads, such as "
        "`gs://bucket/runs`, as a string."
    ),
    "hyperparameters": (
        "A `Hyperparameter`, a space or a scope was made with values that cannot be: the message says which."
    ),
    "layers": (
        "A layer of members was made with arguments that do not fit, or was called outside of its ensemble. Rows "
        "of a layer are `[M*B, ...]`, member by member; the ensemble takes plain batches and tiles them. For the "
        "arguments see [Layers](api/layers.md)."
    ),
    "likelihoods": (
        "What the outputs mean, and how members are combined. `compile` finds the first by the loss; give "
        "`output_activation` where the loss is one of your own."
    ),
    "losses": (
        "See [Losses](api/losses.md): which outputs a loss takes, and which of its numbers can be hyperparameters."
    ),
    "metrics": (
        "A metric got labels, predictions or weights of a shape or kind that it cannot take. Metrics get "
        "probabilities, never logits. Metrics of all members belong in `compile(member_metrics=[...])`."
    ),
    "models": (
        "Raised by an ensemble: when it is made, compiled, trained, saved or exported. Most are raised before the "
        "first step, so nothing is lost. See [Training](faq.md#training) and [Files and export](faq.md#files-and-"
        "export)."
    ),
    "monitoring": (
        "`set_reference` and `detect_drift` compare how sure an ensemble is of two sets of data: at least 20 samples "
        "each, without NaN. See [Monitoring](api/monitoring.md)."
    ),
    "plots": (
        "A picture got arrays of other shapes than its axes: compare with [Plots](api/plots.md). Probabilities, "
        "not logits."
    ),
    "reporting": "`khe.report` takes a compiled classifier with one output, and one class number for each row.",
    "replacing": (
        "`export` and `save` write beside what is at a path, and then take its place: only a file or model of the same "
        "kind is ever replaced. Give another path, or move away by hand what is there."
    ),
    "sample_weights": "Weights of samples are numbers of at least 0, one for each sample, and not all 0.",
    "search": (
        "Raised by `HyperDeepEnsembleBuilder`, its selection or its processes. What was trained is on disk: "
        "correct the call and repeat it, and it goes on where it stopped. See [Searching](faq.md#searching)."
    ),
    "uncertainty": (
        "A measure got something other than members' predictions `[M, B, ..., C]`: call `predict_members`, not "
        "`predict`. For one output with a sigmoid give both probabilities, `[1 - p, p]`."
    ),
}

# For single modules, where the message alone may not be enough.
MODULES = {
    "conversion.inlining": (
        "What a subclassed model must be is said in [Converting a model](conversion.md#layers-and-models-of-your-own)."
    ),
    "conversion.tracing": (
        "Reasons why a layer of your own stays shared, or a subclassed model cannot be converted: see [What stays "
        "shared](conversion.md#what-stays-shared)."
    ),
    "search.grouped.joint": (
        "These are the reasons at the end of the warning `Candidates are trained one at a time: …`. The search "
        "goes on without groups, with the same results; leave `candidates_at_once` out to silence it."
    ),
    "conversion.network": (
        "A layer that is shared is no error; `include` and `exclude` choose which layers have members."
    ),
    "layers.members": (
        "The network was called without its ensemble, or something in it changes the number of rows. Call the "
        "`HyperBatchEnsemble`, or tile the batch M times."
    ),
    "search.grouped.candidate_group": (
        "Reasons at the end of the warning `Candidates are trained one at a time: …`: see `search.grouped.joint` below."
    ),
    "search.grouped.member_rates": (
        "Reasons at the end of the warning `Candidates are trained one at a time: …`: see `search.grouped.joint` above."
    ),
    "models.network": (
        "Rows of a batch must not meet in the network. Usual causes: a mean over the batch, a `Reshape` that "
        "joins the batch with another axis, a layer that compares rows. `exclude` does not help; change that "
        "layer."
    ),
    "models.training.trainer": "Without tuning rows a hyper-batch ensemble trains, and tunes nothing.",
    "models.training.tuning_rows": (
        "Tuning rows are read once and stay in memory. They have the structure and shapes of the training rows."
    ),
    "search.pool": "The directory is that of a search with other arguments. Nothing in it was changed.",
    "search.trial_recorder": (
        "KerasTuner shows these. The first passes on the failure of a trial; the candidate is kept with its "
        "traceback, and `builder.results_summary()` shows its last line."
    ),
    "search.distributed.processes": (
        "A worker process ended before its work was done; the end of its log is in the message. Correct the "
        "cause, and repeat the call: finished candidates are not trained again."
    ),
}
