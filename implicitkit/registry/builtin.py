"""The built-in parts, registered through the same hooks as a plugin's."""

from __future__ import annotations

from implicitkit.hookspecs import Register, hookimpl


@hookimpl
def register_encoders(register: Register) -> None:
    """The built-in encoders."""
    edsr = "implicitkit.encoders.edsr"
    register("edsr_baseline", f"{edsr}:EDSR", summary="EDSR, 16 blocks of 64 channels (1.2 M parameters)")
    register(
        "edsr", f"{edsr}:edsr", summary="EDSR at its published size, 32 blocks of 256 channels; any other on request"
    )
    register(
        "timm:",
        "implicitkit.encoders.timm:Timm",
        summary="any of timm's feature backbones, e.g. timm:convnext_tiny; list 'timm:*' names them",
        expand="implicitkit.encoders.timm:names",
    )
    register("rdn", "implicitkit.encoders.rdn:RDN", summary="residual dense network (CVPR 2018), 16 blocks of 8 x 64")
    register("rcan", "implicitkit.encoders.rcan:RCAN", summary="residual channel attention network (ECCV 2018); global")
    register("unet", "implicitkit.encoders.unet:UNet", summary="U-Net with attention at the bottom: sees across holes")
    register("span", "implicitkit.encoders.span:SPAN", summary="fast 3x3 convolutions with attention (CVPRW 2024)")
    register(
        "gb_lsr_patches", "implicitkit.encoders.gb_lsr:PatchEncoder", summary="GB-LSR's autoencoder of patches; global"
    )
    register("swinir", "implicitkit.encoders.swinir:SwinIR", summary="shifted-window attention (ICCVW 2021)")


@hookimpl
def register_necks(register: Register) -> None:
    """The built-in necks."""
    register("thera_plus", "implicitkit.necks.convnext:ConvNeXt", summary="Thera Plus's ConvNeXt blocks (2025)")
    register("thera_pro", "implicitkit.necks.swin:Swin", summary="Thera Pro's shifted-window attention (2025)")


@hookimpl
def register_decoders(register: Register) -> None:
    """The built-in decoders."""
    register("liif", "implicitkit.decoders.liif:LIIF", summary="local implicit image function (CVPR 2021)")
    readout = "implicitkit.decoders.readout"
    register("nearest", f"{readout}:Nearest", summary="the features of the nearest cell, mapped linearly")
    register("bilinear", f"{readout}:Bilinear", summary="the features interpolated linearly, mapped linearly")
    register("lmf", "implicitkit.decoders.lmf:LMF", summary="latent modulated function, applied to LIIF (CVPR 2024)")
    register("thera", "implicitkit.decoders.basis.thera:Thera", summary="neural heat fields, anti-aliased (2025)")
    basis = "implicitkit.decoders.basis"
    register("ope", f"{basis}.ope:OPE", summary="orthogonal position encoding, a Fourier series per cell (CVPR 2023)")
    register("gb_lsr", f"{basis}.gb_lsr:GBLSR", summary="harmonics per cell with one learned bandwidth (2026)")
    register("gb_lsr_patches", f"{basis}.gb_lsr_patches:GBLSRPatches", summary="GB-LSR's autoencoder of patches (2026)")
    galerkin = "implicitkit.decoders.galerkin"
    register("srno", f"{galerkin}.srno:SRNO", summary="neural operator: attention over all output pixels (CVPR 2023)")
    register("hiif", f"{galerkin}.hiif:HIIF", summary="hierarchical positions, attention over all pixels (CVPR 2025)")
    joint = "implicitkit.decoders.joint"
    register("linf", f"{joint}.linf:LINF", summary="local implicit normalising flow (CVPR 2023)")
    register("linf_patch", f"{joint}.linf:LINFPatch", summary="LINF whose flow makes 3x3 output pixels at once (2023)")
    register("clit", f"{joint}.clit:CLIT", summary="cascaded local implicit transformers (CVPR 2023)")
    register("liwt", f"{joint}.liwt:LIWT", summary="local implicit wavelet transformer (BMVC 2024)")
    register("ciaosr", f"{joint}.ciaosr:CiaoSR", summary="attention in attention over four cells (CVPR 2023)")
    register("gaussian", "implicitkit.decoders.gaussians.gaussian:Gaussian", summary="a sum of 2-D Gaussians per cell")
    register("gsasr", "implicitkit.decoders.gaussians.gsasr:GSASR", summary="2-D Gaussians of window attention (2025)")
    register("lm_liif", "implicitkit.decoders.lmf:LMLIIF", summary="LM-LIIF as published: its latent is told the scale")
    register("lm_lte", "implicitkit.decoders.lmf:LMLTE", summary="LM-LTE: LTE's waves modulate a narrow MLP (2024)")
    register("lte", "implicitkit.decoders.lte:LTE", summary="local texture estimator (CVPR 2022)")
    register("lte_plus", "implicitkit.decoders.lte:LTEPlus", summary="LTE's fast variant, the authors' lte-fast")
    register("sinc_lte", "implicitkit.decoders.basis.sinc_lte:SincLTE", summary="LTE of waves averaged over a pixel")
    register("metasr", "implicitkit.decoders.metasr:MetaSR", summary="weights predicted per output pixel (CVPR 2019)")


