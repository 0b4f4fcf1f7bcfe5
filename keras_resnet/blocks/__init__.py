"""Residual blocks as functions, for the builder and for networks of your own.

Each takes and returns a Keras tensor of (batch, height, width, channels). Height
and width become ceil(size / stride), as in torch: padding is kernel // 2 on every
side, which Keras's "same" is not at stride 2.

    x = keras.Input((None, None, 64))
    y = bottleneck_block(x, 64, stride=2, name="encoder-0")  # 256 channels
"""

from keras_resnet.blocks.bottleneck import basic_block as basic_block
from keras_resnet.blocks.bottleneck import bottleneck_block as bottleneck_block
from keras_resnet.blocks.dense import dense_features as dense_features
from keras_resnet.blocks.parts import efficient_attention as efficient_attention
from keras_resnet.blocks.parts import squeeze_excitation as squeeze_excitation
from keras_resnet.blocks.preactivation import (
    preactivation_basic_block as preactivation_basic_block,
)
from keras_resnet.blocks.preactivation import (
    preactivation_bottleneck_block as preactivation_bottleneck_block,
)
from keras_resnet.blocks.res2net import res2net_block as res2net_block
from keras_resnet.blocks.selective_kernel import (
    selective_kernel_basic_block as selective_kernel_basic_block,
)
from keras_resnet.blocks.selective_kernel import (
    selective_kernel_bottleneck_block as selective_kernel_bottleneck_block,
)
from keras_resnet.blocks.split_attention import (
    split_attention_block as split_attention_block,
)
