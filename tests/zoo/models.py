"""The models of the zoo: name to a function of a penalty and a rate of dropout."""

import keras
import numpy as np
from keras import layers
from keras import ops

from tests.zoo import blocks

ZOO = {}


def kept(make):
    """Registers a model under the function's name."""
    ZOO[make.__name__] = make
    return make


def head(hidden, classes=3):
    return layers.Dense(classes)(hidden)


def image(size=8, depth=3):
    return keras.Input((size, size, depth))


# Vision


@kept
def small_convnet(penalty, rate):
    return keras.Sequential(
        [
            image(),
            layers.Rescaling(1 / 255),
            layers.RandomFlip("horizontal", seed=1),
            layers.Conv2D(6, 3, activation="relu", kernel_regularizer=penalty),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(rate),
            layers.Dense(3),
        ]
    )


@kept
def residual_functions(penalty, rate):
    def block(x, filters):
        y = layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same", kernel_regularizer=penalty)(x))
        return layers.Activation("relu")(layers.add([layers.Conv2D(filters, 1)(x), y]))

    inputs = image()
    x = layers.SpatialDropout2D(rate)(block(block(inputs, 4), 6))
    return keras.Model(inputs, head(layers.GlobalAveragePooling2D()(x)))


@kept
def residual_blocks(penalty, rate):
    inputs = image()
    x = layers.Conv2D(4, 3, padding="same")(inputs)
    for filters, strides in ((4, 1), (8, 2)):
        x = blocks.ResidualConv(filters, strides, penalty)(x)
    return keras.Model(inputs, head(layers.Dropout(rate)(layers.GlobalAveragePooling2D()(x))))


def called(model, shape, dtype="float32"):
    """A subclassed model, which has its weights after the first batch."""
    model(np.zeros(shape, dtype))
    return model


class ResidualNetwork(keras.Model):
    """Subclassed, with a loop over blocks."""

    def __init__(self, penalty, rate):
        super().__init__()
        self.stem = layers.Conv2D(4, 3, padding="same")
        self.stages = [blocks.ResidualConv(filters, 2, penalty) for filters in (6, 8)]
        self.pool, self.dropout, self.scores = layers.GlobalMaxPooling2D(), layers.Dropout(rate), layers.Dense(3)

    def call(self, inputs, training=None):
        x = ops.relu(self.stem(inputs))
        for stage in self.stages:
            x = stage(x, training=training)
        return self.scores(self.dropout(self.pool(x), training=training))


@kept
def residual_subclassed(penalty, rate):
    return called(ResidualNetwork(penalty, rate), (2, 8, 8, 3))


@kept
def vision_transformer(penalty, rate):
    inputs = image()
    x = blocks.PatchEncoder(16, 8, penalty)(blocks.Patches(2)(inputs))
    for _ in range(2):
        x = blocks.TransformerBlock(8, 2, rate, penalty)(x)
    return keras.Model(inputs, head(layers.Flatten()(layers.LayerNormalization()(x))))


@kept
def class_token(penalty, rate):
    inputs = image()
    x = blocks.ClassToken(8, penalty)(blocks.Patches(4)(inputs))
    return keras.Model(inputs, head(blocks.TransformerBlock(8, 2, rate, penalty)(x)[:, 0]))


@kept
def hand_made_attention(penalty, rate):
    inputs = image()
    x = blocks.HandMadeAttention(8, 2, penalty)(blocks.PatchEncoder(4, 8)(blocks.Patches(4)(inputs)))
    return keras.Model(inputs, head(layers.Dropout(rate)(layers.GlobalAveragePooling1D()(x))))


@kept
def mixer(penalty, rate):
    inputs = image()
    x = keras.Sequential([blocks.MixerBlock(4, 8, rate, penalty) for _ in range(2)])(
        layers.Dense(8)(blocks.Patches(4)(inputs))
    )
    return keras.Model(inputs, head(layers.GlobalAveragePooling1D()(x)))


@kept
def fourier_network(penalty, rate):
    inputs = image()
    x = blocks.FourierBlock(8, rate, penalty)(layers.Dense(8)(blocks.Patches(4)(inputs)))
    return keras.Model(inputs, head(layers.GlobalAveragePooling1D()(x)))


@kept
def gated_mlp(penalty, rate):
    inputs = image()
    x = blocks.SpatialGate(4, 8, rate, penalty)(layers.Dense(8)(blocks.Patches(4)(inputs)))
    return keras.Model(inputs, head(layers.GlobalAveragePooling1D()(x)))


