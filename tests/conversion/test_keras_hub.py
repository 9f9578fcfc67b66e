"""KerasHub presets, as described in the FAQ: tasks are converted without their preprocessor, and ensembles are saved.

Runs where `keras_hub` is installed (the extra `hub`).
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_hyperens as khe

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] what a good bad film it was not".split()
TEXTS = ["what a good film", "it was not good", "a bad film", "good"]
SHARED = "ignore:All members share these layers. .*_embedding"  # see docs/conversion.md


@pytest.fixture
def preset(tmp_path):
    """The directory of a preset with task, weights and preprocessor, and the probabilities of the task for `TEXTS`."""
    models = pytest.importorskip("keras_hub").models
    pytest.importorskip("tensorflow_text")  # of the tokenizer
    keras.utils.set_random_seed(0)
    tokenizer = models.BertTokenizer(vocabulary=WORDS, lowercase=True)
    task = models.BertTextClassifier(
        models.BertBackbone(len(WORDS), 1, 2, 8, 16, max_sequence_length=8),
        num_classes=2,
        preprocessor=models.BertTextClassifierPreprocessor(tokenizer, sequence_length=8),
    )
    task.save_to_preset(str(tmp_path / "preset"))
    return str(tmp_path / "preset"), keras.ops.softmax(task.predict(TEXTS, verbose=0))


@pytest.mark.integration
@pytest.mark.filterwarnings(SHARED, "ignore::DeprecationWarning")
def test_a_preset_becomes_an_ensemble_whose_files_are_those_of_keras(preset, tmp_path):
    import keras_hub

    directory, expected = preset
    task = keras_hub.models.TextClassifier.from_preset(directory, preprocessor=None)
    preprocessor = keras_hub.models.TextClassifierPreprocessor.from_preset(directory)
    data = tf.data.Dataset.from_tensor_slices((TEXTS, [1, 0, 0, 1])).batch(4).map(preprocessor)
    ensemble = khe.HyperBatchEnsemble.from_model(task, ensemble_size=2, seed=0)
    np.testing.assert_allclose(ensemble.predict(data, verbose=0), expected, atol=1e-6)
    assert not hasattr(ensemble, "save_to_preset") and not hasattr(ensemble.member(0), "save_to_preset")
    ensemble.conformalize(data, coverage=0.7, verbose=0)
    ensemble.save(tmp_path / "e.keras")
    loaded = keras.models.load_model(tmp_path / "e.keras")
    np.testing.assert_allclose(loaded.predict(data, verbose=0), expected, atol=1e-6)
    assert loaded.conformal == ensemble.conformal


@pytest.mark.integration
@pytest.mark.filterwarnings(SHARED, "ignore::DeprecationWarning")
def test_a_preprocessor_of_a_task_is_named(preset):
    import keras_hub

    task = keras_hub.models.TextClassifier.from_preset(preset[0])
    with pytest.warns(UserWarning, match="does not use its preprocessor: preprocess the inputs first"):
        khe.HyperBatchEnsemble.from_model(task, ensemble_size=2)
