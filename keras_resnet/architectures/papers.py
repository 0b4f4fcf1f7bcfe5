"""Where the rows of the table come from."""

PAPERS = {
    "He2015": '"Deep Residual Learning for Image Recognition", arXiv:1512.03385',
    # and its published code, KaimingHe/resnet-1k-layers
    "He2016": '"Identity Mappings in Deep Residual Networks", arXiv:1603.05027',
    "Zagoruyko2016": '"Wide Residual Networks", arXiv:1605.07146',
    "Huang2016": '"Densely Connected Convolutional Networks", arXiv:1608.06993',
    "Xie2016": '"Aggregated Residual Transformations for Deep Neural Networks", '
    "arXiv:1611.05431",
    "Hu2017": '"Squeeze-and-Excitation Networks", arXiv:1709.01507',
    "Wu2018": '"Group Normalization", arXiv:1803.08494',
    "He2018": '"Bag of Tricks for Image Classification with Convolutional Neural '
    'Networks", arXiv:1812.01187',
    "Li2019": '"Selective Kernel Networks", arXiv:1903.06586',
    "Qiao2019": '"Micro-Batch Training with Batch-Channel Normalization and Weight '
    'Standardization", arXiv:1903.10520',
    "Gao2019": '"Res2Net: A New Multi-scale Backbone Architecture", arXiv:1904.01169',
    "Zhang2019": '"Making Convolutional Networks Shift-Invariant Again", '
    "arXiv:1904.11486",
    "Wang2019": '"ECA-Net: Efficient Channel Attention for Deep Convolutional Neural '
    'Networks", arXiv:1910.03151',
    "Singh2019": '"Filter Response Normalization Layer", arXiv:1911.09737',
    "Kolesnikov2019": '"Big Transfer (BiT): General Visual Representation Learning", '
    "arXiv:1912.11370",
    "Lee2020": '"Compounding the Performance Improvements of Assembled Techniques in '
    'a Convolutional Neural Network", arXiv:2001.06268',
    "Aflalo2020": '"Knapsack Pruning with Inner Distillation", arXiv:2002.08258',
    "Liu2020": '"Evolving Normalization-Activation Layers", arXiv:2004.02967',
    "Zhang2020": '"ResNeSt: Split-Attention Networks", arXiv:2004.08955',
    "Bello2021": '"Revisiting ResNets: Improved Training and Scaling Strategies", '
    "arXiv:2103.07579",
}