@kept
def compact_transformer(penalty, rate):
    inputs = image()
    x = layers.Conv2D(8, 3, padding="same", activation="relu", kernel_regularizer=penalty)(inputs)
    x = layers.Reshape((-1, 8))(layers.MaxPooling2D(2)(x))
    x = blocks.StochasticDepth(0.1)(blocks.TransformerBlock(8, 2, rate, penalty)(x))
    weights = ops.softmax(layers.Dense(1)(x), axis=1)
    return keras.Model(inputs, head(ops.squeeze(ops.matmul(ops.transpose(weights, (0, 2, 1)), x), axis=1)))


@kept
def unet(penalty, rate):
    inputs = image()
    down = layers.Conv2D(4, 3, padding="same", activation="relu", kernel_regularizer=penalty)(inputs)
    deep = layers.Dropout(rate)(layers.SeparableConv2D(8, 3, padding="same")(layers.MaxPooling2D()(down)))
    up = layers.Conv2DTranspose(4, 3, strides=2, padding="same")(deep)
    return keras.Model(inputs, layers.Conv2D(1, 1, activation="sigmoid")(layers.concatenate([up, down])))


@kept
def super_resolution(penalty, rate):
    inputs = image(depth=1)
    x = layers.Conv2D(8, 3, padding="same", activation="relu", kernel_regularizer=penalty)(inputs)
    x = layers.Dropout(rate)(layers.Conv2D(4, 3, padding="same")(x))
    x = ops.reshape(x, (-1, 8, 8, 2, 2))
    return keras.Model(inputs, ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4)), (-1, 16, 16, 1)))


@kept
def squeeze_and_excite(penalty, rate):
    inputs = image()
    x = blocks.SqueezeExcite()(layers.Conv2D(8, 3, kernel_regularizer=penalty)(inputs))
    return keras.Model(inputs, head(layers.Dropout(rate)(layers.GlobalAveragePooling2D()(x))))


@kept
def scaled_convolutions(penalty, rate):
    inputs = image()
    x = blocks.LayerScaled(6, penalty)(layers.Conv2D(6, 2, strides=2)(inputs))
    return keras.Model(inputs, head(layers.Dropout(rate)(layers.GlobalAveragePooling2D()(x))))


# Tables


@kept
def wide_and_deep(penalty, rate):
    inputs = {"age": keras.Input((1,), name="age"), "pay": keras.Input((1,), name="pay")}
    both = layers.concatenate(list(inputs.values()))
    deep = layers.Dropout(rate)(layers.Dense(8, "relu", kernel_regularizer=penalty)(both))
    return keras.Model(inputs, head(layers.concatenate([both, deep])))


@kept
def deep_and_cross(penalty, rate):
    inputs = keras.Input((6,))
    crossed = blocks.Cross(penalty)([inputs, inputs])
    crossed = blocks.Cross(penalty)([inputs, crossed])
    return keras.Model(inputs, head(layers.Dropout(rate)(crossed)))


@kept
def gated_residuals(penalty, rate):
    inputs = [keras.Input((2,)) for _ in range(3)]
    return keras.Model(inputs, head(blocks.VariableSelection(3, 6, rate, penalty)(inputs)))


@kept
def tabular_transformer(penalty, rate):
    kinds, numbers = keras.Input((4,), dtype="int32", name="kinds"), keras.Input((3,), name="numbers")
    x = layers.Flatten()(blocks.TransformerBlock(8, 2, rate, penalty)(layers.Embedding(5, 8)(kinds)))
    return keras.Model([kinds, numbers], head(layers.concatenate([x, layers.LayerNormalization()(numbers)])))


@kept
def adapted_normalization(penalty, rate):
    normalization = layers.Normalization()
    normalization.adapt(np.random.default_rng(0).normal(50, 4, (64, 5)))
    inputs = keras.Input((5,))
    x = keras.Sequential([normalization, layers.Dense(8, "relu", kernel_regularizer=penalty)])(inputs)
    return keras.Model(inputs, head(layers.Dropout(rate)(x)))


@kept
def adapted_lookup(penalty, rate):
    lookup = layers.IntegerLookup(output_mode="multi_hot")
    lookup.adapt(np.array([1, 2, 3, 1]))
    inputs = keras.Input((4,), dtype="int64")
    x = layers.Dense(8, "relu", kernel_regularizer=penalty)(lookup(inputs))
    return keras.Model(inputs, head(layers.Dropout(rate)(x)))