@hookimpl
def register_degradations(register: Register) -> None:
    """The built-in degradations."""
    register(
        "super_resolution",
        "implicitkit.degradations.super_resolution:SuperResolution",
        summary="bicubic downscaling by any factor, as MATLAB or as Pillow does it",
    )
    rooms = "implicitkit.degradations"
    register("inpainting", f"{rooms}.inpainting:Inpainting", summary="holes: strokes, boxes, rectangles, mask files")
    register("noise", f"{rooms}.noise:Noise", summary="gaussian, Poisson, speckle, salt and pepper")
    register("blur", f"{rooms}.blur:Blur", summary="gaussian, anisotropic gaussian, motion, defocus")
    register("jpeg", f"{rooms}.jpeg:Jpeg", summary="JPEG artefacts, through the codec")


@hookimpl
def register_models(register: Register) -> None:
    """The named models."""
    zoo = "implicitkit.weights.zoo"
    box = {"pretrained": "implicitkit.weights:box/liif_small.safetensors"}
    register(
        "liif_small",
        f"{zoo}:liif_small",
        summary="LIIF on a small EDSR",
        metadata=box,
    )
    for name, summary in (("fast", "the default: SPAN with Thera"), ("fast_real", "fast, for noisy JPEGs")):
        box = {"pretrained": f"implicitkit.weights:box/{name}.safetensors"}
        register(name, f"{zoo}:fast", summary=summary, metadata=box)
    published = {"advice": "load the authors' .pth file, or train it with `implicitkit train`"}
    for name, summary in {
        "liif_edsr_baseline": "LIIF as published: EDSR-baseline, MLP 256x4",
        "liif_rdn": "LIIF with RDN, as published",
        "liif_swinir": "LIIF with SwinIR, as LTE's authors compare with",
        "lte_edsr_baseline": "LTE as published: EDSR-baseline, 256 waves, MLP 256x3",
        "lte_rdn": "LTE with RDN, as published",
        "lte_swinir": "LTE with SwinIR, as published",
        "lte_plus_edsr_baseline": "LTE+ as published, the authors' lte-fast",
        "metasr_edsr_baseline": "MetaSR with EDSR-baseline, as LIIF's authors compare with",
        "metasr_rdn": "MetaSR with RDN, as LIIF's authors compare with",
        "metasr_swinir": "MetaSR with SwinIR, as LTE's authors compare with",
    }.items():
        known = {"known": name} if name == "liif_edsr_baseline" else {}  # implicitkit.weights.known has the authors'
        register(name, f"{zoo}:{name}", summary=summary, metadata={**published, **known})


@hookimpl
def register_losses(register: Register) -> None:
    """The built-in losses."""
    losses = "implicitkit.losses"
    register("l1", f"{losses}:L1", summary="mean absolute difference")
    register("l2", f"{losses}:L2", summary="mean squared difference")
    register("psnr", f"{losses}:PSNR", summary="minus each picture's PSNR in dB")
    register("charbonnier", f"{losses}:Charbonnier", summary="L1 with a rounded tip, sqrt(d² + eps²)")
    register("lpips", f"{losses}.perceptual:Perceptual", summary="learned perceptual distance of windows, AlexNet")
    register("focal_frequency", f"{losses}.frequency:FocalFrequency", summary="distance of spectra, focal weights")
    register("adversarial", f"{losses}.adversarial:Adversarial", summary="a discriminator that learns, PatchGAN, hinge")


@hookimpl
def register_metrics(register: Register) -> None:
    """The built-in metrics."""
    metrics = "implicitkit.metrics"
    register("psnr", f"{metrics}.psnr:PSNR", summary="peak signal-to-noise ratio over all channels, dB")
    register("psnr_y", f"{metrics}.psnr:LumaPSNR", summary="PSNR of the luma, as super-resolution papers report, dB")
    register("ssim", f"{metrics}.ssim:SSIM", summary="structural similarity, 7×7 window, as inpainting papers report")
    register("ssim_gaussian", f"{metrics}.ssim:ssim_gaussian", summary="structural similarity, 11×11 gaussian window")
    register("l1", f"{metrics}.l1:L1", summary="mean absolute difference of values in [0, 1]")
    register("lpips", f"{metrics}.lpips:LPIPS", summary="learned perceptual distance, VGG by default")
    register("lpips_alex", f"{metrics}.lpips:lpips_alex", summary="learned perceptual distance, AlexNet")
    register("lpips_squeeze", f"{metrics}.lpips:lpips_squeeze", summary="learned perceptual distance, SqueezeNet")


