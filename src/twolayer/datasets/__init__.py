"""Image data sets, and the two-class problems made of them; nothing is downloaded in silence."""

from twolayer.datasets.fashion import Images, fashion_mnist
from twolayer.datasets.idx import read_idx
from twolayer.datasets.pairs import ImagePair, gaussian_surrogate, image_pair

__all__ = [
    "ImagePair",
    "Images",
    "fashion_mnist",
    "gaussian_surrogate",
    "image_pair",
    "read_idx",
]