@kept
def mixture_of_experts(penalty, rate):
    inputs = keras.Input((6,))
    return keras.Model(inputs, head(layers.Dropout(rate)(blocks.Experts(3, 8, penalty)(inputs))))


class DeepTable(keras.Model):
    """Subclassed, of a dictionary of inputs."""

    def __init__(self, penalty, rate):
        super().__init__()
        self.kinds, self.flat = layers.Embedding(7, 4), layers.Flatten()
        self.hidden = keras.Sequential([layers.Dense(8, "relu", kernel_regularizer=penalty), layers.Dropout(rate)])
        self.scores = layers.Dense(3)

    def call(self, inputs):
        return self.scores(self.hidden(ops.concatenate([self.flat(self.kinds(inputs["kind"])), inputs["size"]], -1)))


@kept
def subclassed_of_a_dictionary(penalty, rate):
    model = DeepTable(penalty, rate)
    model({"kind": np.zeros((2, 2), "int32"), "size": np.zeros((2, 3), "float32")})
    return model


class Autoencoder(keras.Model):
    """Subclassed models inside a subclassed model."""

    def __init__(self, penalty, rate):
        super().__init__()
        self.encoder = keras.Sequential([layers.Dense(4, "relu", kernel_regularizer=penalty), layers.Dropout(rate)])
        self.decoder = keras.Sequential([layers.Dense(6)])

    def call(self, inputs):
        return self.decoder(self.encoder(inputs))


@kept
def autoencoder(penalty, rate):
    return called(Autoencoder(penalty, rate), (2, 6))


# Time series and audio


@kept
def forecaster(penalty, rate):
    return keras.Sequential(
        [keras.Input((6, 2)), layers.LSTM(5, kernel_regularizer=penalty), layers.Dropout(rate), layers.Dense(2)]
    )


@kept
def convolutions_in_time(penalty, rate):
    inputs = keras.Input((12, 2))
    x = inputs
    for dilation in (1, 2):
        y = layers.Conv1D(4, 3, padding="causal", dilation_rate=dilation, kernel_regularizer=penalty)(x)
        x = layers.add([layers.Conv1D(4, 1)(x), layers.SpatialDropout1D(rate)(layers.ReLU()(y))])
    return keras.Model(inputs, head(layers.GlobalAveragePooling1D()(x)))


@kept
def transformer_of_series(penalty, rate):
    inputs = keras.Input((8, 4))
    x = blocks.TransformerBlock(4, 2, rate, penalty)(inputs)
    return keras.Model(inputs, head(layers.GlobalAveragePooling1D()(x)))


@kept
def basis_expansion(penalty, rate):
    inputs = keras.Input((6,))
    rest, total = inputs, 0
    for _ in range(2):
        back, ahead = blocks.Forecast(8, 6, 2, penalty)(rest)
        rest, total = rest - back, total + ahead
    return keras.Model(inputs, layers.Dropout(rate)(total))


@kept
def video_of_frames(penalty, rate):
    frame = keras.Sequential(
        [keras.Input((6, 6, 1)), layers.Conv2D(4, 3, kernel_regularizer=penalty), layers.GlobalAveragePooling2D()]
    )
    inputs = keras.Input((4, 6, 6, 1))
    x = layers.GRU(4)(layers.TimeDistributed(frame)(inputs))
    return keras.Model(inputs, head(layers.Dropout(rate)(x)))


@kept
def next_frames(penalty, rate):
    inputs = keras.Input((3, 6, 6, 1))
    x = layers.ConvLSTM2D(4, 3, padding="same", return_sequences=True, kernel_regularizer=penalty)(inputs)
    x = layers.ConvLSTM2D(3, 1, padding="same", return_sequences=True)(layers.BatchNormalization()(x))
    return keras.Model(inputs, layers.Conv3D(1, 3, padding="same")(layers.Dropout(rate)(x)))


@kept
def spectrogram(penalty, rate):
    inputs = keras.Input((64, 1))
    spectrum = layers.STFTSpectrogram(frame_length=16, frame_step=8, fft_length=16, trainable=False)(inputs)
    x = layers.Conv1D(4, 3, activation="relu", kernel_regularizer=penalty)(spectrum)
    return keras.Model(inputs, head(layers.Dropout(rate)(layers.GlobalAveragePooling1D()(x))))


# Text