@hookimpl
def register_protocols(register: Register) -> None:
    """The built-in protocols."""
    enlarging = "implicitkit.evaluation.super_resolution"
    register("benchmark", f"{enlarging}:Benchmark", summary="super-resolution on Set5 and kin: PSNR-Y, scale shaved")
    register("div2k", f"{enlarging}:DIV2K", summary="super-resolution on DIV2K: PSNR, scale + 6 shaved")
    register("plain", f"{enlarging}:Plain", summary="super-resolution: PSNR, nothing shaved")
    rooms = "implicitkit.evaluation"
    register("inpainting", f"{rooms}.inpainting:InpaintingProtocol", summary="holes in bins of hole ratios, filled")
    register("restoration", f"{rooms}.restoration:RestorationProtocol", summary="any degradation, undone")


@hookimpl
def register_datasets(register: Register) -> None:
    """The built-in datasets."""
    register("folders", "implicitkit.datasets.folders:Folders", summary="all pictures under some folders")
    register("paired", "implicitkit.datasets.paired:Paired", summary="folders of inputs and targets, with masks or not")
    register("manifest", "implicitkit.datasets.manifest:manifest", summary="files named in a list or a table")
    register(
        "hf:",
        "implicitkit.datasets.hugging_face:HuggingFace",
        summary="pictures of a Hugging Face dataset, by name or folder, e.g. hf:eugenesiow/Div2k",
    )


@hookimpl
def register_optimisers(register: Register) -> None:
    """The built-in optimisers: PyTorch's, and timm's by their names."""
    for name, kind in {"adam": "Adam", "adamw": "AdamW", "sgd": "SGD", "nadam": "NAdam", "radam": "RAdam"}.items():
        register(name, f"torch.optim:{kind}", summary=f"PyTorch's {kind}")
    register(
        "timm:",
        "implicitkit.training.optimisation.optimiser:timm_optimiser",
        summary="any of timm's optimisers, e.g. timm:lamb, timm:lion, timm:muon; list 'timm:*' names them",
        expand="timm.optim:list_optimizers",
    )


@hookimpl
def register_schedules(register: Register) -> None:
    """The built-in schedules; ``optimiser.warmup`` goes before each."""
    of = "implicitkit.training.optimisation.schedule"
    register("constant", f"{of}:Constant", summary="the learning rate as it is")
    register("cosine", f"{of}:Cosine", summary="half a cosine, down to final_lr")
    register("step", f"{of}:MultiStep", summary="times gamma at each of milestones, fractions of all steps")
    register("multi_step", f"{of}:MultiStep", summary="the same as step")
    register("polynomial", f"{of}:Polynomial", summary="down to final_lr by a power; 1, the default, is a line")
    register("exponential", f"{of}:Exponential", summary="down to final_lr by one factor per step")


@hookimpl
def register_callbacks(register: Register) -> None:
    """The built-in callbacks."""
    of = "implicitkit.training.callbacks"
    register("early_stopping", f"{of}:EarlyStopping", summary="ends a run whose validation no longer improves")


@hookimpl
def register_tabs(register: Register) -> None:
    """The built-in tab of ``implicitkit app``."""
    register("upscale", "implicitkit.app.upscaling:tab", summary="enlarge a picture, and compare")


@hookimpl
def register_weights(register: Register) -> None:
    """Weight files of others that are known here."""
    of = "implicitkit.weights.known"
    register("liif_edsr_baseline", f"{of}:liif_edsr_baseline", summary="LIIF with EDSR-baseline, the authors' own file")
    register("lpips_alex", f"{of}:lpips_alex", summary="the backbone of LPIPS, AlexNet")
    register("lpips_squeeze", f"{of}:lpips_squeeze", summary="the backbone of LPIPS, SqueezeNet")
    register("lpips_vgg", f"{of}:lpips_vgg", summary="the backbone of LPIPS, VGG16")
    register("dinov2_vits14", f"{of}:dinov2_vits14", summary="DINOv2 ViT-S/14, a folder for timm's local-dir:")
    for size in (0, 2):
        summary = f"EfficientNet-Lite{size} trained on ImageNet, in timm's layout"
        register(f"efficientnet_lite{size}", f"{of}:efficientnet_lite{size}", summary=summary)
