"""Deterministic synthetic weights and inputs for the golden parity data.

Every tensor is a function of its key, its shape and (for 1-D weights) of
whether a sibling key ``<prefix>.running_var`` exists, so a manifest
``{key: [shape, dtype]}`` is all that is needed to rebuild a checkpoint.

    n(key, shape) = Generator(PCG64(crc32(utf8(key)))).standard_normal(shape, float32)

Rules, first match wins (k = key, n = n(key, shape)):

  num_batches_tracked                        0 (int64)
  running_mean                               0.1 n
  running_var                                1 + 0.1 |n|
  *.kernel, resample_filter (FIR buffers)    outer([1,3,3,1]) / 64, times 4 where the
                                             original multiplies by the upsampling gain
                                             (rosinality: ToRGB ``upsample.kernel`` and
                                             ``conv.blur.kernel``); never for NVIDIA
  1-D FIR resample_filter                    [1,3,3,1] / 8
  noise_strength, noise.weight               0.1 n
  noise_const, noises.noise_*                n
  const, input.input                         n
  latent_avg, w_avg                          0.1 n
  mean / std buffers of a perceptual net     not filled (fixed constants in the code)
  lin*.model.*.weight (LPIPS heads)          0.1 |n|
  mapping weights with lr multiplier 0.01    100 n
      (style.<i>.weight, mapping.fc<i>.weight, *mapping.<i>.weight of a StyleCLIP mapper)
  mapping biases with lr multiplier 0.01     10 n
  affine.bias, modulation.bias               1 + 0.1 n
  any other *bias / b1 / b2                  0.1 n
  equalised-lr weights (list below)          n
  w1, w2 (HyperStyle shared hypernet)        n / 40
  1-D weight with sibling running_var (BN)   1 + 0.1 n
  other 1-D weight (PReLU)                   0.25 + 0.02 n
  any other weight, ndim >= 2                n / sqrt(prod(shape[1:]))

All values are float32. Always fill with the checkpoint's full key: the same submodule under
another prefix gets other numbers.

Sentinel (numpy 2.4): normal("sentinel", (4,)) = 1.5647621, 0.9415994, -0.5786874, -1.2457956.

HyperStyle: ``hypernet.refinement_blocks.<i>.hypernet.{w1,b1,w2,b2}`` are aliases of the one
``hypernet.shared_weight_hypernet.*`` (the official state_dict lists the same storage under every
name); the rule therefore uses the canonical name for all of them.
"""
import re
import zlib

import numpy as np

_EQUALISED = re.compile("|".join([
    r"\.conv\.weight$", r"^conv\.weight$",                     # modulated convs (5-D)
    r"modulation\.weight$", r"affine\.weight$",
    r"(^|\.)convs\.\d+\.(conv1|conv2|skip)\.\d+\.weight$",     # rosinality discriminator
    r"^(discriminator\.)?convs\.0\.0\.weight$", r"final_conv\.\d+\.weight$", r"final_linear\.\d+\.weight$",
    r"styles\.\d+\.linear\.weight$",                           # GradualStyleBlock
    r"condition_(scale|shift)\d\.\d\.weight$",                 # HFGI
    r"refinement_blocks\.\d+\.linear\.weight$",                # HyperStyle
    r"^encoder\.linear\.weight$", r"^linear\.weight$",         # W encoders
    r"(^|\.)b\d+\.(conv0|conv1|torgb|skip|fromrgb|conv|fc|out)\.weight$",  # NVIDIA G and D
    r"^mapping\.embed\.weight$",
]))
_LR_MLP = re.compile(r"(^|\.)style\.\d+\.(weight|bias)$|^mapping\.fc\d+\.(weight|bias)$|"
                     r"_mapping\.mapping\.\d+\.(weight|bias)$|^mapper\.mapping\.mapping\.\d+\.(weight|bias)$|"
                     r"mapper_\d+\.mapping\.\d+\.(weight|bias)$")


def normal(key, shape, dtype=np.float32):
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode("utf-8"))))
    return rng.standard_normal(tuple(shape), dtype=np.float32).astype(dtype, copy=False)