@kept
def text_transformer(penalty, rate):
    inputs = keras.Input((7,), dtype="int32")
    x = blocks.TransformerBlock(8, 2, rate, penalty)(blocks.TokenAndPosition(7, 11, 8)(inputs))
    return keras.Model(inputs, head(layers.GlobalAveragePooling1D()(x)))


class TextNetwork(keras.Model):
    def __init__(self, penalty, rate):
        super().__init__()
        self.embedding = blocks.TokenAndPosition(7, 11, 8)
        self.blocks = [blocks.TransformerBlock(8, 2, rate, penalty) for _ in range(2)]
        self.pool, self.scores = layers.GlobalAveragePooling1D(), layers.Dense(3)

    def call(self, inputs, training=None):
        x = self.embedding(inputs)
        for block in self.blocks:
            x = block(x, training=training)
        return self.scores(self.pool(x))


@kept
def text_subclassed(penalty, rate):
    return called(TextNetwork(penalty, rate), (2, 7), "int32")


@kept
def masked_recurrent(penalty, rate):
    inputs = keras.Input((7,), dtype="int32")
    x = layers.Embedding(11, 6, mask_zero=True)(inputs)
    x = layers.Bidirectional(layers.LSTM(4, kernel_regularizer=penalty))(x)
    return keras.Model(inputs, head(layers.Dropout(rate)(x)))


@kept
def masked_blocks(penalty, rate):
    inputs = keras.Input((7,), dtype="int32")
    x = blocks.MaskedEncoder(8, penalty)(blocks.MaskedEmbedding(7, 11, 8)(inputs))
    return keras.Model(inputs, head(layers.Dropout(rate)(layers.GRU(4)(x))))


@kept
def small_gpt(penalty, rate):
    inputs = keras.Input((7,), dtype="int32")
    x = blocks.TokenAndPosition(7, 11, 8)(inputs)
    x = blocks.TransformerBlock(8, 2, rate, penalty, causal=True)(x)
    return keras.Model(inputs, layers.Dense(11)(x))


class TokenTable(layers.ReversibleEmbedding):
    """Another name of a Keras layer."""


@kept
def small_gpt_with_tied_weights(penalty, rate):
    inputs = keras.Input((7,), dtype="int32")
    table = TokenTable(11, 8, embeddings_regularizer=penalty)
    x = blocks.TransformerBlock(8, 2, rate, penalty, causal=True)(table(inputs))
    return keras.Model(inputs, table(x, reverse=True))


@kept
def translation(penalty, rate):
    source, target = keras.Input((5,), dtype="int32", name="source"), keras.Input((6,), dtype="int32", name="target")
    encoded = blocks.TransformerBlock(8, 2, rate, penalty)(blocks.TokenAndPosition(5, 11, 8)(source))
    x = blocks.CrossDecoder(8, rate, penalty)(blocks.TokenAndPosition(6, 13, 8)(target), encoded=encoded)
    return keras.Model([source, target], layers.Dense(13)(x))


@kept
def text_convolutions(penalty, rate):
    inputs = keras.Input((9,), dtype="int32")
    x = layers.Embedding(11, 6)(inputs)
    found = [layers.GlobalMaxPooling1D()(layers.Conv1D(4, n, kernel_regularizer=penalty)(x)) for n in (2, 3)]
    return keras.Model(inputs, head(layers.Dropout(rate)(layers.concatenate(found))))


@kept
def twins(penalty, rate):
    inner = keras.Input((6,))
    encoder = keras.Model(inner, layers.Dense(4)(blocks.GatedResidual(6, rate, penalty)(inner)), name="encoder")
    left, right = keras.Input((6,)), keras.Input((6,))
    return keras.Model([left, right], head(ops.abs(encoder(left) - encoder(right))))


@kept
def a_block_used_twice(penalty, rate):
    inputs = keras.Input((7, 8))
    block = blocks.TransformerBlock(8, 2, rate, penalty)
    return keras.Model(inputs, head(layers.GlobalAveragePooling1D()(block(block(inputs)))))


# Reinforcement learning, generative models, graphs


@kept
def actor_critic(penalty, rate):
    inputs = keras.Input((4,))
    x = layers.Dropout(rate)(layers.Dense(8, "relu", kernel_regularizer=penalty)(inputs))
    return keras.Model(inputs, {"actor": layers.Dense(2, "softmax")(x), "critic": layers.Dense(1)(x)})


