"""Layers of M members that share nearly all weights: base classes, and one file per kind of layer.

They take inputs `[M*B, ...]`, member by member, and read hyperparameter values from the scope that the model enters.
All kernels use the same equations (`kernel.py`); the axes of the rank-1 factors depend on the layer: |---|---|---|---|
| dense | `[A, U]` | inputs | units | | convolution | `[..., A, U]` | input channels (of one group) | filters | |
transposed convolution | `[..., U, A]` | input channels | filters | | depthwise convolution | `[..., A, D]` | input
channels | output channels, U = A D | | separable convolution | two kernels | those of its depthwise and of its 1x1
convolution | | | einsum, attention | by the equation | axes of the inputs | axes of the outputs; an axis of both is in
both | | embedding | `[A, U]` | indices | units of the vectors | | LSTM, GRU | two kernels | inputs; states | units of
all gates |
"""

from keras_hyperens.layers.attention import HyperBatchGroupQueryAttention as HyperBatchGroupQueryAttention
from keras_hyperens.layers.attention import HyperBatchMultiHeadAttention as HyperBatchMultiHeadAttention
from keras_hyperens.layers.base import HyperLayer as HyperLayer
from keras_hyperens.layers.conv import HyperBatchConv1D as HyperBatchConv1D
from keras_hyperens.layers.conv import HyperBatchConv2D as HyperBatchConv2D
from keras_hyperens.layers.conv import HyperBatchConv3D as HyperBatchConv3D
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
