"""Custom layers as people write them: sublayers made in `__init__`, called in `call`."""

import keras
from keras import layers
from keras import ops


class TransformerBlock(layers.Layer):
    def __init__(self, width, heads, rate, penalty=None, causal=False, **kwargs):
        super().__init__(**kwargs)
        self.attention = layers.MultiHeadAttention(heads, width // heads, kernel_regularizer=penalty)
        self.feed_forward = keras.Sequential(
            [layers.Dense(2 * width, "relu", kernel_regularizer=penalty), layers.Dense(width)]
        )
        self.norm_1, self.norm_2 = layers.LayerNormalization(epsilon=1e-6), layers.LayerNormalization(epsilon=1e-6)
        self.dropout_1, self.dropout_2 = layers.Dropout(rate), layers.Dropout(rate)
        self.causal = causal

    def call(self, inputs, training=None):
        attended = self.attention(inputs, inputs, use_causal_mask=self.causal)
        hidden = self.norm_1(inputs + self.dropout_1(attended, training=training))
        return self.norm_2(hidden + self.dropout_2(self.feed_forward(hidden), training=training))


class TokenAndPosition(layers.Layer):
    def __init__(self, length, vocabulary, width, **kwargs):
        super().__init__(**kwargs)
        self.tokens = layers.Embedding(vocabulary, width)
        self.positions = layers.Embedding(length, width)

    def call(self, inputs):
        length = ops.shape(inputs)[-1]
        return self.tokens(inputs) + self.positions(ops.arange(0, length, 1))


class MaskedEmbedding(layers.Layer):
    """Hands the mask of its embedding on."""

    def __init__(self, length, vocabulary, width, **kwargs):
        super().__init__(**kwargs)
        self.tokens = layers.Embedding(vocabulary, width, mask_zero=True)
        self.positions = layers.Embedding(length, width)

    def call(self, inputs):
        return self.tokens(inputs) + self.positions(ops.arange(ops.shape(inputs)[1]))

    def compute_mask(self, inputs, mask=None):
        return self.tokens.compute_mask(inputs)


class MaskedEncoder(layers.Layer):
    """Turns the mask of its input into one of attention."""

    def __init__(self, width, penalty=None, **kwargs):
        super().__init__(**kwargs)
        self.attention = layers.MultiHeadAttention(2, width // 2)
        self.dense = layers.Dense(width, "relu", kernel_regularizer=penalty)
        self.norm = layers.LayerNormalization()
        self.supports_masking = True

    def call(self, inputs, mask=None):
        of_attention = None if mask is None else mask[:, None, :]
        return self.norm(inputs + self.dense(self.attention(inputs, inputs, attention_mask=of_attention)))


class CrossDecoder(layers.Layer):
    """Attends to itself and to an encoder's outputs, a keyword argument."""

    def __init__(self, width, rate, penalty=None, **kwargs):
        super().__init__(**kwargs)
        self.own = layers.MultiHeadAttention(2, width // 2)
        self.cross = layers.MultiHeadAttention(2, width // 2)
        self.dense = layers.Dense(width, "gelu", kernel_regularizer=penalty)
        self.norms = [layers.LayerNormalization() for _ in range(3)]
        self.dropout = layers.Dropout(rate)

    def call(self, inputs, encoded=None, training=None):
        hidden = self.norms[0](inputs + self.own(inputs, inputs, use_causal_mask=True))
        hidden = self.norms[1](hidden + self.cross(query=hidden, value=encoded, key=encoded))
        return self.norms[2](hidden + self.dropout(self.dense(hidden), training=training))


class Patches(layers.Layer):
    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        self.size = size

    def call(self, images):
        patches = ops.image.extract_patches(images, self.size)
        _, height, width, depth = patches.shape
        return ops.reshape(patches, (ops.shape(images)[0], height * width, depth))


class PatchEncoder(layers.Layer):
    def __init__(self, number, width, penalty=None, **kwargs):
        super().__init__(**kwargs)
        self.number = number
        self.projection = layers.Dense(width, kernel_regularizer=penalty)
        self.positions = layers.Embedding(number, width)

    def call(self, patches):
        places = ops.expand_dims(ops.arange(0, self.number, 1), axis=0)
        return self.projection(patches) + self.positions(places)


class ClassToken(layers.Layer):
    """A projection, and a token of its own in front."""

    def __init__(self, width, penalty=None, **kwargs):
        super().__init__(**kwargs)
        self.projection = layers.Dense(width, kernel_regularizer=penalty)
        self.width = width

    def build(self, input_shape):
        self.token = self.add_weight(shape=(1, 1, self.width), initializer="random_normal", name="token")
        self.projection.build(input_shape)
        self.built = True

    def call(self, inputs):
        batch = ops.shape(inputs)[0]
        token = ops.broadcast_to(self.token, (batch, 1, self.width))
        return ops.concatenate([token, self.projection(inputs)], axis=1)


class HandMadeAttention(layers.Layer):
    """Heads by reshapes that ask for the number of rows."""

    def __init__(self, width, heads, penalty=None, **kwargs):
        super().__init__(**kwargs)
        self.width, self.heads = width, heads
        self.query, self.key, self.value = (layers.Dense(width, kernel_regularizer=penalty) for _ in range(3))
        self.output_projection = layers.Dense(width)

    def split(self, tensor, batch):
        tensor = ops.reshape(tensor, (batch, -1, self.heads, self.width // self.heads))
        return ops.transpose(tensor, (0, 2, 1, 3))

    def call(self, inputs):
        batch = ops.shape(inputs)[0]
        query, key, value = (self.split(layer(inputs), batch) for layer in (self.query, self.key, self.value))
        scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))) / (self.width // self.heads) ** 0.5
        heads = ops.transpose(ops.matmul(ops.softmax(scores), value), (0, 2, 1, 3))
        return self.output_projection(ops.reshape(heads, (batch, -1, self.width)))


class MixerBlock(layers.Layer):
    def __init__(self, patches, width, rate, penalty=None, **kwargs):
        super().__init__(**kwargs)
        self.tokens = keras.Sequential(
            [layers.Dense(patches, "gelu", kernel_regularizer=penalty), layers.Dense(patches), layers.Dropout(rate)]
        )
        self.channels = keras.Sequential(
            [layers.Dense(width, "gelu", kernel_regularizer=penalty), layers.Dense(width), layers.Dropout(rate)]
        )
        self.norm = layers.LayerNormalization()

    def call(self, inputs):
        mixed = self.tokens(ops.transpose(self.norm(inputs), (0, 2, 1)))
        hidden = ops.transpose(mixed, (0, 2, 1)) + inputs
        return self.channels(self.norm(hidden)) + hidden


class FourierBlock(layers.Layer):
    def __init__(self, width, rate, penalty=None, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.Sequential(
            [layers.Dense(width, "gelu", kernel_regularizer=penalty), layers.Dropout(rate), layers.Dense(width)]
        )
        self.norms = layers.LayerNormalization(), layers.LayerNormalization()

    def call(self, inputs):
        real, _ = ops.fft2((inputs, ops.zeros_like(inputs)))
        hidden = self.norms[0](inputs + real)
        return self.norms[1](hidden + self.dense(hidden))


class SpatialGate(layers.Layer):
    def __init__(self, patches, width, rate, penalty=None, **kwargs):
        super().__init__(**kwargs)
        self.first = keras.Sequential(
            [layers.Dense(2 * width, "gelu", kernel_regularizer=penalty), layers.Dropout(rate)]
        )
        self.second = layers.Dense(width)
        self.spatial = layers.Dense(patches, bias_initializer="ones")
        self.norm_1, self.norm_2 = layers.LayerNormalization(), layers.LayerNormalization()

    def call(self, inputs):
        left, right = ops.split(self.first(self.norm_1(inputs)), 2, axis=-1)
        right = ops.transpose(self.spatial(ops.transpose(self.norm_2(right), (0, 2, 1))), (0, 2, 1))
        return inputs + self.second(left * right)


class ResidualConv(layers.Layer):
    def __init__(self, filters, strides=1, penalty=None, **kwargs):
        super().__init__(**kwargs)
        own = {"padding": "same", "use_bias": False, "kernel_regularizer": penalty}
        self.conv_1, self.conv_2 = layers.Conv2D(filters, 3, strides, **own), layers.Conv2D(filters, 3, **own)
        self.norm_1, self.norm_2 = layers.BatchNormalization(), layers.BatchNormalization()
        self.shortcut = layers.Conv2D(filters, 1, strides) if strides > 1 else None

    def call(self, inputs, training=None):
        hidden = ops.relu(self.norm_1(self.conv_1(inputs), training=training))
        hidden = self.norm_2(self.conv_2(hidden), training=training)
        return ops.relu(hidden + (inputs if self.shortcut is None else self.shortcut(inputs)))


class SqueezeExcite(layers.Layer):
    def __init__(self, ratio=4, **kwargs):
        super().__init__(**kwargs)
        self.ratio = ratio

    def build(self, shape):
        self.squeeze = layers.Dense(shape[-1] // self.ratio, "relu")
        self.excite = layers.Dense(shape[-1], "sigmoid")
        self.squeeze.build((shape[0], shape[-1]))
        self.excite.build((shape[0], shape[-1] // self.ratio))
        self.built = True

    def call(self, inputs):
        scale = self.excite(self.squeeze(ops.mean(inputs, axis=(1, 2))))
        return inputs * scale[:, None, None, :]


class LayerScaled(layers.Layer):
    """A depthwise convolution with a scale of its own."""

    def __init__(self, width, penalty=None, **kwargs):
        super().__init__(**kwargs)
        self.depthwise = layers.DepthwiseConv2D(3, padding="same")
        self.norm = layers.LayerNormalization()
        self.wide, self.narrow = layers.Dense(2 * width, "gelu", kernel_regularizer=penalty), layers.Dense(width)
        self.width = width

    def build(self, shape):
        self.gamma = self.add_weight(shape=(self.width,), initializer="ones", name="gamma")
        super().build(shape)

    def call(self, inputs):
        return inputs + self.gamma * self.narrow(self.wide(self.norm(self.depthwise(inputs))))


class StochasticDepth(layers.Layer):
    """No sublayers, other in training: it stays as it is."""

    def __init__(self, rate, **kwargs):
        super().__init__(**kwargs)
        self.rate, self.seeds = rate, keras.random.SeedGenerator(7)

    def call(self, x, training=None):
        if not training:
            return x
        keep = ops.floor(1 - self.rate + keras.random.uniform((ops.shape(x)[0], 1, 1), seed=self.seeds))
        return x / (1 - self.rate) * keep


class GatedResidual(layers.Layer):
    def __init__(self, units, rate, penalty=None, **kwargs):
        super().__init__(**kwargs)
        self.elu = layers.Dense(units, "elu", kernel_regularizer=penalty)
        self.linear, self.gate = layers.Dense(units), layers.Dense(units, "sigmoid")
        self.dropout, self.norm, self.project = layers.Dropout(rate), layers.LayerNormalization(), layers.Dense(units)
        self.units = units

    def call(self, inputs):
        hidden = self.dropout(self.linear(self.elu(inputs)))
        skip = self.project(inputs) if inputs.shape[-1] != self.units else inputs
        return self.norm(skip + hidden * self.gate(hidden))


class VariableSelection(layers.Layer):
    """Takes a list, and has a list of blocks."""

    def __init__(self, number, units, rate, penalty=None, **kwargs):
        super().__init__(**kwargs)
        self.blocks = [GatedResidual(units, rate, penalty) for _ in range(number)]
        self.joint, self.weights_of = GatedResidual(units, rate), layers.Dense(number, "softmax")

    def call(self, inputs):
        weights = ops.expand_dims(self.weights_of(self.joint(ops.concatenate(inputs, axis=-1))), -1)
        each = ops.stack([block(part) for block, part in zip(self.blocks, inputs)], axis=1)
        return ops.sum(each * weights, axis=1)


class Cross(layers.Layer):
    def __init__(self, penalty=None, **kwargs):
        super().__init__(**kwargs)
        self.penalty = penalty

    def build(self, shapes):
        self.dense = layers.Dense(shapes[0][-1], kernel_regularizer=self.penalty)
        self.dense.build(shapes[1])
        self.built = True

    def call(self, inputs):
        first, last = inputs
        return first * self.dense(last) + last


class Forecast(layers.Layer):
    """Gives two outputs."""

    def __init__(self, units, back, ahead, penalty=None, **kwargs):
        super().__init__(**kwargs)
        self.hidden = [layers.Dense(units, "relu", kernel_regularizer=penalty) for _ in range(2)]
        self.theta = layers.Dense(back + ahead)
        self.back = back

    def call(self, inputs):
        for layer in self.hidden:
            inputs = layer(inputs)
        theta = self.theta(inputs)
        return theta[:, : self.back], theta[:, self.back :]


class GraphConvolution(layers.Layer):
    """Takes nodes and a matrix of their edges."""

    def __init__(self, units, penalty=None, **kwargs):
        super().__init__(**kwargs)
        self.own = layers.Dense(units, kernel_regularizer=penalty)
        self.others = layers.Dense(units, use_bias=False)

    def call(self, nodes, edges):
        return ops.relu(self.own(nodes) + ops.matmul(edges, self.others(nodes)))


class GraphAttention(layers.Layer):
    def __init__(self, units, penalty=None, **kwargs):
        super().__init__(**kwargs)
        self.values = layers.Dense(units, kernel_regularizer=penalty)
        self.source, self.target = layers.Dense(1), layers.Dense(1)

    def call(self, inputs):
        nodes, edges = inputs
        values = self.values(nodes)
        scores = ops.leaky_relu(self.source(values) + ops.transpose(self.target(values), (0, 2, 1)))
        return ops.elu(ops.matmul(ops.softmax(ops.where(edges > 0, scores, -1e9)), values))


class Sampling(layers.Layer):
    """Draws random numbers in inference too."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seeds = keras.random.SeedGenerator(3)

    def call(self, inputs):
        mean, log_variance = inputs
        return mean + ops.exp(0.5 * log_variance) * keras.random.normal(ops.shape(mean), seed=self.seeds)


class Experts(layers.Layer):
    """A list of dense layers and a router."""

    def __init__(self, number, units, penalty=None, **kwargs):
        super().__init__(**kwargs)
        self.experts = [layers.Dense(units, "relu", kernel_regularizer=penalty) for _ in range(number)]
        self.router = layers.Dense(number, "softmax")

    def call(self, inputs):
        outputs = ops.stack([expert(inputs) for expert in self.experts], axis=-2)
        return ops.sum(outputs * self.router(inputs)[..., None], axis=-2)