class DuelingNetwork(keras.Model):
    def __init__(self, penalty, rate):
        super().__init__()
        self.hidden, self.dropout = layers.Dense(8, "relu", kernel_regularizer=penalty), layers.Dropout(rate)
        self.value, self.advantage = layers.Dense(1), layers.Dense(3)

    def call(self, inputs):
        hidden = self.dropout(self.hidden(inputs))
        advantage = self.advantage(hidden)
        return self.value(hidden) + advantage - ops.mean(advantage, axis=-1, keepdims=True)


@kept
def dueling(penalty, rate):
    return called(DuelingNetwork(penalty, rate), (2, 4))


@kept
def variational_autoencoder(penalty, rate):
    inputs = keras.Input((6,))
    x = layers.Dropout(rate)(layers.Dense(8, "relu", kernel_regularizer=penalty)(inputs))
    return keras.Model(inputs, layers.Dense(6)(blocks.Sampling()([layers.Dense(2)(x), layers.Dense(2)(x)])))


@kept
def discriminator(penalty, rate):
    return keras.Sequential(
        [
            image(),
            layers.Conv2D(4, 3, strides=2, padding="same", kernel_regularizer=penalty),
            layers.LeakyReLU(negative_slope=0.2),
            layers.Flatten(),
            layers.Dropout(rate),
            layers.Dense(1),
        ]
    )


@kept
def graph_convolutions(penalty, rate):
    nodes, edges = keras.Input((5, 3)), keras.Input((5, 5))
    x = blocks.GraphConvolution(6, penalty)(nodes, edges)
    x = layers.Dropout(rate)(blocks.GraphConvolution(6, penalty)(x, edges=edges))
    return keras.Model([nodes, edges], head(layers.GlobalAveragePooling1D()(x)))


@kept
def graph_attention(penalty, rate):
    nodes, edges = keras.Input((5, 3)), keras.Input((5, 5))
    x = layers.Dropout(rate)(blocks.GraphAttention(6, penalty)([nodes, edges]))
    return keras.Model([nodes, edges], head(layers.GlobalAveragePooling1D()(x)))


class PointNetwork(keras.Model):
    """Functional in disguise: it leaves `call` as it is."""

    def __init__(self, penalty, rate):
        inputs = keras.Input((8, 3))
        x = layers.Conv1D(6, 1, activation="relu", kernel_regularizer=penalty)(inputs)
        super().__init__(inputs, head(layers.Dropout(rate)(layers.GlobalMaxPooling1D()(x))))


@kept
def points(penalty, rate):
    return PointNetwork(penalty, rate)


@keras.saving.register_keras_serializable("zoo")
def sine(x):
    return ops.sin(x)


@kept
def own_activation(penalty, rate):
    inputs = keras.Input((4,))
    x = layers.Dense(8, activation=sine, kernel_regularizer=penalty)(inputs)
    return keras.Model(inputs, head(layers.Dropout(rate)(x)))


@kept
def low_rank_adaptation(penalty, rate):
    inputs = keras.Input((4,))
    adapted = layers.Dense(8, kernel_regularizer=penalty)
    model = keras.Model(inputs, head(layers.Dropout(rate)(layers.ReLU()(adapted(inputs)))))
    adapted.enable_lora(2)
    adapted.lora_kernel_b.assign(np.ones((2, 8)))
    return model


@kept
def application(penalty, rate):
    """The first blocks of one, with all its kinds of layers; whole ones: tests/conversion/test_applications.py."""
    whole = keras.applications.MobileNetV2(input_shape=(32, 32, 3), alpha=0.35, weights=None, include_top=False)
    x = whole.get_layer("block_3_project_BN").output
    return keras.Model(whole.input, head(layers.GlobalAveragePooling2D()(x)))


@kept
def keras_hub_encoder(penalty, rate):
    import keras_hub  # an optional dependency: who has it sees this model too

    inputs = keras.Input((7,), dtype="int32")
    x = keras_hub.layers.TokenAndPositionEmbedding(11, 7, 8)(inputs)
    x = keras_hub.layers.TransformerEncoder(16, 2, dropout=rate)(x)
    return keras.Model(inputs, head(x[:, 0]))


@kept
def keras_hub_classifier(penalty, rate):
    import keras_hub

    backbone = keras_hub.models.BertBackbone(17, 1, 2, 8, 16, dropout=rate, max_sequence_length=6, num_segments=5)
    return keras_hub.models.BertTextClassifier(backbone, num_classes=3)