def fill_one(key, shape, keys=()):
    shape = tuple(shape)
    key = re.sub(r"refinement_blocks\.\d+\.hypernet\.", "shared_weight_hypernet.", key)
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if key.endswith(".kernel") or key == "kernel" or key.endswith("resample_filter"):
        f = np.array([1, 3, 3, 1], np.float32)
        if len(shape) == 1:
            return (f / f.sum()).astype(np.float32)
        f = np.outer(f, f)
        f = f / f.sum()
        if re.search(r"(upsample|conv\.blur)\.kernel$", key):
            f = f * 4
        return f.astype(np.float32)
    n = normal(key, shape)
    last = key.rsplit(".", 1)[-1]
    if last == "running_mean":
        return 0.1 * n
    if last == "running_var":
        return 1 + 0.1 * np.abs(n)
    if key.endswith("noise_strength") or key.endswith("noise.weight"):
        return np.asarray(0.1 * n, np.float32)
    if last == "noise_const" or re.search(r"noises\.noise_\d+$", key):
        return n
    if last == "const" or key.endswith("input.input"):
        return n
    if last in ("latent_avg", "w_avg"):
        return 0.1 * n
    if re.search(r"lin\d\.model\.\d\.weight$", key):
        return 0.1 * np.abs(n)
    if _LR_MLP.search(key):
        return (100 if last == "weight" else 10) * n
    if re.search(r"(affine|modulation)\.bias$", key):
        return 1 + 0.1 * n
    if last == "bias" or last in ("b1", "b2"):
        return 0.1 * n
    if _EQUALISED.search(key):
        return n
    if last in ("w1", "w2"):
        return n / np.float32(40)
    if len(shape) == 1:
        if key[: -len("weight")] + "running_var" in keys:
            return 1 + 0.1 * n
        return np.float32(0.25) + np.float32(0.02) * n
    return n / np.float32(np.sqrt(np.prod(shape[1:])))


def fill(manifest):
    """{key: [shape, dtype]} -> {key: ndarray} (float32, or int64 where the dtype says so)."""
    keys = set(manifest)
    out = {}
    for key, (shape, dtype) in manifest.items():
        a = np.asarray(fill_one(key, shape, keys))
        out[key] = a.astype(np.int64 if "int" in dtype else np.float32).reshape(tuple(shape))
    return out


def make_input(name, shape):
    """Latents and other free tensors: plain normals keyed by ``input:<name>``."""
    return normal("input:" + name, shape)


def make_image(name, shape):
    """Smooth image in [-1, 1]: eight sine gratings per channel, NCHW, float32."""
    n, c, h, w = shape
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(("image:" + name).encode("utf-8"))))
    y = (np.arange(h, dtype=np.float64)[:, None] + 0.5) / h
    x = (np.arange(w, dtype=np.float64)[None, :] + 0.5) / w
    out = np.zeros((n, c, h, w))
    for i in range(n):
        for j in range(c):
            p = rng.random((8, 4))
            for fx, fy, ph, a in p:
                out[i, j] += (a / 4) * np.sin(2 * np.pi * ((12 * fx - 6) * x + (12 * fy - 6) * y + ph))
    return np.clip(out, -1, 1).astype(np.float32)


def summary(name, a, crop=32, grid=64):
    """How outputs are stored: small arrays whole, images as a strided grid, a centre crop and moments.

    ``<name>`` whole when size <= 40000, otherwise
    ``<name>.grid``  = a[..., ::s, ::s] with s = max(1, H // grid)
    ``<name>.crop``  = the centred crop x crop window
    ``<name>.stats`` = [mean, std (population), min, max] over everything, computed in float64
    ``<name>.shape`` = the full shape
    """
    a = np.asarray(a, np.float32)
    if a.size <= 40000 or a.ndim < 3:
        return {name: a}
    h, w = a.shape[-2:]
    s = max(1, h // grid)
    top, left = max((h - crop) // 2, 0), max((w - crop) // 2, 0)
    d = a.astype(np.float64)
    return {
        name + ".grid": a[..., ::s, ::s].copy(),
        name + ".crop": a[..., top:top + crop, left:left + crop].copy(),
        name + ".stats": np.array([d.mean(), d.std(), d.min(), d.max()], np.float64),
        name + ".shape": np.array(a.shape, np.int64),
    }
