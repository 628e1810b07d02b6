"""Sounds that are known exactly, as inputs for models that listen."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


def chord(notes: Sequence[int]) -> Floats:
    """f32 [1,43844,1]: two seconds of sine waves of the given MIDI notes at 22,050 Hz."""
    seconds = np.arange(43844) / 22050
    pitches = 440.0 * 2.0 ** ((np.array(notes) - 69) / 12)
    waves = np.sin(2 * np.pi * np.outer(seconds, pitches)) / 4
    return np.asarray(waves.sum(axis=1), np.float32).reshape(1, -1, 1)


def vowel() -> Floats:
    """f32 [576]: 36 ms of something like an "a" at 16,000 Hz, a buzz of 110 Hz with three resonances."""
    seconds = np.arange(576) / 16000
    harmonics = np.arange(1, 60)
    loudness = np.full(59, 0.01)
    for centre, width, gain in ((700, 90, 1.0), (1200, 110, 0.6), (2600, 150, 0.3)):
        loudness += gain * np.exp(-(((110 * harmonics - centre) / width) ** 2) / 2)
    # The phase of every harmonic differs, or they would all peak together.
    waves = np.sin(2 * np.pi * 110 * np.outer(seconds, harmonics) + harmonics) * loudness
    sound = waves.sum(axis=1)
    return np.asarray(sound / np.abs(sound).max() / 2, np.float32)
