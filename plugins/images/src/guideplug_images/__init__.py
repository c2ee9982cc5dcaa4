"""Images: a task of one's own images, its denoiser, its metrics and its figure."""

from guideplug import Network, Task, hook
from guideplug_images.collection import ImageError
from guideplug_images.network import ImagesUNet
from guideplug_images.task import Images

__all__ = ["ImageError", "Images", "ImagesUNet"]


@hook
def guideplug_tasks() -> list[type[Task]]:
    return [Images]


@hook
def guideplug_denoisers() -> list[type[Network]]:
    return [ImagesUNet]
