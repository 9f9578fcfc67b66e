"""Layers of M members that share nearly all weights: base classes, and one file per kind of layer.

They take inputs `[M*B, ...]`, member by member, and read hyperparameter values from the scope that the model enters.
All kernels use the same equations (`kernel.py`). The axes of the rank-1 factors depend on the layer:

- dense, `[A, U]`: inputs, and units;
- convolution, `[..., A, U]`: input channels (of one group), and filters;
- transposed convolution, `[..., U, A]`: input channels, and filters;
- depthwise convolution, `[..., A, D]`: input channels, and output channels (U = A D);
- separable convolution: those of its depthwise and of its 1x1 convolution;
- einsum and attention: axes of the inputs and of the outputs by the equation; an axis of both is in both;
- embedding, `[A, U]`: indices, and units of the vectors;
- LSTM and GRU, two kernels: inputs or states, and units of all gates; convolutional LSTM likewise, by channels.
"""

from keras_hyperens.layers.attention import HyperBatchGroupQueryAttention as HyperBatchGroupQueryAttention
from keras_hyperens.layers.attention import HyperBatchMultiHeadAttention as HyperBatchMultiHeadAttention
from keras_hyperens.layers.base import HyperLayer as HyperLayer
from keras_hyperens.layers.conv import HyperBatchConv1D as HyperBatchConv1D
from keras_hyperens.layers.conv import HyperBatchConv2D as HyperBatchConv2D
from keras_hyperens.layers.conv import HyperBatchConv3D as HyperBatchConv3D
from keras_hyperens.layers.conv_lstm import HyperBatchConvLSTM1D as HyperBatchConvLSTM1D
from keras_hyperens.layers.conv_lstm import HyperBatchConvLSTM2D as HyperBatchConvLSTM2D
from keras_hyperens.layers.conv_lstm import HyperBatchConvLSTM3D as HyperBatchConvLSTM3D
from keras_hyperens.layers.conv_transpose import HyperBatchConv1DTranspose as HyperBatchConv1DTranspose
from keras_hyperens.layers.conv_transpose import HyperBatchConv2DTranspose as HyperBatchConv2DTranspose
from keras_hyperens.layers.conv_transpose import HyperBatchConv3DTranspose as HyperBatchConv3DTranspose
from keras_hyperens.layers.dense import HyperBatchDense as HyperBatchDense
from keras_hyperens.layers.depthwise import HyperBatchDepthwiseConv1D as HyperBatchDepthwiseConv1D
from keras_hyperens.layers.depthwise import HyperBatchDepthwiseConv2D as HyperBatchDepthwiseConv2D
from keras_hyperens.layers.depthwise import HyperBatchSeparableConv1D as HyperBatchSeparableConv1D
from keras_hyperens.layers.depthwise import HyperBatchSeparableConv2D as HyperBatchSeparableConv2D
from keras_hyperens.layers.dropout import HyperDropout as HyperDropout
from keras_hyperens.layers.dropout import HyperGaussianDropout as HyperGaussianDropout
from keras_hyperens.layers.dropout import HyperSpatialDropout1D as HyperSpatialDropout1D
from keras_hyperens.layers.dropout import HyperSpatialDropout2D as HyperSpatialDropout2D
from keras_hyperens.layers.dropout import HyperSpatialDropout3D as HyperSpatialDropout3D
from keras_hyperens.layers.einsum_dense import HyperBatchEinsumDense as HyperBatchEinsumDense
from keras_hyperens.layers.embedding import HyperBatchEmbedding as HyperBatchEmbedding
from keras_hyperens.layers.embedding import HyperBatchReversibleEmbedding as HyperBatchReversibleEmbedding
from keras_hyperens.layers.initializers import RandomSign as RandomSign
from keras_hyperens.layers.kernel import HyperBatchLayer as HyperBatchLayer
from keras_hyperens.layers.noise import HyperGaussianNoise as HyperGaussianNoise
from keras_hyperens.layers.normalization import MemberBatchNormalization as MemberBatchNormalization
from keras_hyperens.layers.normalization import MemberGroupNormalization as MemberGroupNormalization
from keras_hyperens.layers.normalization import MemberLayerNormalization as MemberLayerNormalization
from keras_hyperens.layers.normalization import MemberRMSNormalization as MemberRMSNormalization
from keras_hyperens.layers.recurrent import HyperBatchGRU as HyperBatchGRU
from keras_hyperens.layers.recurrent import HyperBatchLSTM as HyperBatchLSTM
from keras_hyperens.layers.time_distributed import HyperBatchTimeDistributed as HyperBatchTimeDistributed

__all__ = [
    "HyperBatchConv1D",
    "HyperBatchConv1DTranspose",
    "HyperBatchConv2D",
    "HyperBatchConv2DTranspose",
    "HyperBatchConv3D",
    "HyperBatchConv3DTranspose",
    "HyperBatchConvLSTM1D",
    "HyperBatchConvLSTM2D",
    "HyperBatchConvLSTM3D",
    "HyperBatchDense",
    "HyperBatchDepthwiseConv1D",
    "HyperBatchDepthwiseConv2D",
    "HyperBatchEinsumDense",
    "HyperBatchEmbedding",
    "HyperBatchGRU",
    "HyperBatchGroupQueryAttention",
    "HyperBatchLSTM",
    "HyperBatchLayer",
    "HyperBatchMultiHeadAttention",
    "HyperBatchReversibleEmbedding",
    "HyperBatchSeparableConv1D",
    "HyperBatchSeparableConv2D",
    "HyperBatchTimeDistributed",
    "HyperDropout",
    "HyperGaussianDropout",
    "HyperGaussianNoise",
    "HyperLayer",
    "HyperSpatialDropout1D",
    "HyperSpatialDropout2D",
    "HyperSpatialDropout3D",
    "MemberBatchNormalization",
    "MemberGroupNormalization",
    "MemberLayerNormalization",
    "MemberRMSNormalization",
    "RandomSign",
]
