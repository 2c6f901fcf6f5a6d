"""DICOM series of a few small slices, which SimpleITK writes."""

import contextlib
import locale

import numpy as np


@contextlib.contextmanager
def unchanged_locale():
    """ITK leaves the locale 'C' behind when it writes DICOM, and whatever reads text after that takes it for ASCII."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        yield
    finally:
        locale.setlocale(locale.LC_ALL, before)


def write_slices(folder, *, tilt=0.0, skip=(), repeat=False, series='1.2.3.4'):
    """A stack of slices of 2 x 1.5 mm pixels, 3 mm apart, each shifted by `tilt` mm against the one before."""
    import SimpleITK as sitk

    folder.mkdir(parents=True, exist_ok=True)
    values = (np.arange(5 * 6 * 7).reshape(5, 6, 7) - 100).astype(np.int16)
    for number in range(7):
        if number in skip:
            continue
        image = sitk.GetImageFromArray(np.ascontiguousarray(values[:, :, number].T))
        image.SetSpacing([2.0, 1.5])
        position = [10.0, 20.0 + tilt * number, -30.0 + (0 if repeat else 3.0 * number)]
        for tag, value in {
            '0008|0060': 'MR',
            '0020|000e': series,
            '0020|0032': '\\'.join(map(str, position)),
            '0020|0037': '1\\0\\0\\0\\1\\0',
            '0020|0013': str(99 - number),
        }.items():
            image.SetMetaData(tag, value)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(folder / f'{series}_{(number * 5) % 7}.dcm'))
        with unchanged_locale():
            writer.Execute(image)
    return values
