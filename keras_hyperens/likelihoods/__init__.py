"""Likelihoods: the meaning of a network's raw outputs, one class per kind of output.

A likelihood defines how a raw output becomes a prediction, how members' predictions are combined, how a temperature
changes them, and how they are scored and described. `Categorical` and `Bernoulli` outputs are logits or probabilities.
`Gaussian` outputs are D means and D logarithms of standard deviations, and predictions D means and D variances.
`Quantiles` are D targets at several levels, and `Value` is any other output. Members are combined as probabilities, not
as logits; a loss that takes logits gets the logits of the combined probabilities, computed in log space. Gaussians are
combined as the mean and variance of their mixture.

A new kind of output requires a subclass of `Likelihood` and an entry in `sources.KNOWN`.
"""

from keras_hyperens.likelihoods.gaussian import Gaussian as Gaussian
from keras_hyperens.likelihoods.likelihood import Combination as Combination
from keras_hyperens.likelihoods.likelihood import Likelihood as Likelihood
from keras_hyperens.likelihoods.likelihood import at_least_float32 as at_least_float32
from keras_hyperens.likelihoods.likelihood import checked_combination as checked_combination
from keras_hyperens.likelihoods.outputs import combined_raw as combined_raw
from keras_hyperens.likelihoods.outputs import ignored_classes as ignored_classes
from keras_hyperens.likelihoods.outputs import like_outputs as like_outputs
from keras_hyperens.likelihoods.outputs import of_each_output as of_each_output
from keras_hyperens.likelihoods.outputs import parts_of_outputs as parts_of_outputs
from keras_hyperens.likelihoods.outputs import per_output as per_output
from keras_hyperens.likelihoods.outputs import predictions as predictions
from keras_hyperens.likelihoods.outputs import raw_of as raw_of
from keras_hyperens.likelihoods.probabilities import Bernoulli as Bernoulli
from keras_hyperens.likelihoods.probabilities import Categorical as Categorical
from keras_hyperens.likelihoods.quantiles import Quantiles as Quantiles
from keras_hyperens.likelihoods.sources import check_output_activation as check_output_activation
from keras_hyperens.likelihoods.sources import named as named
from keras_hyperens.likelihoods.sources import names_of as names_of
from keras_hyperens.likelihoods.sources import of_loss as of_loss
from keras_hyperens.likelihoods.sources import of_losses as of_losses
from keras_hyperens.likelihoods.sources import of_model as of_model
from keras_hyperens.likelihoods.sources import of_outputs as of_outputs
from keras_hyperens.likelihoods.sources import symbolic_outputs as symbolic_outputs
from keras_hyperens.likelihoods.value import Value as Value
