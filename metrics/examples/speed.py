"""Seconds that others take for what speed.rs does, on the same maps, each in one thread.

    venv/bin/python metrics/examples/speed.py      # the venv of tests/golden/make.py
"""

import time

import numpy as np
import SimpleITK as sitk
import torch
from monai.metrics.utils import get_edge_surface_distance
from scipy import ndimage

ndimage.filters = ndimage
ndimage.morphology = ndimage
np.Inf = np.inf
import surface_distance  # noqa: E402  (needs the names above)

SIDE, SPACING, ROUNDS = 256, (1.5, 0.8, 0.8), 3


def scene(size, moved, waves):
    i = np.arange(SIDE, dtype=np.float64)
    part = ((i - 0.5 * (SIDE - 1.0) - moved) / (size * SIDE)) ** 2
    wave = np.sin(0.3 * i)
    three = lambda v: v[:, None, None] + v[None, :, None] + v[None, None, :]
    return three(part) + waves * three(wave) <= 1.0


def monai(target, prediction):
    """As its metrics do, but for two metrics of one set of distances, which they compute twice."""
    y, p = torch.from_numpy(target), torch.from_numpy(prediction)
    _, distances, _ = get_edge_surface_distance(p, y, spacing=list(SPACING), symmetric=True, class_index=1)
    return max(float(np.percentile(d.numpy(), 95)) for d in distances), float(torch.cat(distances).mean())


def deepmind(target, prediction):
    d = surface_distance.compute_surface_distances(target, prediction, SPACING)
    return float(surface_distance.compute_robust_hausdorff(d, 95)), float("nan")


def simple_itk(target, prediction):
    images = [sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in (target, prediction)]
    for image in images:
        image.SetSpacing(SPACING[::-1])
    hausdorff = sitk.HausdorffDistanceImageFilter()
    hausdorff.Execute(*images)
    return hausdorff.GetHausdorffDistance(), hausdorff.GetAverageHausdorffDistance()


torch.set_num_threads(1)
sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
for name, size, waves in [("a tenth of the volume", 0.29, 0.0), ("four tenths, uneven", 0.46, 0.05)]:
    target, prediction = scene(size, 0.0, waves), scene(size, 4.0, waves)
    for method in (monai, deepmind, simple_itk):
        least = np.inf
        for _ in range(ROUNDS):
            start = time.perf_counter()
            found = method(target, prediction)
            least = min(least, time.perf_counter() - start)
        print(f"{name}, {method.__name__}: {least:.3f} s, {found[0]:.4f}, {found[1]:.4f}", flush=True)
