"""Statistics of how long requests took, as all example clients print them."""

import numpy as np
import numpy.typing as npt


def print_statistics(processing_times: npt.ArrayLike, batch_size: int) -> None:
    """Print mean, median, extremes, percentiles 90 and 50, deviation and variance.

    `processing_times` are milliseconds, one for each request, of which each had `batch_size` pictures; the speeds,
    in pictures a second, are those times the other way round.
    """
    times = np.asarray(processing_times, np.float64)
    print("\nprocessing time for all iterations")
    for name, value in (
        ("average {}", times.mean()),
        ("median {}", np.median(times)),
        ("max {}", times.max()),
        ("min {}", times.min()),
        ("{} percentile 90", np.percentile(times, 90)),
        ("{} percentile 50", np.percentile(times, 50)),
    ):
        speed = 1000 * batch_size / value
        print(f"{name.format('time')}: {value:.2f} ms; {name.format('speed')}: {speed:.2f} fps")
    print(f"time standard deviation: {times.std():.2f}")
    print(f"time variance: {times.var():.2f}")
